/* One event loop with what runs on it: resolver, pools, listeners, scratch memory. */
#ifndef KAPROXY_WORKER_H
#define KAPROXY_WORKER_H

#include "base/util.h"
#include "config/config.h"

struct worker;

/* Binds all listeners. NULL on failure; then it was logged. The config is borrowed; of clients
 * there are max_clients at most, whatever the config says, and of pipes for bulk data max_pipes. */
struct worker *worker_new(const struct config *config, unsigned max_clients, unsigned max_pipes);
void worker_free(struct worker *worker); /* NULL is harmless */

/* Serves until a signal ends it: SIGTERM and SIGINT stop softly, a second one at once; SIGHUP
 * reopens the logs, SIGUSR1 writes the counters, SIGUSR2 does nothing. 0, or -1 when it could not
 * start (logged). */
MUST_CHECK int worker_run(struct worker *worker);

#endif
