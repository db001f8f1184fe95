/* SPDX-License-Identifier: ISC */
/* What the sessions of one listener share. */
#include <stdlib.h>

#include "session/session_internal.h"

/* How many sessions are drained in one batch. */
#define DRAIN_PIECE 64

static void on_drain(struct task *task)
{
    struct listener_context *context = container_of(task, struct listener_context, drain_task);
    struct session *session;
    for (int i = 0; i < DRAIN_PIECE && (session = context->drain_next) != NULL; i++) {
        context->drain_next = TAILQ_NEXT(session, link);
        if (session->protocol->drain != NULL)
            session->protocol->drain(session);
    }
    if (context->drain_next != NULL)
        loop_queue(context->worker.loop, &context->drain_task);
}

struct listener_counters *listener_counters_new(const struct protocol *protocol)
{
    struct listener_counters *counters = calloc(1, sizeof(*counters) + protocol->counters_size);
    if (counters != NULL)
        counters->references = 1;
    return counters;
}

struct listener_counters *listener_counters_ref(struct listener_counters *counters)
{
    counters->references++;
    return counters;
}

void listener_counters_unref(struct listener_counters *counters)
{
    if (counters != NULL && --counters->references == 0)
        free(counters);
}

int listener_context_init(struct listener_context *context)
{
    const struct endpoint *upstream = &context->config->upstream;
    context->counters = context->counters == NULL ? listener_counters_new(context->protocol)
                                                  : listener_counters_ref(context->counters);
    if (context->counters == NULL)
        return -1;
    struct pool_host *host = pool_retain(context->pool, upstream, context->tls);
    if (host == NULL)
        goto err_counters;
    if (context->protocol->listener_init != NULL && context->protocol->listener_init(context) < 0)
        goto err_host;
    context->pool_host = host;
    context->tls = pool_get_tls(host);
    context->unacked_timeout = pool_unacked_timeout(context->pool);
    endpoint_format(upstream, context->upstream);
    repeats_init(&context->repeats, context->worker.loop);
    TAILQ_INIT(&context->sessions);
    TAILQ_INIT(&context->free_sessions);
    context->drain_task.run = on_drain;
    session_wait_init(context);
    return 0;

err_host:
    pool_unretain(host);
err_counters:
    listener_counters_unref(context->counters);
    context->counters = NULL;
    return -1;
}

void listener_context_clear(struct listener_context *context)
{
    struct session *session;
    if (context->pool_host == NULL) /* not initialized */
        return;
    while ((session = TAILQ_FIRST(&context->free_sessions)) != NULL) {
        TAILQ_REMOVE(&context->free_sessions, session, link);
        free(session);
    }
    session_wait_clear(context);
    loop_unpost(context->worker.loop, &context->drain_task);
    repeats_clear(&context->repeats);
    if (context->protocol->listener_free != NULL)
        context->protocol->listener_free(context);
    listener_counters_unref(context->counters);
    pool_unretain(context->pool_host);
    context->counters = NULL;
    context->pool_host = NULL;
}

static const char *direction_name(unsigned direction)
{
    return direction == 0 ? "up" : "down";
}

static const char *end_name(unsigned end)
{
    return session_end_name((enum session_end)end);
}

static const struct metric metrics[] = {
    {.name = "accepted",
     .help = "Clients accepted",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct listener_stats, accepted),
     .count = 1},
    {.name = "sessions",
     .help = "Clients connected",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct listener_stats, sessions),
     .count = 1},
    {.name = "waiting",
     .help = "Clients that wait for the end of the listener's pause",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct listener_stats, waiting),
     .count = 1},
    {.name = "paused",
     .help = "Whether the listener is paused by the operator",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct listener_stats, paused),
     .count = 1},
    {.name = "draining",
     .help = "Whether its sessions are to end: it is drained by the operator, or at a stop",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct listener_stats, draining),
     .count = 1},
    {.name = "bytes",
     .help = "Bytes of exchanges that have ended; up: to the upstream",
     .type = METRIC_COUNTER,
     .unit = METRIC_BYTES,
     .offset = offsetof(struct listener_stats, bytes),
     .label = "direction",
     .log = "bytes_",
     .count = 2,
     .value = direction_name},
    {.name = "ends",
     .help = "Exchanges, or for tcp and tls sessions, by how they ended",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct listener_stats, ends),
     .label = "end",
     .count = SESSION_END_COUNT,
     .value = end_name,
     .log = ""},
    {.name = "exchange",
     .help = "How long exchanges, or for tcp and tls sessions, took",
     .type = METRIC_HISTOGRAM,
     .unit = METRIC_SECONDS,
     .offset = offsetof(struct listener_stats, duration),
     .count = 1},
    {.name = "local_replies",
     .help = "Replies of kaproxy's own, in the upstream's place: to requests, or to commands",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct listener_stats, local_replies),
     .count = 1},
};

const struct metric_set listener_metrics = {
    .prefix = "listener_", .metrics = metrics, .count = ARRAY_LEN(metrics)};

void listener_context_retire(struct listener_context *context)
{
    context->retiring = true;
}

void listener_context_drain(struct listener_context *context)
{
    context->draining = true;
    gauge_set(&context->counters->stats.draining, 1);
    context->drain_next = TAILQ_FIRST(&context->sessions);
    loop_queue(context->worker.loop, &context->drain_task);
}

void listener_context_undrain(struct listener_context *context)
{
    context->draining = false;
    gauge_set(&context->counters->stats.draining, 0);
    context->drain_next = NULL;
    loop_unpost(context->worker.loop, &context->drain_task);
}

void listener_context_abort(struct listener_context *context)
{
    struct session *session;
    while ((session = TAILQ_FIRST(&context->sessions)) != NULL)
        session_finish(session, SESSION_SHUTDOWN);
}
