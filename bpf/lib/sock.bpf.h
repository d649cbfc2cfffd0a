/* Sockets among the open files of processes, for programs that walk these (iter/task_file). */
#ifndef WEIR_SOCK_BPF_H
#define WEIR_SOCK_BPF_H

#include "lib/prelude.bpf.h"

/* NULL: it is none. Since 5.11 (4f19cab76136). */
static __always_inline struct sock *file_sock(struct file *file)
{
	struct socket *sock = file ? bpf_sock_from_file(file) : NULL;

	return sock ? sock->sk : NULL;
}

#endif
