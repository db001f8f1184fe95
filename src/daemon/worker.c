/* One loop with its resolver, pools and listeners: made, run, drained, freed. */
#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
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

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

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
    bool stopping;
    size_t signal_count;
    struct event signal_events[ARRAY_LEN(signals)];
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

static void stop_softly(struct worker *worker, const char *signal_name)
{
    usec_t limit = worker->config->shutdown_timeout;
    if (worker->stopping) {
        log_notice("%s again: ending at once; %u sessions are cut off", signal_name,
                   worker->listeners.clients);
        end_now(worker);
        return;
    }
    worker->stopping = true;
    log_notice("%s: stopping; %u sessions may finish within %" PRId64 " s", signal_name,
               worker->listeners.clients, limit / USEC_PER_SEC);
    listeners_stop(&worker->listeners);
    for (size_t i = 0; i < worker->config->pool_count; i++)
        pool_drain(worker->pools[i]);
    if (loop_set_timer(worker->loop, &worker->deadline, loop_now(worker->loop) + limit) < 0)
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
    log_notice("stats pool=%s busy=%u held=%u connecting=%u idle=%u waiting=%u queued=%u"
               " immediate=%" PRIu64 " deferred=%" PRIu64 " none=%" PRIu64 " failures=%" PRIu64
               " cancelled=%" PRIu64 " dials=%" PRIu64 " spares=%" PRIu64 " released=%" PRIu64 "%s",
               name, stats.busy, stats.held, stats.connecting, stats.idle, stats.waiting,
               stats.queued, stats.grants[FROM_IMMEDIATE], stats.grants[FROM_DEFERRED],
               stats.grants[FROM_NONE], stats.failures, stats.cancelled, stats.dials,
               stats.preconnects, stats.released, discards);
}

static const char *pool_name(const struct config_pool *pool)
{
    return pool->name[0] == '\0' ? "default" : pool->name;
}

static void log_stats(const struct worker *worker)
{
    listeners_log_stats(&worker->listeners);
    log_notice("stats pipes=%u idle=%u limit=%u spliced=%" PRIu64, worker->pipes.count,
               worker->pipes.idle_count, worker->pipes.limit, worker->pipes.spliced);
    for (size_t i = 0; i < worker->config->pool_count; i++)
        log_pool_stats(worker->pools[i], pool_name(&worker->config->pools[i]));
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct worker *worker = arg;
    (void)what;
    switch (number) {
    case SIGTERM:
        stop_softly(worker, "SIGTERM");
        break;
    case SIGINT:
        stop_softly(worker, "SIGINT");
        break;
    case SIGHUP:
        log_reopen();
        break;
    case SIGUSR1:
        log_stats(worker);
        break;
    case SIGUSR2:
        log_notice("SIGUSR2: it has no meaning in this version");
        break;
    default:
        break;
    }
}

/* From here on they are heeded, whether main held them back or whoever started us. */
static int watch_signals(struct worker *worker)
{
    sigset_t watched;
    sigemptyset(&watched);
    for (; worker->signal_count < ARRAY_LEN(signals); worker->signal_count++) {
        struct event *event = &worker->signal_events[worker->signal_count];
        evsignal_assign(event, loop_base(worker->loop), signals[worker->signal_count], on_signal,
                        worker);
        if (event_add(event, NULL) < 0)
            return -1;
        sigaddset(&watched, signals[worker->signal_count]);
    }
    sigprocmask(SIG_UNBLOCK, &watched, NULL);
    return 0;
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
    /* Before anything is bound: a signal must not leave a socket's file behind. */
    if (watch_signals(worker) < 0 || start_resolver(worker) < 0 || add_pools(worker) < 0)
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
    /* A signal that comes when all is done must not change how it ended. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    if (worker->loop != NULL) {
        listeners_clear(&worker->listeners);
        for (size_t i = 0; i < worker->signal_count; i++)
            event_del(&worker->signal_events[i]);
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
    free(worker);
}

int worker_run(struct worker *worker)
{
    const struct config *config = worker->config;
    if (listeners_start(&worker->listeners) < 0 ||
        certificates_start(&worker->certificates, worker->loop, config, &worker->tls_clients) < 0)
        goto err;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (pool_keep_preconnected(worker->pools[listener->pool], &listener->upstream) < 0)
            goto err;
        enum protocol_id protocol = endpoint_scheme(&listener->upstream)->protocol;
        if (listener->reuse == REUSE_NEVER && protocol == PROTOCOL_OPAQUE)
            pool_expect_greeting(worker->pools[listener->pool], &listener->upstream);
    }
    log_ready();
    log_notice("ready");
    loop_run(worker->loop);
    return 0;

err:
    log_error("cannot start: %s", strerror(errno));
    return -1;
}
