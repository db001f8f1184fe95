/* One loop with its resolver, pools and listeners: made, run in a thread, drained, freed. */
#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/thread.h"
#include "daemon/certificates.h"
#include "daemon/listener.h"
#include "daemon/tls_clients.h"
#include "http1/http1_compose.h"
#include "net/loop.h"
#include "net/pipes.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "tls/keyed_digest.h"

/* What one read takes at most. Each read that takes less makes the kernel send acknowledgements and
 * wake processes more often, which is what bulk data costs most; what is much larger drops out of
 * the processor's cache. */
#define SCRATCH_SIZE (256 * 1024)

/* Of the thread. What a session needs is in the scratch memory; OpenSSL needs most. */
#define STACK_SIZE (1024 * 1024)

/* An order to stop. */
struct stop {
    struct message message;
    const char *signal_name; /* NULL: none came yet */
};

struct worker {
    const struct config *config;
    struct loop *loop;
    struct resolver *resolver;
    struct pool **pools; /* one for each of the config */
    struct listeners listeners;
    struct pipes pipes;
    struct tls_clients tls_clients;
    struct certificates certificates;
    struct keyed_digest *digest;
    struct timer deadline; /* shutdown_timeout */
    /* The control thread's. */
    pthread_t thread;
    bool running; /* there is that thread */
    sem_t go;     /* it may begin */
    struct mailbox *control;
    struct message *ended;
    struct stop soft, hard;
    struct message stats;
    char scratch[SCRATCH_SIZE];
    char compose[HTTP1_COMPOSE_MAX];
};

static void end_now(struct worker *worker)
{
    listeners_abort(&worker->listeners);
    loop_stop(worker->loop);
}

static void on_deadline(struct timer *timer)
{
    struct worker *worker = container_of(timer, struct worker, deadline);
    log_warning("shutdown_timeout is over; %u sessions are cut off", worker->listeners.clients);
    end_now(worker);
}

static void on_drained(struct listeners *listeners)
{
    struct worker *worker = container_of(listeners, struct worker, listeners);
    loop_stop(worker->loop);
}

static void on_soft_stop(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, soft.message);
    usec_t limit = worker->config->shutdown_timeout;
    log_notice("%s: stopping; %u sessions may finish within %" PRId64 " s",
               worker->soft.signal_name, worker->listeners.clients, limit / USEC_PER_SEC);
    listeners_stop(&worker->listeners);
    for (size_t i = 0; i < worker->config->pool_count; i++)
        pool_drain(worker->pools[i]);
    if (loop_set_timer(worker->loop, &worker->deadline, loop_now(worker->loop) + limit) < 0)
        end_now(worker);
}

static void on_hard_stop(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, hard.message);
    log_notice("%s again: ending at once; %u sessions are cut off", worker->hard.signal_name,
               worker->listeners.clients);
    end_now(worker);
}

static void log_pool_stats(const struct pool *pool, const char *name)
{
    struct pool_stats stats;
    char discards[POOL_DISCARD_COUNT * 48];
    size_t length = 0;
    pool_get_stats(pool, &stats);
    for (int reason = 0; reason < POOL_DISCARD_COUNT; reason++)
        length +=
            (size_t)snprintf(discards + length, sizeof(discards) - length, " discard_%s=%" PRIu64,
                             pool_discard_name((enum pool_discard)reason), stats.discards[reason]);
    log_notice("stats pool=%s busy=%u held=%u connecting=%u idle=%u waiting=%u queued=%u down=%u"
               " immediate=%" PRIu64 " deferred=%" PRIu64 " none=%" PRIu64 " failures=%" PRIu64
               " refused=%" PRIu64 " cancelled=%" PRIu64 " dials=%" PRIu64 " dial_retries=%" PRIu64
               " spares=%" PRIu64 " downs=%" PRIu64 " released=%" PRIu64 "%s",
               name, stats.busy, stats.held, stats.connecting, stats.idle, stats.waiting,
               stats.queued, stats.down, stats.grants[FROM_IMMEDIATE], stats.grants[FROM_DEFERRED],
               stats.grants[FROM_NONE], stats.failures, stats.refused, stats.cancelled, stats.dials,
               stats.retries, stats.preconnects, stats.downs, stats.released, discards);
}

static const char *pool_name(const struct config_pool *pool)
{
    return pool->name[0] == '\0' ? "default" : pool->name;
}

static void on_stats(struct message *message)
{
    const struct worker *worker = container_of(message, struct worker, stats);
    listeners_log_stats(&worker->listeners);
    log_notice("stats pipes=%u idle=%u limit=%u spliced=%" PRIu64, worker->pipes.count,
               worker->pipes.idle_count, worker->pipes.limit, worker->pipes.spliced);
    for (size_t i = 0; i < worker->config->pool_count; i++)
        log_pool_stats(worker->pools[i], pool_name(&worker->config->pools[i]));
}

