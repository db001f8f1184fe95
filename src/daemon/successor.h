/* SPDX-License-Identifier: ISC */
/* The process that a handover is to: this program, started again with our listening sockets, as
 * inherited.h has it. Its end is watched on libevent's base, without SIGCHLD. Its parent is another
 * process of ours, of which nothing is left once it is freed: the successor is then process 1's
 * child, as systemd wants a main process to be. Should we end before, it is just the same. */
#ifndef KAPROXY_SUCCESSOR_H
#define KAPROXY_SUCCESSOR_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/util.h"
#include "daemon/program.h"

struct successor;

struct successor_socket {
    int fd;
    const char *name; /* FileDescriptorName, or the listener's */
    bool is_ours;     /* a unix socket's file is for kaproxy to remove */
};

struct successor_options {
    struct event_base *base;
    const struct program *program; /* borrowed until it is freed */
    const struct successor_socket *sockets;
    size_t count;
    int control, places; /* its ends of the channels */
    /* It has ended and is there no more, or was killed and does not end; `why` is a sentence. The
     * last thing that is done: the successor may be freed. */
    void (*ended)(void *arg, const char *why);
    void *arg;
};

/* All descriptors are the caller's still; the successor has copies of these, of 0, 1 and 2, and no
 * others. NULL on failure; then it was logged, and nothing is left. */
struct successor *successor_start(const struct successor_options *options);

pid_t successor_pid(const struct successor *successor);

/* At once; `ended` tells when it has come to that. */
void successor_kill(struct successor *successor);

/* From now on it is on its own, and not of our making for whoever asks; if it was killed its end is
 * waited for, for a second at most. NULL is harmless. */
void successor_free(struct successor *successor);

#endif
