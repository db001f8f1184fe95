/* SPDX-License-Identifier: ISC */
/* A worker takes a configuration: what can fail comes first, and changes nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/worker_internal.h"

/* What is made before anything changes. */
struct prepared {
    struct worker_pool **pools;
    struct pool **pool_list;
    size_t pool_count;
    struct resolver_backend *backend; /* NULL: unchanged */
    struct listeners_change *listeners;
    struct worker_view *view;
};

/* Pools. */

const char *worker_pool_name(const struct config_pool *pool)
{
    return pool->name[0] == '\0' ? "default" : pool->name;
}

static void free_pool(struct worker_pool *pool)
{
    TAILQ_REMOVE(&pool->worker->all_pools, pool, link);
    pool_free(pool->pool);
    free(pool->name);
    free(pool);
}

static void on_pool_gone(struct pool *pool, void *arg)
{
    (void)pool;
    free_pool(arg);
}

/* No command reaches it from now on, so waiting clients could never be resumed. */
void worker_pool_unuse(struct worker_pool *pool)
{
    if (--pool->uses > 0)
        return;
    pool->retired = true;
    pool_retire(pool->pool, on_pool_gone, pool);
    pool_set_service(pool->pool, NULL, SERVICE_OPEN);
}

static struct worker_pool *find_pool(const struct worker *worker, const char *name)
{
    struct worker_pool *pool;
    TAILQ_FOREACH (pool, &worker->all_pools, link) {
        if (strcmp(pool->name, name) == 0)
            return pool;
    }
    return NULL;
}

/* NULL with errno. */
static struct worker_pool *make_pool(struct worker *worker, const struct config_pool *config)
{
    struct worker_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->worker = worker;
    pool->name = strdup(worker_pool_name(config));
    pool->pool = pool_new(worker->loop, worker->resolver, &config->limits);
    if (pool->name == NULL || pool->pool == NULL)
        goto err;
    pool_set_name(pool->pool, pool->name);
    TAILQ_INSERT_TAIL(&worker->all_pools, pool, link);
    return pool;

err:
    pool_free(pool->pool);
    free(pool->name);
    free(pool);
    errno = ENOMEM;
    return NULL;
}

/* 0, or -1 with errno. */
static int prepare_pools(struct worker *worker, const struct config *config,
                         struct prepared *prepared)
{
    prepared->pools = calloc(config->pool_count, sizeof(struct worker_pool *));
    prepared->pool_list = calloc(config->pool_count, sizeof(struct pool *));
    if (prepared->pools == NULL || prepared->pool_list == NULL)
        return -1;
    for (; prepared->pool_count < config->pool_count; prepared->pool_count++) {
        const struct config_pool *pool_config = &config->pools[prepared->pool_count];
        struct worker_pool *pool = find_pool(worker, worker_pool_name(pool_config));
        if (pool == NULL)
            pool = make_pool(worker, pool_config);
        if (pool == NULL)
            return -1;
        if (pool->retired)
            pool_revive(pool->pool);
        pool->retired = false;
        pool->uses++;
        prepared->pools[prepared->pool_count] = pool;
        prepared->pool_list[prepared->pool_count] = pool->pool;
    }
    return 0;
}

void worker_unuse_pools(struct worker_pool **pools, size_t count)
{
    for (size_t i = 0; i < count; i++)
        worker_pool_unuse(pools[i]);
    free(pools);
}

static void set_limits(const struct worker *worker)
{
    for (size_t i = 0; i < worker->config->pool_count; i++)
        pool_set_limits(worker->pool_list[i], &worker->config->pools[i].limits);
}

/* Hosts without a listener keep no connections ready. */
static void set_wanted(const struct worker *worker, const struct worker_view *view)
{
    const struct worker_pool *pool;
    struct pool_host *host;
    TAILQ_FOREACH (pool, &worker->all_pools, link) {
        for (host = pool_next_host(pool->pool, NULL); host != NULL;
             host = pool_next_host(pool->pool, host))
            pool_set_wanted(host, worker_view_has_host(view, host));
    }
}

/* Hosts without a listener are not wanted, and so keep no connections ready. */
void worker_set_preconnected(const struct worker *worker)
{
    const struct listener_context *context = NULL;
    while ((context = listeners_next(&worker->listeners, context)) != NULL)
        pool_set_greeting(context->pool_host, false);
    while ((context = listeners_next(&worker->listeners, context)) != NULL) {
        const struct config_listener *listener = context->config;
        enum protocol_id protocol = endpoint_scheme(&listener->upstream)->protocol;
        pool_set_preconnected(context->pool_host, true);
        if (listener->reuse == REUSE_NEVER && protocol == PROTOCOL_OPAQUE)
            pool_set_greeting(context->pool_host, true);
    }
}

