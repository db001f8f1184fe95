/* One event loop with what runs on it: resolver, pools, listeners, scratch memory.
 *
 * All this belongs to a thread of the worker's own, from worker_start until that has ended; before
 * and after it is in the hands of the thread that calls the functions here, which is always the
 * same one: the control thread. */
#ifndef KAPROXY_WORKER_H
#define KAPROXY_WORKER_H

#include "admin/admin_ops.h"
#include "base/metric.h"
#include "base/util.h"
#include "config/config.h"
#include "net/mailbox.h"

struct worker;

/* The number of its configuration, which is never another one. */
#define WORKER_GENERATION 1

/* Binds all listeners. NULL on failure; then it was logged. The config is borrowed; of clients
 * there are max_clients at most, whatever the config says, and of pipes for bulk data max_pipes. */
struct worker *worker_new(const struct config *config, unsigned max_clients, unsigned max_pipes);

/* Not while its thread runs. NULL is harmless. */
void worker_free(struct worker *worker);

/* Serves from now on. The thread posts `ended` to the mailbox as the last thing it does; both are
 * borrowed until worker_join. 0, or -1 when it could not start (logged). */
MUST_CHECK int worker_start(struct worker *worker, struct mailbox *mailbox, struct message *ended);

/* Waits for the end of its thread, which must have been told to stop. What was asked of it is
 * answered then at the latest. */
void worker_join(struct worker *worker);

/* While its thread runs; these never wait for it. */

/* The first time: accepts nobody else, and ends when the sessions have, or with shutdown_timeout.
 * The second time: ends at once. The signal's name is for the log, and is kept. */
void worker_stop(struct worker *worker, const char *signal_name);

/* Writes the counters to the log, and pings the worker. */
void worker_log_stats(struct worker *worker);

/* Asks whether the loop is alive, unless it has not answered yet. How late it is then is its lag,
 * a metric; for how long it has not answered, 0 if it has: unanswered. */
void worker_ping(struct worker *worker);
usec_t worker_unanswered(const struct worker *worker);

/* All there is to see: the process's blocks, listeners, TLS clients, hosts, pools, each in the
 * order of the configuration. Any thread may read them as long as the worker is not freed. */
const struct metric_block *worker_metrics(const struct worker *worker, size_t *count);

/* As in admin_ops.h: one of each at a time, which is borrowed until `done` is called, and that is
 * always, and never from inside. A command that comes too late is answered with 409, and a snapshot
 * with none. */
void worker_command(struct worker *worker, struct command *command);
void worker_snapshot(struct worker *worker, struct snapshot_request *request);

/* May be asked for at any time. */
enum admin_life worker_life(const struct worker *worker);

#endif
