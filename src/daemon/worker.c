/* One loop with its resolver, pools and listeners: made, run in a thread, drained, freed. */
#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/thread.h"
#include "daemon/certificates.h"
#include "daemon/listener.h"
#include "daemon/requests.h"
#include "daemon/tls_clients.h"
#include "http1/http1_compose.h"
#include "net/loop.h"
#include "net/pipes.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "session/protocol.h"
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

/* A request on its way: the control thread's, but from when it is posted until it is answered. */
struct request {
    struct message asked, answered;
    bool done; /* by the worker's thread */
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
    struct message ping;
    _Atomic usec_t pinged_at; /* when, as long as the loop has not answered; else 0 */
    struct loop_stats {
        struct gauge lag; /* in microseconds */
    } loop_stats;
    struct metric_block *blocks;
    size_t block_count;
    struct request command_request, snapshot_request;
    struct command *command;           /* NULL: none is on its way */
    struct snapshot_request *snapshot; /* the same */
    _Atomic enum admin_life life;      /* the worker's thread changes it */
    char scratch[SCRATCH_SIZE];
    char compose[HTTP1_COMPOSE_MAX];
};

static struct requests requests_of(struct worker *worker)
{
    return (struct requests){.listeners = &worker->listeners,
                             .pools = worker->pools,
                             .pool_count = worker->config->pool_count,
                             .generation = WORKER_GENERATION};
}

/* STOPPING is for good. */
static void update_life(struct worker *worker)
{
    const struct listener *listener = NULL;
    enum admin_life life = ADMIN_DRAINING;
    while ((listener = listener_next(&worker->listeners, listener)) != NULL) {
        if (listener_get_service(listener) != SERVICE_DRAINING)
            life = ADMIN_SERVING;
    }
    if (worker->listeners.stopped)
        life = ADMIN_STOPPING;
    atomic_store_explicit(&worker->life, life, memory_order_relaxed);
}

/* On the worker's thread. */

static void on_command(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, command_request.asked);
    const struct requests requests = requests_of(worker);
    requests_command(&requests, worker->command);
    update_life(worker);
    worker->command_request.done = true;
    mailbox_post(worker->control, &worker->command_request.answered);
}

static void on_snapshot(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, snapshot_request.asked);
    const struct requests requests = requests_of(worker);
    requests_snapshot(&requests, &worker->snapshot->snapshot);
    worker->snapshot_request.done = true;
    mailbox_post(worker->control, &worker->snapshot_request.answered);
}

/* On the control thread. */

static void on_command_answered(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, command_request.answered);
    struct command *command = worker->command;
    worker->command = NULL;
    command->done(command);
}

static void on_snapshot_answered(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, snapshot_request.answered);
    struct snapshot_request *request = worker->snapshot;
    worker->snapshot = NULL;
    request->done(request);
}

/* There is no thread that would do it. */
static void answer_late_command(struct worker *worker)
{
    struct command *command = worker->command;
    command->status = 409;
    command->matched = command->busy = 0;
    snprintf(command->text, sizeof(command->text), "kaproxy is stopping");
    mailbox_post(worker->control, &worker->command_request.answered);
}

static void answer_late_snapshot(struct worker *worker)
{
    struct snapshot *snapshot = &worker->snapshot->snapshot;
    snapshot->taken_at = 0;
    snapshot->host_count = snapshot->listener_count = snapshot->session_count = 0;
    snapshot->sessions_left_out = 0;
    mailbox_post(worker->control, &worker->snapshot_request.answered);
}

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
    update_life(worker);
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

static usec_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

static const char *pool_name(const struct config_pool *pool)
{
    return pool->name[0] == '\0' ? "default" : pool->name;
}

/* How late the loop is to a message: answered pings set it. */
static void on_ping(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, ping);
    usec_t late = clock_now() - atomic_load(&worker->pinged_at);
    gauge_set(&worker->loop_stats.lag, late > 0 ? (uint64_t)late : 0);
    atomic_store(&worker->pinged_at, 0);
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

static const struct metric loop_metric[] = {
    {.name = "lag",
     .help = "How late the loop that carries clients answered the last ping",
     .type = METRIC_GAUGE,
     .unit = METRIC_SECONDS,
     .offset = offsetof(struct loop_stats, lag),
     .count = 1,
     .log = "loop_lag_us"},
};
static const struct metric_set loop_metrics = {
    .prefix = "loop_", .metrics = loop_metric, .count = ARRAY_LEN(loop_metric)};

static void add_block(struct worker *worker, const struct metric_set *set, const void *block,
                      struct metric_labels labels)
{
    worker->blocks[worker->block_count++] =
        (struct metric_block){.set = set, .block = block, .labels = labels};
}

static void add_process_blocks(struct worker *worker)
{
    const struct metric_labels none = {.listener = NULL};
    add_block(worker, &listeners_metrics, &worker->listeners.stats, none);
    add_block(worker, &pipes_metrics, &worker->pipes.stats, none);
    add_block(worker, &resolver_metrics, resolver_stats(worker->resolver), none);
    add_block(worker, &loop_metrics, &worker->loop_stats, none);
    add_block(worker, &log_metrics, &log_stats, none);
}