static int add_pools(struct worker *worker)
{
    const struct config *config = worker->config;
    worker->pools = calloc(config->pool_count, sizeof(*worker->pools));
    if (worker->pools == NULL)
        return -1;
    for (size_t i = 0; i < config->pool_count; i++) {
        worker->pools[i] = pool_new(worker->loop, worker->resolver, &config->pools[i].limits);
        if (worker->pools[i] == NULL)
            return -1;
        pool_set_name(worker->pools[i], pool_name(&config->pools[i]));
    }
    return 0;
}

static int start_resolver(struct worker *worker)
{
    const struct resolver_ares_options options = {.servers = worker->config->resolver};
    struct resolver_backend *backend = resolver_ares_new(worker->loop, &options);
    if (backend == NULL)
        return -1;
    worker->resolver = resolver_new(worker->loop, backend);
    if (worker->resolver == NULL) {
        backend->stop(backend);
        return -1;
    }
    return 0;
}

struct worker *worker_new(const struct config *config, unsigned max_clients, unsigned max_pipes)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        goto err;
    worker->config = config;
    worker->deadline.fire = on_deadline;
    worker->soft.message.run = on_soft_stop;
    worker->hard.message.run = on_hard_stop;
    worker->stats.run = on_stats;
    sem_init(&worker->go, 0, 0);
    pipes_init(&worker->pipes, max_pipes);
    worker->loop = loop_new();
    if (worker->loop == NULL)
        goto err;
    worker->listeners.worker.loop = worker->loop;
    worker->listeners.max_clients = max_clients;
    worker->listeners.worker.scratch = (struct scratch){worker->scratch, sizeof(worker->scratch)};
    worker->listeners.worker.compose = (struct scratch){worker->compose, sizeof(worker->compose)};
    worker->listeners.worker.pipes = &worker->pipes;
    worker->listeners.drained = on_drained;
    listeners_init(&worker->listeners);
    worker->digest = worker->listeners.worker.digest = keyed_digest_new();
    if (worker->digest == NULL)
        goto err_logged;
    if (start_resolver(worker) < 0 || add_pools(worker) < 0)
        goto err;
    if (tls_clients_init(&worker->tls_clients, config) < 0)
        goto err_logged;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (listeners_add(&worker->listeners, listener, worker->pools[listener->pool],
                          tls_clients_find(&worker->tls_clients, &listener->upstream)) < 0)
            goto err_logged;
    }
    return worker;

err:
    log_error("cannot start: %s", strerror(errno));
err_logged:
    worker_free(worker);
    return NULL;
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    assert(!worker->running);
    if (worker->loop != NULL) {
        listeners_clear(&worker->listeners);
        loop_clear_timer(worker->loop, &worker->deadline);
        certificates_stop(&worker->certificates);
    }
    for (size_t i = 0; worker->pools != NULL && i < worker->config->pool_count; i++)
        pool_free(worker->pools[i]);
    free(worker->pools);
    tls_clients_clear(&worker->tls_clients);
    pipes_clear(&worker->pipes);
    keyed_digest_free(worker->digest);
    resolver_free(worker->resolver);
    loop_free(worker->loop);
    sem_destroy(&worker->go);
    free(worker);
}

/* 0, or -1 with errno. */
static int start_serving(struct worker *worker)
{
    const struct config *config = worker->config;
    if (listeners_start(&worker->listeners) < 0 ||
        certificates_start(&worker->certificates, worker->loop, config, &worker->tls_clients) < 0)
        return -1;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (pool_keep_preconnected(worker->pools[listener->pool], &listener->upstream) < 0)
            return -1;
        enum protocol_id protocol = endpoint_scheme(&listener->upstream)->protocol;
        if (listener->reuse == REUSE_NEVER && protocol == PROTOCOL_OPAQUE)
            pool_expect_greeting(worker->pools[listener->pool], &listener->upstream);
    }
    return 0;
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    while (sem_wait(&worker->go) < 0)
        continue;
    loop_run(worker->loop);
    mailbox_post(worker->control, worker->ended);
    return NULL;
}

/* The thread waits until it is said that all is ready: what it logs comes behind that. */
int worker_start(struct worker *worker, struct mailbox *mailbox, struct message *ended)
{
    worker->control = mailbox;
    worker->ended = ended;
    if (start_serving(worker) < 0) {
        log_error("cannot start: %s", strerror(errno));
        return -1;
    }
    if (thread_start(&worker->thread, "kaproxy-worker", STACK_SIZE, run, worker) < 0) {
        log_error("cannot start the thread that carries clients: %s", strerror(errno));
        return -1;
    }
    worker->running = true;
    log_ready();
    log_notice("ready");
    sem_post(&worker->go);
    return 0;
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    worker->running = false;
}

void worker_stop(struct worker *worker, const char *signal_name)
{
    struct stop *stop = worker->soft.signal_name == NULL ? &worker->soft : &worker->hard;
    if (stop->signal_name != NULL) /* it ends at once already */
        return;
    stop->signal_name = signal_name;
    mailbox_post(loop_mailbox(worker->loop), &stop->message);
}

void worker_log_stats(struct worker *worker)
{
    mailbox_post(loop_mailbox(worker->loop), &worker->stats);
}
