/* SPDX-License-Identifier: ISC */
/* The control thread, which is the main thread: on libevent's base it waits for signals and for
 * workers' answers, and serves the admin pages. */
#ifndef KAPROXY_CONTROL_H
#define KAPROXY_CONTROL_H

#include "base/util.h"
#include "daemon/generation.h"
#include "daemon/inherited.h"
#include "daemon/program.h"
#include "daemon/worker.h"

struct control;

/* From now on no signal ends the process: signals are recorded, and handled by control_run. Call it
 * before anything is bound, so that no socket file is left behind. NULL on failure, which is
 * logged. */
struct control *control_new(void);

/* From now on signals have no effect. NULL is harmless. */
void control_free(struct control *control);

/* Takes the configuration of the start, with the admin sockets; control_run serves them. 0, or -1
 * (logged). */
MUST_CHECK int control_listen(struct control *control, struct generation *generation);

/* What a handover needs, set before control_run; both are borrowed. */
void control_hand_over(struct control *control, const struct program *program,
                       struct inherited *inherited);

/* Starts the worker, which is borrowed, and returns when its thread has ended. SIGTERM and SIGINT
 * drain and stop it, a second one stops it at once; SIGHUP reopens the logs and reloads, like POST
 * /reload; SIGUSR1 logs the counters; SIGUSR2 hands over to a successor. 0, or -1 when it could not
 * be started (logged). */
MUST_CHECK int control_run(struct control *control, struct worker *worker);

#endif
