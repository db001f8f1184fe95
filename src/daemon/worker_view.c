/* SPDX-License-Identifier: ISC */
/* What can be seen of a configuration: its metric blocks, and references that keep these alive. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/worker_internal.h"
#include "session/protocol.h"

#define PROCESS_BLOCKS     5
#define BLOCKS_OF_LISTENER 4 /* its own, its protocol's, its host's, its TLS client's */

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

static void add_block(struct worker_view *view, const struct metric_set *set, const void *block,
                      struct metric_labels labels)
{
    view->blocks[view->admin.block_count++] =
        (struct metric_block){.set = set, .block = block, .labels = labels};
}

static void add_process_blocks(struct worker_view *view)
{
    const struct worker *worker = view->worker;
    const struct metric_labels none = {.listener = NULL};
    add_block(view, &listeners_metrics, &worker->listeners.stats, none);
    add_block(view, &pipes_metrics, &worker->pipes.stats, none);
    add_block(view, &resolver_metrics, resolver_stats(worker->resolver), none);
    add_block(view, &loop_metrics, &worker->loop_stats, none);
    add_block(view, &log_metrics, &log_stats, none);
}

static void add_listener_blocks(struct worker_view *view, const struct held_listener *held)
{
    const struct metric_labels labels = {.listener = held->config->name};
    add_block(view, &listener_metrics, &held->counters->stats, labels);
    if (held->protocol->metrics != NULL)
        add_block(view, held->protocol->metrics, held->counters->of_protocol, labels);
}

static void add_tls_block(struct worker_view *view, const struct held_listener *held)
{
    const struct metric_labels labels = {.upstream = held->upstream, .tls = held->config->name};
    if (held->is_first_of_tls)
        add_block(view, &tls_metrics, tls_client_stats(held->tls), labels);
}

static void add_host_block(struct worker_view *view, const struct held_listener *held)
{
    const struct config_pool *pool = &view->config->pools[held->config->pool];
    struct metric_labels labels = {.pool = worker_pool_name(pool), .upstream = held->upstream};
    if (!held->is_first_of_host)
        return;
    if (held->has_double)
        labels.tls = held->config->name;
    add_block(view, &host_metrics, pool_host_stats(held->host), labels);
}

static void add_blocks(struct worker_view *view)
{
    const struct config *config = view->config;
    add_process_blocks(view);
    for (size_t i = 0; i < view->listener_count; i++)
        add_listener_blocks(view, &view->listeners[i]);
    for (size_t i = 0; i < view->listener_count; i++)
        add_tls_block(view, &view->listeners[i]);
    for (size_t i = 0; i < view->listener_count; i++)
        add_host_block(view, &view->listeners[i]);
    for (size_t i = 0; i < view->pool_count; i++)
        add_block(view, &limits_metrics, pool_limits_stats(view->pools[i]->pool),
                  (struct metric_labels){.pool = worker_pool_name(&config->pools[i])});
}

/* What listeners have in common is found by sorting: there may be many, and this is done on the
 * loop. Of equal ones the first comes first. */

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)a, right = (uintptr_t)b;
    return (left > right) - (left < right);
}

static int compare_tls(const void *a, const void *b)
{
    const struct held_listener *const *left = a, *const *right = b;
    int result = compare_pointers((*left)->tls, (*right)->tls);
    return result != 0 ? result : compare_pointers(*left, *right);
}

static int compare_host(const void *a, const void *b)
{
    const struct held_listener *const *left = a, *const *right = b;
    int result = compare_pointers((*left)->host, (*right)->host);
    return result != 0 ? result : compare_pointers(*left, *right);
}

/* By what identifies a host where TLS is not shown. */
static int compare_upstream(const void *a, const void *b)
{
    const struct held_listener *const *left = a, *const *right = b;
    if ((*left)->config->pool != (*right)->config->pool)
        return (*left)->config->pool < (*right)->config->pool ? -1 : 1;
    return strcmp((*left)->upstream, (*right)->upstream);
}

static void sort(struct held_listener **list, size_t count,
                 int (*compare)(const void *a, const void *b))
{
    qsort(list, count, sizeof(struct held_listener *), compare);
}

static void find_first_of_tls(struct held_listener **all, size_t count)
{
    sort(all, count, compare_tls);
    for (size_t i = 0; i < count; i++)
        all[i]->is_first_of_tls = all[i]->tls != NULL && (i == 0 || all[i]->tls != all[i - 1]->tls);
}

