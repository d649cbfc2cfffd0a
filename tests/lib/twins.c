/* twins COUNT: as many connections over loopback, one after the other, the last segment of each handshake sent twice, by two
 * CPUs at the same moment: of most the kernel then makes two sockets and drops one. Needs two CPUs and a network namespace
 * whose packet filter drops resets from ports 20000 to 29999: the client's end is a raw socket, unknown to the kernel. Prints
 * how many connections were accepted. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server = { .sin_family = AF_INET };
static struct tcphdr ack;
static atomic_int wanted, sent; /* number of the connection whose ACK the other thread is to send, has sent */

static uint16_t checksum(const struct tcphdr *tcp)
{
	struct {
		uint32_t from, to;
		uint16_t protocol, length;
		struct tcphdr tcp;
	} text = { htonl(INADDR_LOOPBACK), htonl(INADDR_LOOPBACK), htons(IPPROTO_TCP), htons(sizeof(*tcp)), *tcp };
	uint16_t words[sizeof(text) / 2];
	uint32_t sum = 0;

	memcpy(words, &text, sizeof(text));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

static int raw_socket(void)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_TCP);

	if (fd < 0)
		err(1, "raw socket");
	return fd;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "CPU %d", cpu);
}

static void send_segment(int fd, const struct tcphdr *tcp)
{
	if (sendto(fd, tcp, sizeof(*tcp), 0, (struct sockaddr *)&server, sizeof(server)) != sizeof(*tcp))
		err(1, "sendto");
}

static void *send_second(void *count)
{
	int fd = raw_socket();

	pin(1);
	for (int number = 1; number <= *(int *)count; number++) {
		while (atomic_load(&wanted) < number)
			;
		send_segment(fd, &ack);
		atomic_store(&sent, number);
	}
	return NULL;
}

/* Sends a SYN and makes the ACK of what is answered. */
static void shake(int fd, int number)
{
	struct tcphdr syn = { .th_sport = htons(20000 + number % 10000),
			      .th_dport = server.sin_port,
			      .th_seq = htonl(number * 1000),
			      .th_off = sizeof(syn) / 4,
			      .th_flags = TH_SYN,
			      .th_win = htons(60000) };
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
		char options[40];
	} got;

	syn.th_sum = checksum(&syn);
	send_segment(fd, &syn);
	do {
		if (recv(fd, &got, sizeof(got), 0) < (ssize_t)(sizeof(got.ip) + sizeof(got.tcp)))
			err(1, "recv");
	} while (got.tcp.th_dport != syn.th_sport || got.tcp.th_flags != (TH_SYN | TH_ACK));
	ack = syn;
	ack.th_flags = TH_ACK;
	ack.th_seq = htonl(number * 1000 + 1);
	ack.th_ack = htonl(ntohl(got.tcp.th_seq) + 1);
	ack.th_sum = 0;
	ack.th_sum = checksum(&ack);
}

int main(int argc, char **argv)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), count = argc > 1 ? atoi(argv[1]) : 0, accepted = 0,
	    fd = raw_socket();
	struct linger reset = { .l_onoff = 1 };
	socklen_t len = sizeof(server);
	pthread_t thread;

	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&server, len) || listen(listener, 8) ||
	    getsockname(listener, (struct sockaddr *)&server, &len))
		err(1, "listener");
	if (pthread_create(&thread, NULL, send_second, &count))
		errx(1, "no thread");
	pin(0);
	for (int number = 1; number <= count; number++) {
		int connection;

		shake(fd, number);
		atomic_store(&wanted, number);
		send_segment(fd, &ack);
		while (atomic_load(&sent) < number)
			;
		connection = accept(listener, NULL, NULL);
		if (connection < 0)
			err(1, "accept");
		accepted++;
		setsockopt(connection, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(connection);
	}
	printf("%d\n", accepted);
	return 0;
}
