/* SPDX-License-Identifier: ISC */
/* Handing over to a successor, seen from the process that is there: it starts one, waits until that
 * is prepared, lets it serve, and leaves. Whatever fails before the successor serves ends it, and
 * this process goes on. takeover.h is the other end.
 *
 *     successor  "prepared"  all is made, and nothing is accepted yet
 *     we         yield: from now on nobody accepts, and clients wait in the backlog
 *     successor  "serving"   it accepts
 *     we         main_pid, "main": it is the service's main process; leave
 *
 * All on libevent's base, over a SOCK_SEQPACKET channel: a message is a word. */
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

/* What it has others do. */
struct handover_ops {
    void *arg;
    /* The successor has copies of all our descriptors for a moment, from fork(2) on: handover_go is
     * to be called, from inside or later, when that may be. And when it is over, or came to
     * nothing. */
    void (*expect_copies)(void *arg);
    void (*expect_none)(void *arg);
    /* All that listens; NULL for want of memory. It is used at once. */
    const struct successor_socket *(*sockets)(void *arg, size_t *count);
    /* The worker is to accept nobody, and to share the pools' places with the successor: on this
     * channel, which is the worker's from then on. */
    void (*yield)(void *arg, int places);
    /* It failed after that: the worker is to accept again, and has all places. */
    void (*resume)(void *arg);
    /* What began with expect_copies came to nothing. */
    void (*over)(void *arg);
    /* Tells whoever supervises us which process is the main one. False: it may not know; then we
     * are the main one still, and it is asked for again, until it succeeds or we are to stop. */
    bool (*main_pid)(void *arg, pid_t pid);
    /* The successor serves and is the main process: files are its own, and what goes on here is
     * drained. */
    void (*leave)(void *arg);
};

/* The program and what ops point to are borrowed. NULL with ENOMEM. */
struct handover *handover_new(struct event_base *base, const struct program *program,
                              const struct handover_ops *ops);

/* A successor that does not serve yet is killed. NULL is harmless. */
void handover_free(struct handover *handover);

/* Begins, unless that is refused, which is logged: one is under way or done, or we are process 1.
 * It begins later if it is held. How it goes is logged, too. */
void handover_start(struct handover *handover);

void handover_go(struct handover *handover);

/* While it is held (a reload is under way) none begins. */
void handover_hold(struct handover *handover, bool held);

/* From the start until it failed; if it did not, for good. */
bool handover_is_under_way(const struct handover *handover);

/* This process is to stop: none begins any more, and one under way is given up, which resumes;
 * unless the successor serves. */
void handover_stop(struct handover *handover);

#endif