/* The resolver. */

/* 0, or -1 with errno. */
static int prepare_resolver(struct worker *worker, struct config *config, struct prepared *prepared)
{
    const struct resolver_ares_options options = {.servers = config->resolver};
    if (worker->resolver != NULL && strcmp(config->resolver, worker->config->resolver) == 0)
        return 0;
    prepared->backend = resolver_ares_new(worker->loop, &options);
    if (prepared->backend == NULL)
        return -1;
    if (worker->resolver != NULL)
        return 0;
    worker->resolver = resolver_new(worker->loop, prepared->backend);
    if (worker->resolver == NULL)
        return -1;
    worker->resolver_config = config_ref(config);
    prepared->backend = NULL;
    return 0;
}

static void take_resolver(struct worker *worker, struct config *config,
                          const struct prepared *prepared)
{
    if (prepared->backend == NULL)
        return;
    resolver_set_backend(worker->resolver, prepared->backend);
    config_unref(worker->resolver_config);
    worker->resolver_config = config_ref(config);
}

/* Listeners. */

/* 0, or -1 with ENOMEM. */
static int prepare_listeners(struct worker *worker, const struct generation *generation,
                             struct prepared *prepared)
{
    const struct config *config = generation->config;
    struct bound_socket **sockets = generation->sockets;
    struct listener_plan *plans = calloc(config->listener_count, sizeof(*plans));
    if (plans == NULL)
        return -1;
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        plans[i] = (struct listener_plan){
            .whole = generation->config,
            .config = listener,
            .pool = prepared->pools[listener->pool]->pool,
            .tls = tls_clients_find(&generation->tls_clients, &listener->upstream),
            .sockets = sockets,
            .unchanged = generation->unchanged[i]};
        sockets += listener->addresses.count;
    }
    prepared->listeners = listeners_prepare(&worker->listeners, plans, config->listener_count);
    free(plans);
    return prepared->listeners == NULL ? -1 : 0;
}

/* All of it. */

static void drop(struct worker *worker, struct prepared *prepared)
{
    worker_view_free(prepared->view);
    listeners_drop(&worker->listeners, prepared->listeners);
    if (prepared->backend != NULL)
        prepared->backend->stop(prepared->backend);
    worker_unuse_pools(prepared->pools, prepared->pool_count);
    free(prepared->pool_list);
}

static void watch_certificates(struct worker *worker, const struct generation *generation)
{
    certificates_stop(&worker->certificates);
    if (certificates_start(&worker->certificates, worker->loop, generation->config,
                           &generation->tls_clients) < 0)
        log_error("no memory for the timer that checks certificates");
}

static void take(struct worker *worker, const struct generation *generation,
                 struct prepared *prepared)
{
    struct config *before = worker->config;
    struct worker_pool **pools = worker->pools;
    take_resolver(worker, generation->config, prepared);
    worker->config = config_ref(generation->config);
    worker->generation = generation->number;
    worker->pools = prepared->pools;
    free(worker->pool_list);
    worker->pool_list = prepared->pool_list;
    set_limits(worker); /* before listeners, which record some of them */
    listeners_commit(&worker->listeners, prepared->listeners, generation->max_clients);
    pipes_set_max(&worker->pipes, generation->max_pipes);
    set_wanted(worker, prepared->view);
    if (!worker->waits)
        worker_set_preconnected(worker);
    watch_certificates(worker, generation);
    if (before != NULL)
        worker_unuse_pools(pools, before->pool_count);
    config_unref(before);
}

struct worker_view *worker_take_up(struct worker *worker, const struct generation *generation)
{
    struct prepared prepared = {.pools = NULL};
    struct config *config = generation->config;
    if (prepare_resolver(worker, config, &prepared) < 0 ||
        prepare_pools(worker, config, &prepared) < 0 ||
        prepare_listeners(worker, generation, &prepared) < 0)
        goto err;
    prepared.view = worker_view_new(worker, generation, prepared.pools, prepared.listeners);
    if (prepared.view == NULL)
        goto err;
    take(worker, generation, &prepared);
    return prepared.view;

err:;
    int error = errno;
    drop(worker, &prepared);
    errno = error;
    return NULL;
}

void worker_free_pools(struct worker *worker)
{
    struct worker_pool *pool;
    while ((pool = TAILQ_FIRST(&worker->all_pools)) != NULL)
        free_pool(pool);
    free(worker->pools);
    free(worker->pool_list);
}
