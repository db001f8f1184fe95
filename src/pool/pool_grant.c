/* SPDX-License-Identifier: ISC */
/* Grants and failures on their way to their owners. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "pool/pool_internal.h"

/* The failure if there is no memory for one. */
static const struct failure out_of_memory = {
    .function = "allocate", .number = ENOMEM, .text = "Cannot allocate memory"};

static void take(struct allocation *allocation)
{
    struct pool *pool = allocation->pool;
    TAILQ_REMOVE(&pool->grants, allocation, posted);
    pool->posted--;
}

static void count_wait(const struct allocation *allocation, struct host_stats *stats)
{
    histogram_add(&stats->wait, loop_now(allocation->pool->loop) - allocation->asked_at);
}

static void deliver_failure(struct allocation *allocation)
{
    struct failure *failure = allocation->failure;
    const struct failure *told = failure != NULL ? failure : &out_of_memory;
    allocation->failure = NULL;
    count_wait(allocation, &allocation->host->core.stats);
    pool_core_delivered(&allocation->request, pool_failed_by(told->function));
    allocation->on_connection(allocation, told);
    free(failure);
}

static void deliver(struct allocation *allocation)
{
    struct core_request *request = &allocation->request;
    take(allocation);
    if (request->conn == NULL) {
        deliver_failure(allocation);
        return;
    }
    pool_core_delivered(request, POOL_FAILED_COUNT);
    if (allocation->from_cache == FROM_IMMEDIATE) /* in the iteration in which it was requested */
        histogram_add(&request->conn->host->stats.wait, allocation->waited);
    else
        count_wait(allocation, &request->conn->host->stats);
    allocation->on_connection(allocation, NULL);
}

/* Only those that were posted when the round began: a user that allocates again from within does
 * not keep events waiting. */
void pool_grant_deliver(struct task *task)
{
    struct pool *pool = container_of(task, struct pool, grant_task);
    for (unsigned round = pool->posted; round > 0; round--) {
        struct allocation *first = TAILQ_FIRST(&pool->grants);
        if (first == NULL)
            break;
        deliver(first);
    }
    if (pool->posted > 0)
        loop_post(pool->loop, &pool->grant_task);
    pool_io_free_hosts(pool); /* some may have been kept only for a failure */
}

void pool_grant_post(struct allocation *allocation)
{
    struct pool *pool = allocation->pool;
    if (allocation->held_up_at != 0)
        pool_report_wait_over(allocation);
    TAILQ_INSERT_TAIL(&pool->grants, allocation, posted);
    pool->posted++;
    loop_post(pool->loop, &pool->grant_task);
}

void pool_grant_fail(struct allocation *allocation, const char *function, int number,
                     const char *format, ...)
{
    struct failure *failure = malloc(sizeof(*failure));
    if (failure != NULL) {
        va_list args;
        va_start(args, format);
        *failure = (struct failure){.function = function, .number = number};
        vsnprintf(failure->text, sizeof(failure->text), format, args);
        va_end(args);
    }
    allocation->failure = failure;
    pool_grant_post(allocation);
}

void pool_grant_fail_as(struct allocation *allocation, const struct failure *failure)
{
    allocation->failure = malloc(sizeof(*failure));
    if (allocation->failure != NULL)
        *allocation->failure = *failure;
    pool_grant_post(allocation);
}

void pool_grant_withdraw(struct allocation *allocation)
{
    take(allocation);
    free(allocation->failure);
    allocation->failure = NULL;
}
