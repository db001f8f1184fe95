/* SPDX-License-Identifier: ISC */
/* One event loop with what runs on it: resolver, pools, listeners, scratch memory.
 *
 * All this belongs to the worker's thread, from worker_start until that thread has ended. Before
 * and after, it belongs to the thread that calls the functions here, always the same one: the
 * control thread. */
#ifndef KAPROXY_WORKER_H
#define KAPROXY_WORKER_H

#include "admin/admin_ops.h"
#include "admin/admin_view.h"
#include "base/metric.h"
#include "base/util.h"
#include "daemon/generation.h"
#include "net/mailbox.h"

struct worker;

/* Takes the configuration of a start, which is borrowed until another one is installed. With a
 * places channel (-1: none) it serves only when the predecessor at its other end lets it, or has
 * ended; the channel becomes the worker's, on failure too. NULL on failure (logged). */
struct worker *worker_new(const struct generation *generation, int places);

/* Not while its thread runs. NULL is harmless. */
void worker_free(struct worker *worker);

/* What the thread posts to the control thread's mailbox; all is borrowed until worker_join. */
struct worker_messages {
    struct mailbox *mailbox;
    struct message *serving; /* clients are accepted; once */
    struct message *ended;   /* its last action */
};

/* Serves from now on, or as soon as it may. 0, or -1 when it could not be started (logged). */
MUST_CHECK int worker_start(struct worker *worker, const struct worker_messages *messages);

/* Waits for the end of its thread, which must have been told to stop. Pending requests are answered
 * by then. */
void worker_join(struct worker *worker);

/* While its thread runs; these never wait for it. */

/* The first time: stops accepting, and ends when its sessions have, or after shutdown_timeout. The
 * second time: ends at once. The signal's name is for the log, and is kept. */
void worker_stop(struct worker *worker, const char *signal_name);

/* Around fork(2), which copies all descriptors: before it, and after the other process has closed
 * its copies; see loop_expect_copies. When the loop is prepared `done` is posted to the control
 * thread, and then it is time to fork. */
void worker_expect_copies(struct worker *worker, struct message *done);
void worker_expect_none(struct worker *worker);

/* A handover, from the point of view of the running process. yield: stops accepting, while clients
 * wait in the backlog, and shares places with the successor at the other end of the channel, which
 * becomes the worker's. resume: it failed, everything is as before. leave: the successor serves;
 * sockets are closed here and their files left to it, and sessions continue, within
 * shutdown_timeout, undisturbed until that has nearly passed. */
void worker_yield(struct worker *worker, int places);
void worker_resume(struct worker *worker);
void worker_leave(struct worker *worker);

/* worker_ping asks whether the loop is alive, unless a ping is pending. How late the answer is, is
 * the loop's lag, a metric; worker_unanswered: for how long the loop has not answered, 0 if it
 * has. */
void worker_ping(struct worker *worker);
usec_t worker_unanswered(const struct worker *worker);

/* What can be seen of a configuration: the process's blocks, listeners, TLS clients, hosts, pools,
 * each in the order of the configuration. Any thread may read them until the view is released,
 * whatever configurations follow. */
struct worker_view;
const struct admin_view *worker_view_get(const struct worker_view *view);
/* That of the start; once. */
struct worker_view *worker_first_view(struct worker *worker);
/* It is not read any more. Each must be released before the worker is freed. */
void worker_release_view(struct worker *worker, struct worker_view *view);

/* Makes another configuration take effect: completely, or (ok is false) not at all. The struct and
 * the generation are borrowed until `done` is called, which is always, and never from inside. On
 * success the generation remains borrowed, the previous one does not, and the new view is the
 * caller's to release. One at a time. */
struct worker_install {
    const struct generation *generation;
    void (*done)(struct worker_install *install); /* may free it */

    bool ok;
    const char *error; /* the reason; static, or points to error_text */
    struct worker_view *view;
};
void worker_install(struct worker *worker, struct worker_install *install);

/* As in admin_ops.h: one of each at a time, borrowed until `done` is called, which is always, and
 * never from inside. A command that comes too late is answered with 409, a snapshot with none. */
void worker_command(struct worker *worker, struct command *command);
void worker_snapshot(struct worker *worker, struct snapshot_request *request);

/* May be called at any time. */
enum admin_life worker_life(const struct worker *worker);

#endif
