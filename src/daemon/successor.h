/* SPDX-License-Identifier: ISC */
/* The process to which we hand over: this program, started again with our listen sockets, as
 * described in inherited.h. Its end is watched on libevent's base, without SIGCHLD. Its parent is
 * an intermediate process of ours, which has gone once the successor is freed: the successor is
 * then a child of process 1, as systemd expects of a main process. The same happens if we end
 * before. */
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
    bool is_ours;     /* kaproxy has to remove the unix socket's file */
};

struct successor_options {
    struct event_base *base;
    const struct program *program; /* borrowed until it is freed */
    const struct successor_socket *sockets;
    size_t count;
    int control, places; /* its ends of the channels */
    /* It has ended and was reaped, or was killed and does not end; `why` is a sentence. Called
     * last: the successor may be freed. */
    void (*ended)(void *arg, const char *why);
    void *arg;
};

/* All descriptors remain the caller's; the successor has copies of these and of 0, 1 and 2, and of
 * no others. NULL on failure (logged), with nothing left behind. */
struct successor *successor_start(const struct successor_options *options);

pid_t successor_pid(const struct successor *successor);

/* Kills it; `ended` reports when it has ended. */
void successor_kill(struct successor *successor);

/* From now on it is independent of us; if it was killed its end is awaited, for a second at most.
 * NULL is harmless. */
void successor_free(struct successor *successor);

#endif
