/* SPDX-License-Identifier: ISC */
/* One loop with its resolver, pools and listeners: created, run in a thread, drained, freed. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/thread.h"
#include "daemon/worker_internal.h"

/* Of the thread. What sessions need is in the scratch memory; OpenSSL needs the most. */
#define STACK_SIZE (1024 * 1024)

static struct requests requests_of(struct worker *worker)
{
    return (struct requests){.listeners = &worker->listeners,
                             .pools = worker->pool_list,
                             .pool_count = worker->config->pool_count,
                             .generation = worker->generation};
}

/* STOPPING is final. */
void worker_update_life(struct worker *worker)
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
    worker_update_life(worker);
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

static void answer_install(struct worker *worker, bool ok, const char *error)
{
    struct worker_install *install = worker->install;
    if (worker->install_request.done)
        return;
    worker->install_request.done = true;
    install->ok = ok;
    install->error = error;
    mailbox_post(worker->control, &worker->install_request.answered);
}

/* Addresses that are no longer configured can be bound again as soon as it is answered. */
static void on_install(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, install_request.asked);
    struct worker_install *install = worker->install;
    if (worker->listeners.stopped || worker->listeners.yielded) {
        answer_install(worker, false,
                       worker->listeners.stopped ? "kaproxy is stopping"
                                                 : "a successor is about to serve");
        return;
    }
    install->view = worker_take_up(worker, install->generation);
    worker_update_life(worker);
    if (install->view == NULL)
        answer_install(worker, false, error_text(errno));
    else if (listeners_have_left(&worker->listeners))
        answer_install(worker, true, NULL);
}

static void on_all_left(struct listeners *listeners)
{
    struct worker *worker = container_of(listeners, struct worker, listeners);
    if (worker->install != NULL && worker->install->view != NULL)
        answer_install(worker, true, NULL);
}

static void on_release(struct message *message)
{
    worker_view_free(container_of(message, struct worker_view, released));
}

/* On the control thread. */

static void on_install_answered(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, install_request.answered);
    struct worker_install *install = worker->install;
    worker->install = NULL;
    install->done(install);
}

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

/* There is no thread to do it. */
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

/* It has taken effect, or never will. */
static void answer_late_install(struct worker *worker)
{
    answer_install(worker, worker->install->view != NULL, "kaproxy is stopping");
}

void worker_end_now(struct worker *worker)
{
    listeners_abort(&worker->listeners);
    loop_stop(worker->loop);
}

static void on_deadline(struct timer *timer)
{
    struct worker *worker = container_of(timer, struct worker, deadline);
    if (worker_handover_deadline(worker))
        return;
    log_warning("shutdown_timeout has expired; %u sessions are reset", worker->listeners.clients);
    worker_end_now(worker);
}

static void on_drained(struct listeners *listeners)
{
    struct worker *worker = container_of(listeners, struct worker, listeners);
    loop_stop(worker->loop);
}

void worker_drain_pools(struct worker *worker)
{
    struct worker_pool *pool;
    TAILQ_FOREACH (pool, &worker->all_pools, link)
        pool_drain(pool->pool);
}

static void on_soft_stop(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, soft.message);
    usec_t limit = worker->config->shutdown_timeout;
    if (worker->leaves) { /* its time is limited already */
        log_notice("%s: %u sessions end as soon as they can", worker->soft.signal_name,
                   worker->listeners.clients);
        listeners_drain(&worker->listeners);
        return;
    }
    log_notice("%s: stopping; %u sessions may finish within %" PRId64 " s",
               worker->soft.signal_name, worker->listeners.clients, limit / USEC_PER_SEC);
    if (worker->waits) /* the predecessor continues */
        listeners_leave(&worker->listeners);
    else
        listeners_stop(&worker->listeners);
    worker_update_life(worker);
    worker_drain_pools(worker);
    if (loop_set_timer(worker->loop, &worker->deadline, loop_now(worker->loop) + limit) < 0)
        worker_end_now(worker);
}

static void on_hard_stop(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, hard.message);
    log_notice("%s again: ending at once; %u sessions are reset", worker->hard.signal_name,
               worker->listeners.clients);
    worker_end_now(worker);
}

static usec_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

/* The delay with which the loop receives a message: set by answered pings. */
static void on_ping(struct message *message)
{
    struct worker *worker = container_of(message, struct worker, ping);
    usec_t late = clock_now() - atomic_load(&worker->pinged_at);
    gauge_set(&worker->loop_stats.lag, late > 0 ? (uint64_t)late : 0);
    atomic_store(&worker->pinged_at, 0);
}

static void init(struct worker *worker)
{
    TAILQ_INIT(&worker->all_pools);
    TAILQ_INIT(&worker->views);
    worker->deadline.fire = on_deadline;
    worker->soft.message.run = on_soft_stop;
    worker->hard.message.run = on_hard_stop;
    worker->ping.run = on_ping;
    worker->command_request.asked.run = on_command;
    worker->command_request.answered.run = on_command_answered;
    worker->snapshot_request.asked.run = on_snapshot;
    worker->snapshot_request.answered.run = on_snapshot_answered;
    worker->install_request.asked.run = on_install;
    worker->install_request.answered.run = on_install_answered;
    worker_handover_init(worker);
    sem_init(&worker->go, 0, 0);
}