static void add_listener_blocks(struct worker *worker, const struct listener_context *context)
{
    const struct metric_labels labels = {.listener = context->config->name};
    add_block(worker, &listener_metrics, &context->stats, labels);
    if (context->protocol->metrics != NULL)
        add_block(worker, context->protocol->metrics, context->of_protocol, labels);
}

/* Once, whoever has it in common. */
static void add_block_once(struct worker *worker, const struct metric_set *set, const void *block,
                           struct metric_labels labels)
{
    size_t i = 0;
    while (i < worker->block_count && worker->blocks[i].block != block)
        i++;
    if (i == worker->block_count)
        add_block(worker, set, block, labels);
}

static void add_tls_block(struct worker *worker, const struct listener_context *context)
{
    const struct metric_labels labels = {.upstream = context->upstream,
                                         .tls = context->config->name};
    if (context->tls != NULL)
        add_block_once(worker, &tls_metrics, tls_client_stats(context->tls), labels);
}

/* Does a listener speak to the same upstream, in the same pool, with other TLS settings? */
static bool has_double(const struct worker *worker, const struct listener_context *context)
{
    const struct listener_context *other = NULL;
    while ((other = listeners_next(&worker->listeners, other)) != NULL) {
        if (other->pool == context->pool && other->pool_host != context->pool_host &&
            strcmp(other->upstream, context->upstream) == 0)
            return true;
    }
    return false;
}

static void add_host_block(struct worker *worker, const struct listener_context *context)
{
    struct metric_labels labels = {.pool = pool_name(&worker->config->pools[context->config->pool]),
                                   .upstream = context->upstream};
    if (has_double(worker, context))
        labels.tls = context->config->name;
    add_block_once(worker, &host_metrics, pool_host_stats(context->pool_host), labels);
}

#define PROCESS_BLOCKS     5
#define BLOCKS_OF_LISTENER 4 /* its own, its protocol's, its host's, its TLS client's */

/* What there is to see: everything that is made once, and stays. 0, or -1 with ENOMEM. */
static int add_blocks(struct worker *worker)
{
    const struct config *config = worker->config;
    const struct listener_context *context = NULL;
    worker->blocks =
        calloc(PROCESS_BLOCKS + config->pool_count + config->listener_count * BLOCKS_OF_LISTENER,
               sizeof(*worker->blocks));
    if (worker->blocks == NULL)
        return -1;
    add_process_blocks(worker);
    while ((context = listeners_next(&worker->listeners, context)) != NULL)
        add_listener_blocks(worker, context);
    while ((context = listeners_next(&worker->listeners, context)) != NULL)
        add_tls_block(worker, context);
    while ((context = listeners_next(&worker->listeners, context)) != NULL)
        add_host_block(worker, context);
    for (size_t i = 0; i < config->pool_count; i++)
        add_block(worker, &limits_metrics, pool_limits_stats(worker->pools[i]),
                  (struct metric_labels){.pool = pool_name(&config->pools[i])});
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
    worker->ping.run = on_ping;
    worker->command_request.asked.run = on_command;
    worker->command_request.answered.run = on_command_answered;
    worker->snapshot_request.asked.run = on_snapshot;
    worker->snapshot_request.answered.run = on_snapshot_answered;
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
    if (add_blocks(worker) < 0)
        goto err;
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
    free(worker->blocks);
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

/* What the thread has not come to will not be done. Whoever is answered may ask again. */
void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    worker->running = false;
    if (worker->command != NULL && !worker->command_request.done)
        answer_late_command(worker);
    if (worker->snapshot != NULL && !worker->snapshot_request.done)
        answer_late_snapshot(worker);
    while (worker->command != NULL || worker->snapshot != NULL)
        mailbox_run(worker->control);
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
    metric_log(worker->blocks, worker->block_count);
    worker_ping(worker); /* for the next time */
}

const struct metric_block *worker_metrics(const struct worker *worker, size_t *count)
{
    *count = worker->block_count;
    return worker->blocks;
}

void worker_ping(struct worker *worker)
{
    usec_t none = 0;
    if (atomic_compare_exchange_strong(&worker->pinged_at, &none, clock_now()))
        mailbox_post(loop_mailbox(worker->loop), &worker->ping);
}

usec_t worker_unanswered(const struct worker *worker)
{
    usec_t pinged_at = atomic_load(&worker->pinged_at);
    return pinged_at == 0 ? 0 : clock_now() - pinged_at;
}

void worker_command(struct worker *worker, struct command *command)
{
    assert(worker->command == NULL);
    worker->command = command;
    worker->command_request.done = false;
    if (worker->running)
        mailbox_post(loop_mailbox(worker->loop), &worker->command_request.asked);
    else
        answer_late_command(worker);
}

void worker_snapshot(struct worker *worker, struct snapshot_request *request)
{
    assert(worker->snapshot == NULL);
    worker->snapshot = request;
    worker->snapshot_request.done = false;
    if (worker->running)
        mailbox_post(loop_mailbox(worker->loop), &worker->snapshot_request.asked);
    else
        answer_late_snapshot(worker);
}

enum admin_life worker_life(const struct worker *worker)
{
    return atomic_load_explicit(&worker->life, memory_order_relaxed);
}
