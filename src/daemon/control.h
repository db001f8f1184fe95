/* SPDX-License-Identifier: ISC */
/* The control thread, which is the main one: on libevent's base it waits for signals and for what
 * workers answer, and serves the admin pages. */
#ifndef KAPROXY_CONTROL_H
#define KAPROXY_CONTROL_H

#include "base/util.h"
#include "daemon/generation.h"
#include "daemon/inherited.h"
#include "daemon/program.h"
#include "daemon/worker.h"

struct control;

/* From now on signals end nothing: they are noted, and heeded by control_run. So to be called
 * before anything is bound, lest a socket's file be left behind. NULL on failure; then it was
 * logged. */
struct control *control_new(void);

/* From now on signals change nothing any more. NULL is harmless. */
void control_free(struct control *control);

/* Takes the configuration of the start, with the sockets of the admin pages; they are served by
 * control_run. 0, or -1; then it was logged. */
MUST_CHECK int control_listen(struct control *control, struct generation *generation);

/* What a handover is made of, before control_run; both are borrowed. */
void control_hand_over(struct control *control, const struct program *program,
                       struct inherited *inherited);

/* Starts the worker, which is borrowed, and returns when its thread has ended. SIGTERM and SIGINT
 * stop it softly, a second one at once; SIGHUP reopens the logs and reloads, as POST /reload does,
 * SIGUSR1 writes the counters, SIGUSR2 hands over to a successor. 0, or -1 when it could not start
 * (logged). */
MUST_CHECK int control_run(struct control *control, struct worker *worker);

#endif
