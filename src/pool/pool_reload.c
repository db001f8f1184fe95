/* SPDX-License-Identifier: ISC */
/* What another configuration changes in a pool, and what another process shares with it. */
#include "pool/pool_internal.h"

/* A host with preconnected connections needs a fresh name. */
static void keep_fresh(struct pool *pool)
{
    struct core_host *host;
    TAILQ_FOREACH (host, &pool->core.hosts, hosts)
        pool_names_keep_fresh(pool_host_of(host));
}

void pool_set_limits(struct pool *pool, const struct pool_limits *limits)
{
    pool_core_set_limits(&pool->core, limits, loop_now(pool->loop));
    limits_stats_set(&pool->limits_stats, &pool->core.limits);
    keep_fresh(pool);
    pool_io_run(pool);
}

void pool_set_wanted(struct pool_host *host, bool wanted)
{
    pool_core_set_wanted(&host->core, wanted);
    pool_names_keep_fresh(host);
    pool_io_run(host->pool);
}

static void on_gone(struct task *task)
{
    struct pool *pool = container_of(task, struct pool, gone_task);
    void (*gone)(struct pool *, void *) = pool->gone;
    if (gone == NULL || pool->core.host_count > 0)
        return;
    pool->gone = NULL;
    gone(pool, pool->gone_arg);
}

void pool_reload_init(struct pool *pool)
{
    pool->gone_task.run = on_gone;
}

void pool_reload_note_gone(struct pool *pool)
{
    if (pool->gone != NULL && pool->core.host_count == 0)
        loop_post(pool->loop, &pool->gone_task);
}

void pool_retire(struct pool *pool, void (*gone)(struct pool *, void *), void *arg)
{
    pool->gone = gone;
    pool->gone_arg = arg;
    pool_core_set_retired(&pool->core, true);
    keep_fresh(pool);
    pool_io_run(pool);
    pool_reload_note_gone(pool);
}

void pool_revive(struct pool *pool)
{
    pool->gone = NULL;
    loop_unpost(pool->loop, &pool->gone_task);
    pool_core_set_retired(&pool->core, false);
    pool_io_run(pool);
}

void pool_set_places(struct pool_host *host, unsigned places)
{
    pool_core_set_places(&host->core, places);
    pool_io_run(host->pool);
}

void pool_set_held_places(struct pool_host *host, unsigned places)
{
    pool_core_set_held_places(&host->core, places);
    pool_io_run(host->pool);
}

void pool_set_new_places(struct pool *pool, unsigned places)
{
    pool_core_set_new_places(&pool->core, places);
}

void pool_view_places(const struct pool_host *host, struct pool_places *view)
{
    *view = pool_core_view_places(&host->core);
}

void pool_on_change(struct pool *pool, void (*changed)(struct pool *, void *), void *arg)
{
    pool->changed = changed;
    pool->changed_arg = arg;
}