/* Keeps one of each host in the list. Returns how many. */
static size_t find_first_of_host(struct held_listener **all, size_t count)
{
    size_t n = 0;
    sort(all, count, compare_host);
    for (size_t i = 0; i < count; i++) {
        all[i]->is_first_of_host = n == 0 || all[i]->host != all[n - 1]->host;
        if (all[i]->is_first_of_host)
            all[n++] = all[i];
    }
    return n;
}

/* Hosts that differ by TLS alone. */
static void find_doubles(struct held_listener **hosts, size_t count)
{
    sort(hosts, count, compare_upstream);
    for (size_t i = 1; i < count; i++) {
        if (compare_upstream(&hosts[i - 1], &hosts[i]) == 0)
            hosts[i - 1]->has_double = hosts[i]->has_double = true;
    }
}

static void compare_all(struct worker_view *view)
{
    for (size_t i = 0; i < view->listener_count; i++)
        view->hosts[i] = &view->listeners[i];
    find_first_of_tls(view->hosts, view->listener_count);
    view->host_count = find_first_of_host(view->hosts, view->listener_count);
    find_doubles(view->hosts, view->host_count);
    sort(view->hosts, view->host_count, compare_host);
}

static int compare_to_host(const void *host, const void *entry)
{
    const struct held_listener *const *held = entry;
    return compare_pointers(host, (*held)->host);
}

bool worker_view_has_host(const struct worker_view *view, const struct pool_host *host)
{
    return bsearch(host, view->hosts, view->host_count, sizeof(struct held_listener *),
                   compare_to_host) != NULL;
}

/* 0, or -1 with ENOMEM. */
static int hold(struct held_listener *held, const struct listener_context *context)
{
    held->host = pool_retain(context->pool, &context->config->upstream, context->tls);
    if (held->host == NULL)
        return -1;
    held->config = context->config;
    held->protocol = context->protocol;
    held->counters = listener_counters_ref(context->counters);
    held->tls = context->tls == NULL ? NULL : tls_client_ref(context->tls);
    snprintf(held->upstream, sizeof(held->upstream), "%s", context->upstream);
    return 0;
}

struct worker_view *worker_view_new(struct worker *worker, const struct generation *generation,
                                    struct worker_pool *const *pools,
                                    const struct listeners_change *change)
{
    const struct config *config = generation->config;
    struct worker_view *view = calloc(1, sizeof(*view));
    if (view == NULL)
        return NULL;
    view->worker = worker;
    TAILQ_INSERT_TAIL(&worker->views, view, link);
    view->config = config_ref(generation->config);
    view->listeners = calloc(config->listener_count, sizeof(*view->listeners));
    view->hosts = calloc(config->listener_count, sizeof(struct held_listener *));
    view->pools = calloc(config->pool_count, sizeof(struct worker_pool *));
    view->blocks =
        calloc(PROCESS_BLOCKS + config->pool_count + config->listener_count * BLOCKS_OF_LISTENER,
               sizeof(*view->blocks));
    if (view->listeners == NULL || view->hosts == NULL || view->pools == NULL ||
        view->blocks == NULL)
        goto err;
    for (; view->listener_count < config->listener_count; view->listener_count++) {
        if (hold(&view->listeners[view->listener_count],
                 listeners_change_context(change, view->listener_count)) < 0)
            goto err;
    }
    for (; view->pool_count < config->pool_count; view->pool_count++) {
        view->pools[view->pool_count] = pools[view->pool_count];
        pools[view->pool_count]->uses++;
    }
    view->admin = (struct admin_view){
        .config = config, .blocks = view->blocks, .generation = generation->number};
    compare_all(view);
    add_blocks(view);
    return view;

err:
    worker_view_free(view);
    errno = ENOMEM;
    return NULL;
}

void worker_view_free(struct worker_view *view)
{
    if (view == NULL)
        return;
    TAILQ_REMOVE(&view->worker->views, view, link);
    for (size_t i = 0; i < view->listener_count; i++) {
        pool_unretain(view->listeners[i].host);
        listener_counters_unref(view->listeners[i].counters);
        tls_client_unref(view->listeners[i].tls);
    }
    for (size_t i = 0; i < view->pool_count; i++)
        worker_pool_unuse(view->pools[i]);
    free(view->listeners);
    free(view->hosts);
    free(view->pools);
    free(view->blocks);
    config_unref(view->config);
    free(view);
}

const struct admin_view *worker_view_get(const struct worker_view *view)
{
    return &view->admin;
}
