/* The table of signals, filled from bpf/signals.def: a row there, one file here, nothing else. Two rows with one id are
 * a compiler error (an element initialised twice). */
#include "signal/signal.h"

#define SIGNAL(name, id, kind, text) extern const struct signal name##_signal;
#include "signals.def"
#undef SIGNAL

const struct signal *const signals[SIGNAL_MAX] = {
#define SIGNAL(name, id, kind, text) [id] = &name##_signal,
#include "signals.def"
#undef SIGNAL
};
