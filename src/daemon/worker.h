/* SPDX-License-Identifier: ISC */
/* One event loop with what runs on it: resolver, pools, listeners, scratch memory.
 *
 * All this belongs to a thread of the worker's own, from worker_start until that has ended; before
 * and after it is in the hands of the thread that calls the functions here, which is always the
 * same one: the control thread. */
#ifndef KAPROXY_WORKER_H
#define KAPROXY_WORKER_H

#include "admin/admin_ops.h"
#include "admin/admin_view.h"
#include "base/metric.h"
#include "base/util.h"
#include "daemon/generation.h"
#include "net/mailbox.h"

struct worker;

/* Takes up the configuration of a start, which is borrowed until another one was installed. With
 * a channel for places (-1: none) it serves only when the predecessor at its other end lets it, or
 * has ended; the channel is the worker's from then on, also on failure. NULL on failure; then it
 * was logged. */
struct worker *worker_new(const struct generation *generation, int places);

/* Not while its thread runs. NULL is harmless. */
void worker_free(struct worker *worker);

/* What the thread posts to the control thread's mailbox; all is borrowed until worker_join. */
struct worker_messages {
    struct mailbox *mailbox;
    struct message *serving; /* clients are accepted, once */
    struct message *ended;   /* the last thing that it does */
};

/* Serves from now on, or as soon as it may. 0, or -1 when it could not start (logged). */
MUST_CHECK int worker_start(struct worker *worker, const struct worker_messages *messages);

/* Waits for the end of its thread, which must have been told to stop. What was asked of it is
 * answered then at the latest. */
void worker_join(struct worker *worker);

/* While its thread runs; these never wait for it. */

/* The first time: accepts nobody else, and ends when the sessions have, or with shutdown_timeout.
 * The second time: ends at once. The signal's name is for the log, and is kept. */
void worker_stop(struct worker *worker, const char *signal_name);

/* Before fork(2), which copies all descriptors, and after the other process has let go of them: see
 * loop_expect_copies. When it is expected `done` is posted to the control thread, and then is the
 * time to fork. */
void worker_expect_copies(struct worker *worker, struct message *done);
void worker_expect_none(struct worker *worker);

/* A handover, seen from the process that is there. yield: accepts nobody, while clients wait in
 * the backlog, and shares places with the successor at the other end of the channel, which is the
 * worker's from now on. resume: it failed, all is as it was. leave: the successor serves; sockets
 * are closed here and their files left to it, and sessions go on, within shutdown_timeout, without
 * being disturbed before that is nearly over. */
void worker_yield(struct worker *worker, int places);
void worker_resume(struct worker *worker);
void worker_leave(struct worker *worker);

/* Asks whether the loop is alive, unless it has not answered yet. How late it is then is its lag,
 * a metric; for how long it has not answered, 0 if it has: unanswered. */
void worker_ping(struct worker *worker);
usec_t worker_unanswered(const struct worker *worker);

/* What there is to see of a configuration: the process's blocks, listeners, TLS clients, hosts,
 * pools, each in the order of the configuration. Any thread may read them until the view is
 * released, whatever configurations come after it. */
struct worker_view;
const struct admin_view *worker_view_get(const struct worker_view *view);
/* Of the start's; once. */
struct worker_view *worker_first_view(struct worker *worker);
/* It is not read any more. Each must be released before the worker is freed. */
void worker_release_view(struct worker *worker, struct worker_view *view);

/* Has another configuration take effect: all of it, or (ok is false) nothing. The struct and the
 * generation are borrowed until `done` is called, and that is always, and never from inside; if it
 * is in effect the generation is borrowed on, and the one before it is not any more, and the new
 * view is the caller's to release. One at a time. */
struct worker_install {
    const struct generation *generation;
    void (*done)(struct worker_install *install); /* may free it */

    bool ok;
    const char *error; /* why not; static, or of error_text */
    struct worker_view *view;
};
void worker_install(struct worker *worker, struct worker_install *install);

/* As in admin_ops.h: one of each at a time, which is borrowed until `done` is called, and that is
 * always, and never from inside. A command that comes too late is answered with 409, and a snapshot
 * with none. */
void worker_command(struct worker *worker, struct command *command);
void worker_snapshot(struct worker *worker, struct snapshot_request *request);

/* May be asked for at any time. */
enum admin_life worker_life(const struct worker *worker);

#endif