static void init_listeners(struct worker *worker)
{
    worker->listeners.worker.loop = worker->loop;
    worker->listeners.worker.scratch = (struct scratch){worker->scratch, sizeof(worker->scratch)};
    worker->listeners.worker.compose = (struct scratch){worker->compose, sizeof(worker->compose)};
    worker->listeners.worker.pipes = &worker->pipes;
    worker->listeners.worker.digest = worker->digest;
    worker->listeners.drained = on_drained;
    worker->listeners.all_left = on_all_left;
    listeners_init(&worker->listeners);
}

struct worker *worker_new(const struct generation *generation, int places)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        goto err;
    init(worker);
    pipes_init(&worker->pipes, generation->max_pipes);
    worker->loop = loop_new();
    if (worker->loop == NULL)
        goto err;
    worker->digest = keyed_digest_new();
    init_listeners(worker);
    if (worker->digest == NULL)
        goto err_logged;
    worker->waits = places >= 0;
    worker->view = worker_take_up(worker, generation);
    if (worker->view != NULL && (places < 0 || worker_wait_for_places(worker, places) == 0))
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
    worker_view_free(worker->view);
    worker_end_places(worker);
    if (worker->loop != NULL) {
        listeners_clear(&worker->listeners);
        loop_clear_timer(worker->loop, &worker->deadline);
        certificates_stop(&worker->certificates);
    }
    worker_free_pools(worker);
    pipes_clear(&worker->pipes);
    keyed_digest_free(worker->digest);
    resolver_free(worker->resolver);
    config_unref(worker->resolver_config);
    loop_free(worker->loop);
    sem_destroy(&worker->go);
    config_unref(worker->config);
    free(worker);
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

/* The thread waits until everything is reported ready, so that its messages are logged after
 * that. */
int worker_start(struct worker *worker, const struct worker_messages *messages)
{
    worker->control = messages->mailbox;
    worker->ended = messages->ended;
    worker->serving = messages->serving;
    if (!worker->waits && listeners_start(&worker->listeners) < 0) {
        log_error("cannot start: %s", strerror(errno));
        return -1;
    }
    if (thread_start(&worker->thread, "kaproxy-worker", STACK_SIZE, run, worker) < 0) {
        log_error("cannot start the thread that carries clients: %s", strerror(errno));
        return -1;
    }
    worker->running = true;
    if (!worker->waits) {
        log_ready();
        log_notice("ready");
        mailbox_post(worker->control, worker->serving);
    }
    sem_post(&worker->go);
    return 0;
}

/* Views being returned. */
static void take_views_back(struct worker *worker)
{
    struct worker_view *view, *next;
    for (view = TAILQ_FIRST(&worker->views); view != NULL; view = next) {
        next = TAILQ_NEXT(view, link);
        if (!view->is_released)
            continue;
        mailbox_take_back(loop_mailbox(worker->loop), &view->released);
        worker_view_free(view);
    }
}

/* What the thread has not got to will not be done. Requesters may ask again from inside the
 * answer. */
void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
    worker->running = false;
    take_views_back(worker);
    if (worker->command != NULL && !worker->command_request.done)
        answer_late_command(worker);
    if (worker->snapshot != NULL && !worker->snapshot_request.done)
        answer_late_snapshot(worker);
    if (worker->install != NULL)
        answer_late_install(worker);
    while (worker->command != NULL || worker->snapshot != NULL || worker->install != NULL)
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

struct worker_view *worker_first_view(struct worker *worker)
{
    struct worker_view *view = worker->view;
    worker->view = NULL;
    return view;
}

void worker_install(struct worker *worker, struct worker_install *install)
{
    assert(worker->install == NULL);
    worker->install = install;
    worker->install_request.done = false;
    install->view = NULL;
    if (worker->running)
        mailbox_post(loop_mailbox(worker->loop), &worker->install_request.asked);
    else
        answer_late_install(worker);
}

void worker_release_view(struct worker *worker, struct worker_view *view)
{
    if (!worker->running) {
        worker_view_free(view);
        return;
    }
    view->released.run = on_release;
    view->is_released = true;
    mailbox_post(loop_mailbox(worker->loop), &view->released);
}

void worker_expect_copies(struct worker *worker, struct message *done)
{
    worker->copies_expected = done;
    mailbox_post(loop_mailbox(worker->loop), &worker->expect_copies);
}

void worker_expect_none(struct worker *worker)
{
    mailbox_post(loop_mailbox(worker->loop), &worker->expect_none);
}

void worker_yield(struct worker *worker, int places)
{
    worker->yield_places = places;
    mailbox_post(loop_mailbox(worker->loop), &worker->yield);
}

void worker_resume(struct worker *worker)
{
    mailbox_post(loop_mailbox(worker->loop), &worker->resume);
}

void worker_leave(struct worker *worker)
{
    mailbox_post(loop_mailbox(worker->loop), &worker->leave);
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
