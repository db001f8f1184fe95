/* SPDX-License-Identifier: ISC */
/* Handing over to a successor, from the point of view of the running process: start the successor,
 * wait until it is prepared, let it serve, and leave. Whatever fails before the successor serves
 * ends the successor, and this process continues. takeover.h is the other end.
 *
 *     successor  "prepared"  everything is set up; nothing is accepted yet
 *     we         yield: neither process accepts now, and clients wait in the backlog
 *     successor  "serving"   it accepts
 *     we         main_pid, "main": it is the service's main process; leave
 *
 * All on libevent's base, over a SOCK_SEQPACKET channel; a message is one word. */
#ifndef KAPROXY_HANDOVER_H
#define KAPROXY_HANDOVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/util.h"
#include "daemon/program.h"
#include "daemon/successor.h"

struct handover;

/* What it asks its owner to do. */
struct handover_ops {
    void *arg;
    /* From fork(2) on the successor has copies of all our descriptors for a moment. expect_copies:
     * call handover_go, from inside or later, once the fork may happen. The other: that moment has
     * passed, or there was no fork. */
    void (*expect_copies)(void *arg);
    void (*expect_none)(void *arg);
    /* All listen sockets, used at once; NULL if there is no memory. */
    const struct successor_socket *(*sockets)(void *arg, size_t *count);
    /* The worker is to stop accepting, and to share the pools' places with the successor on this
     * channel, which becomes the worker's. */
    void (*yield)(void *arg, int places);
    /* The handover failed after yield: the worker is to accept again, and has all places. */
    void (*resume)(void *arg);
    /* What began with expect_copies came to nothing. */
    void (*over)(void *arg);
    /* Tells the service manager which process is the main one. False: it may not have heard; then
     * we remain the main process, and this is called again until it succeeds or we are to stop. */
    bool (*main_pid)(void *arg, pid_t pid);
    /* The successor serves and is the main process: files belong to it, and what is left here
     * drains. */
    void (*leave)(void *arg);
};

/* The program and what ops point to are borrowed. NULL with ENOMEM. */
struct handover *handover_new(struct event_base *base, const struct program *program,
                              const struct handover_ops *ops);

/* A successor that does not serve yet is killed. NULL is harmless. */
void handover_free(struct handover *handover);

/* Begins, or refuses, which is logged: one is under way or done, or we are process 1. While held it
 * begins later. Its outcome is logged too. */
void handover_start(struct handover *handover);

void handover_go(struct handover *handover);

/* No handover begins while it is held, which is while a reload is under way. */
void handover_hold(struct handover *handover, bool held);

/* True from the beginning of a handover until it has failed; after a success, for good. */
bool handover_is_under_way(const struct handover *handover);

/* This process is to stop: no handover begins any more, and one under way is cancelled and undone,
 * unless the successor serves. */
void handover_stop(struct handover *handover);

#endif
