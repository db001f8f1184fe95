/* SPDX-License-Identifier: ISC */
/* A worker in a handover: the running one yields, and then leaves; its successor waits until it may
 * serve. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/worker_internal.h"

/* What is left of shutdown_timeout when the remaining sessions are told to end. */
#define LAST_TIME USEC_PER_SEC

/* Shares the pools that exist now: they stay as long as the sharing does, whatever a reload does
 * with them. 0, or -1 with errno, and the channel is still the caller's. */
static int share_places(struct worker *worker, int fd, bool is_old)
{
    size_t count = worker->config->pool_count;
    worker->places_pools = calloc(count, sizeof(struct worker_pool *));
    if (worker->places_pools == NULL)
        return -1;
    for (; worker->places_pool_count < count; worker->places_pool_count++) {
        struct worker_pool *pool = worker->pools[worker->places_pool_count];
        worker->places_pools[worker->places_pool_count] = pool;
        pool->uses++;
    }
    worker->places =
        places_new(worker->loop, fd, worker->pool_list, count, is_old, &worker->places_handler);
    if (worker->places != NULL)
        return 0;
    int error = errno;
    worker_end_places(worker);
    errno = error;
    return -1;
}

void worker_end_places(struct worker *worker)
{
    places_free(worker->places);
    worker->places = NULL;
    worker_unuse_pools(worker->places_pools, worker->places_pool_count);
    worker->places_pools = NULL;
    worker->places_pool_count = 0;
}

/* The successor. */

/* Once told to stop it has no sockets any more. */
static void serve(struct worker *worker)
{
    if (!worker->waits || worker->listeners.stopped)
        return;
    worker->waits = false;
    if (listeners_start(&worker->listeners) < 0)
        listeners_resume(&worker->listeners); /* which logs the failure, and retries */
    listeners_take_files(&worker->listeners);
    worker_set_preconnected(worker);
    log_ready();
    log_notice("ready, in place of the previous process");
    mailbox_post(worker->control, worker->serving);
}

static void on_all(struct places_handler *handler)
{
    serve(container_of(handler, struct worker, places_handler));
}

/* Each process is alone now. */
static void on_ended(struct places_handler *handler)
{
    struct worker *worker = container_of(handler, struct worker, places_handler);
    worker_end_places(worker);
    serve(worker);
}

int worker_wait_for_places(struct worker *worker, int places)
{
    if (share_places(worker, places, false) == 0)
        return 0;
    int error = errno;
    close(places);
    errno = error;
    return -1;
}

/* The running process. */

static void on_expect_copies(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, expect_copies);
    loop_expect_copies(worker->loop, true);
    mailbox_post(worker->control, worker->copies_expected);
}

static void on_expect_none(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, expect_none);
    loop_expect_copies(worker->loop, false);
}

/* Without memory nothing is shared: the channel's end lets the successor serve nevertheless. */
static void begin_sharing(struct worker *worker)
{
    worker_end_places(worker); /* those of our own predecessor, which has ended */
    if (share_places(worker, worker->yield_places, true) == 0 && places_begin(worker->places) == 0)
        return;
    log_error("handover: max_per_host is not shared with the successor: %s", strerror(errno));
    if (worker->places == NULL)
        close(worker->yield_places);
    worker_end_places(worker);
}

static void on_yield(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, yield);
    if (worker->listeners.stopped || listeners_yield(&worker->listeners) < 0) {
        log_error("handover: cannot let the successor serve: %s",
                  worker->listeners.stopped ? "kaproxy is stopping" : strerror(errno));
        close(worker->yield_places);
        return;
    }
    begin_sharing(worker);
}

static void on_resume(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, resume);
    worker_end_places(worker);
    if (worker->listeners.yielded && !worker->listeners.stopped)
        listeners_resume(&worker->listeners);
}

/* In the successor nothing is paused, and it is the one that an operator reaches. */
static void forget_services(struct worker *worker)
{
    struct worker_pool *pool;
    TAILQ_FOREACH (pool, &worker->all_pools, link)
        pool_set_service(pool->pool, NULL, SERVICE_OPEN);
}

/* Sessions are not disturbed at first: those of HTTP inform their clients with the next
 * response. */
static void on_leave(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, leave);
    usec_t limit = worker->config->shutdown_timeout;
    if (worker->listeners.stopped)
        return;
    log_notice("handover: another process serves; %u sessions may finish here within %" PRId64 " s",
               worker->listeners.clients, limit / USEC_PER_SEC);
    worker->leaves = true;
    listeners_leave(&worker->listeners);
    forget_services(worker);
    worker_update_life(worker);
    worker_drain_pools(worker);
    usec_t at = loop_now(worker->loop) + (limit > LAST_TIME ? limit - LAST_TIME : 0);
    if (loop_set_timer(worker->loop, &worker->deadline, at) < 0)
        worker_end_now(worker);
}

bool worker_handover_deadline(struct worker *worker)
{
    if (!worker->leaves || worker->leaves_last)
        return false;
    worker->leaves_last = true;
    listeners_drain(&worker->listeners);
    usec_t limit = worker->config->shutdown_timeout;
    usec_t at = loop_now(worker->loop) + (limit > LAST_TIME ? LAST_TIME : limit);
    return loop_set_timer(worker->loop, &worker->deadline, at) == 0;
}

void worker_handover_init(struct worker *worker)
{
    worker->places_handler.all = on_all;
    worker->places_handler.ended = on_ended;
    worker->expect_copies.run = on_expect_copies;
    worker->expect_none.run = on_expect_none;
    worker->yield.run = on_yield;
    worker->resume.run = on_resume;
    worker->leave.run = on_leave;
}
