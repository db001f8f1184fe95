/* SPDX-License-Identifier: ISC */
/* A batch from its first command: gathered, given a connection, ended. */
#include "session/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Batches that a listener keeps for reuse. */
#define FREE_LIST_MAX FREE_LIST(16)

static struct client *client_of(struct session *session)
{
    return container_of(session, struct client, session);
}

static struct batch_counters *listener_stats(struct client *client)
{
    return (struct batch_counters *)client->session.context->counters->of_protocol;
}

int batch_listener_init(struct listener_context *context, size_t size)
{
    context->of_protocol = calloc(1, size);
    return context->of_protocol == NULL ? -1 : 0;
}

void batch_listener_free(struct listener_context *context)
{
    struct batch_listener *listener = context->of_protocol;
    struct batch *batch;
    while ((batch = listener->free_batches) != NULL) {
        listener->free_batches = batch->next_free;
        free(batch);
    }
    free(listener);
    context->of_protocol = NULL;
}

/* 0, or -1 with ENOMEM. */
static int create(struct client *client)
{
    struct batch_listener *listener = client->session.context->of_protocol;
    const struct batch_protocol *protocol = batch_protocol_of(client);
    struct batch *batch = listener->free_batches;
    if (batch != NULL) {
        listener->free_batches = batch->next_free;
        listener->free_batch_count--;
    } else if ((batch = malloc(protocol->batch_size)) == NULL) {
        return -1;
    }
    memset(batch, 0, protocol->batch_size);
    exchange_begin(client, &batch->base);
    batch->base.replayable = true;
    protocol->begin(client);
    return 0;
}

static void destroy(struct client *client)
{
    struct batch_listener *listener = client->session.context->of_protocol;
    struct batch *batch = batch_of(client);
    client->exchange = NULL;
    if (batch_protocol_of(client)->clear != NULL)
        batch_protocol_of(client)->clear(batch);
    exchange_clear(&batch->base);
    if (batch->base.secret)
        buffer_wipe(&batch->held);
    buffer_clear(&batch->held);
    buffer_clear(&batch->expected);
    if (listener->free_batch_count == FREE_LIST_MAX) {
        free(batch);
        return;
    }
    batch->next_free = listener->free_batches;
    listener->free_batches = batch;
    listener->free_batch_count++;
}

void batch_clear_client(struct client *client)
{
    if (client->exchange != NULL)
        destroy(client);
    exchange_clear_client(client);
}

bool batch_may_grow(const struct client *client)
{
    const struct batch *batch = batch_of(client);
    if (batch->commands >= BATCH_COMMANDS_MAX || batch->bytes >= BATCH_BYTES_MAX ||
        buffer_length(&batch->expected) >= BATCH_EXPECTED_MAX)
        return false;
    if (batch->stage != BATCH_OPEN || !pool_has_waiters(&client->session.allocation))
        return true;
    return loop_now(client->session.context->worker.loop) - batch->opened_at < BATCH_TIME_MAX;
}

int batch_add_ours(struct client *client, const void *data, size_t length)
{
    struct batch *batch = batch_of(client);
    struct exchange *exchange = &batch->base;
    bool sent = batch->stage == BATCH_OPEN;
    /* In `ahead`, all of which waits if another connection has to be prepared first (F3). */
    if (length > 0 && buffer_append(&exchange->ahead, data, length) < 0)
        return -1;
    if (sent && (batch->unsafe || exchange_up_length(exchange) > EXCHANGE_AHEAD_MAX))
        exchange->replayable = false;
    return 0;
}

int batch_add_bytes(struct client *client, const void *data, size_t length, bool safe)
{
    struct batch *batch = batch_of(client);
    batch->unsafe = batch->unsafe || !safe;
    if (batch_add_ours(client, data, length) < 0)
        return -1;
    batch->commands++;
    batch->bytes += length;
    batch_client_of(client)->stats.commands++;
    counter_add(&listener_stats(client)->commands, 1);
    return 0;
}

int batch_add(struct client *client, size_t length, bool safe)
{
    if (batch_add_bytes(client, buffer_data(&client->in), length, safe) < 0)
        return -1;
    buffer_consume(&client->in, length);
    return 0;
}

bool batch_needs_hold(struct client *client)
{
    struct batch *batch = batch_of(client);
    batch->needs_hold = true;
    return client->affinity || batch->stage == BATCH_GATHERING ||
           pool_reserve_hold(&client->session.allocation);
}

/* Nothing is to be sent: only our own replies are expected. */
static enum step answer(struct client *client)
{
    enum step step = batch_protocol_of(client)->take_replies(client);
    if (step == STEP_GONE)
        return STEP_GONE;
    session_set_state(&client->session, SESSION_DRAINING);
    return STEP_AGAIN;
}

static enum step dispatch(struct client *client)
{
    struct session *session = &client->session;
    struct batch *batch = batch_of(client);
    exchange_set_up_stage(&batch->base, UP_QUEUED);
    session->limit_at = 0;
    if (exchange_is_leased(client)) { /* affinity; peek first: what arrived on it in the meantime */
        session->allocation.stream->readable = true;
        session_set_state(session, SESSION_RELAYING);
        return batch_open(client);
    }
    if (batch->needs_hold && !pool_can_hold(session->context->pool_host))
        return batch_fail_no_tunnel(client);
    session_request_connection(session,
                               batch->fresh || session->context->config->reuse == REUSE_NEVER);
    return exchange_check_queued(client) == STEP_GONE ? STEP_GONE : STEP_BLOCKED;
}

/* Between two batches of a client with affinity nothing arrives on its connection but its end, and
 * the state it was kept for ends with it. */
static bool has_lost_affinity(const struct client *client)
{
    const struct stream *upstream = client->session.allocation.stream;
    return client->exchange == NULL && exchange_is_leased(client) && upstream->readable &&
           stream_peek(client->session.allocation.stream) != PEEK_QUIET;
}

/* The first bytes of a batch. */
static enum step begin(struct client *client)
{
    if (buffer_length(&client->in) == 0) {
        if (client->session.context->draining && client->served && !client->affinity)
            return exchange_end_client(client);
        enum step step = batch_fill(client);
        if (step != STEP_AGAIN)
            return step;
    }
    return create(client) < 0 ? exchange_finish(client, SESSION_ERROR) : STEP_AGAIN;
}

/* The command that is to be dropped: what follows it is a batch of its own. */
static enum step sink(struct client *client)
{
    enum step step = batch_stream(client);
    bool over = step == STEP_AGAIN && client->session.state == SESSION_READING &&
                !batch_of(client)->streaming;
    if (over)
        destroy(client);
    return step;
}

static enum step read_step(struct client *client)
{
    if (has_lost_affinity(client)) {
        pool_discard(&client->session.allocation, DISCARD_UPSTREAM_CLOSED, true);
        return exchange_end_client(client);
    }
    enum step step = client->exchange == NULL ? begin(client) : STEP_AGAIN;
    if (step != STEP_AGAIN || client->session.state != SESSION_READING)
        return step;
    struct batch *batch = batch_of(client);
    if (batch->sinking)
        return sink(client);
    if (batch_gather(client) == STEP_GONE)
        return STEP_GONE;
    if (batch->commands > 0)
        return dispatch(client);
    if (buffer_length(&batch->expected) > 0)
        return answer(client);
    if (buffer_length(&client->in) == 0) /* there was nothing in it */
        destroy(client);
    return batch_fill(client);
}

static enum step prepare(struct client *client)
{
    struct session *session = &client->session;
    struct batch *batch = batch_of(client);
    enum batch_prepare result = batch_protocol_of(client)->prepare(client);
    if (buffer_length(&batch->base.up) > 0) {
        batch_client_of(client)->stats.prepared++;
        counter_add(&listener_stats(client)->prepared, 1);
    }
    switch (result) {
    case BATCH_READY:
        return batch_open(client);
    case BATCH_AWAIT:
        batch->stage = BATCH_PREPARING;
        batch->held = batch->base.ahead;
        batch->base.ahead = (struct buffer){0};
        return STEP_AGAIN;
    case BATCH_NEW_CONN:
        /* It was obtained because there was no room for a new one: it is closed to make room,
         * unless a waiter may be able to use it. */
        if (pool_has_waiters(&session->allocation))
            pool_release(&session->allocation, RELEASE_PEEK);
        else
            pool_discard(&session->allocation, DISCARD_EVICTED, false);
        session_request_connection(session, true);
        return STEP_BLOCKED;
    case BATCH_CANNOT:
        break;
    }
    return exchange_finish(client, SESSION_ERROR);
}

static void count_lease(struct client *client)
{
    enum from_cache from_cache = client->session.allocation.from_cache;
    struct batch_stats *stats = &batch_client_of(client)->stats;
    stats->leases++;
    stats->from_cache[from_cache]++;
    struct batch_counters *of_listener = listener_stats(client);
    counter_add(&of_listener->leases, 1);
    counter_add(&of_listener->from_cache[from_cache], 1);
}

void batch_on_connection(struct session *session, const struct failure *failure)
{
    struct client *client = client_of(session);
    enum step step;
    if (failure != NULL) {
        step = batch_fail_connection(client, failure);
    } else if ((step = exchange_check_granted(client)) != STEP_GONE) {
        count_lease(client);
        if (batch_of(client)->needs_hold && !pool_reserve_hold(&session->allocation))
            step = batch_fail_no_tunnel(client);
        else
            step = prepare(client);
    }
    if (step != STEP_GONE && step != STEP_DONE)
        exchange_run(session);
}

void batch_start(struct batch_client *client, const struct batch_protocol *protocol)
{
    client->client.ops = &batch_exchange_protocol;
    client->client.read_at = client->client.session.access.started;
    client->protocol = protocol;
    session_open_access(&client->client.session);
    session_wake(&client->client.session);
}

static unsigned traits(const struct client *client)
{
    const struct batch *batch = batch_of(client);
    return CLIENT_MAY_GO_ON | (batch != NULL && batch->streaming ? CLIENT_IS_SENDING : 0);
}

/* Every command sent may be repeated, or nothing of the client's was sent (F4). */
static bool is_idempotent(const struct exchange *exchange)
{
    const struct batch *batch = container_of_const(exchange, struct batch, base);
    return batch->stage != BATCH_OPEN || !batch->unsafe;
}

/* What was prepared has to be prepared on another connection. */
static void put_back(struct batch *batch)
{
    struct exchange *exchange = &batch->base;
    batch_clear_ours(batch);
    if (batch->stage == BATCH_PREPARING) {
        exchange->ahead = batch->held;
        batch->held = (struct buffer){0};
    }
    batch->stage = BATCH_GATHERING;
    buffer_clear(&exchange->response_in);
    exchange->replayable = true;
}

static void sent_again(struct client *client)
{
    batch_client_of(client)->stats.retried++;
    counter_add(&listener_stats(client)->retried, 1);
    put_back(batch_of(client));
}

enum step batch_start_over(struct client *client, enum pool_discard reason)
{
    struct exchange *exchange = client->exchange;
    pool_discard(&client->session.allocation, reason, true);
    put_back(batch_of(client));
    exchange->up_sent = 0;
    exchange->sent_at = 0;
    exchange_set_up_stage(exchange, UP_QUEUED);
    session_request_connection(&client->session, true);
    return STEP_BLOCKED;
}

static void ended(struct client *client)
{
    struct batch *batch = batch_of(client);
    if (client->last)
        session_log(&client->session, client->end);
    if (batch->streaming && !client->last) {
        /* The rest of a command that was answered with an error: it arrives, and is dropped. */
        exchange_clear(&batch->base);
        batch->base.unfit = POOL_DISCARD_COUNT;
        batch->base.up_stage = UP_NONE;
        batch->base.down_stage = DOWN_NONE;
        batch->sinking = true;
        return;
    }
    destroy(client);
}

static void idle(struct client *client)
{
    const struct listener_context *context = client->session.context;
    usec_t timeout = context->config->affinity_timeout;
    bool limited = exchange_is_leased(client) && timeout > 0;
    client->affinity_until = limited ? loop_now(context->worker.loop) + timeout : 0;
    exchange_limit_reading(client, client->affinity_until);
}

/* A blocking command may wait as long as it asks for. */
static usec_t quiet_max(const struct client *client)
{
    const struct batch *batch = batch_of(client);
    const struct config_listener *config = client->session.context->config;
    bool relaying = client->session.state == SESSION_RELAYING && !exchange_has_down(client);
    if (relaying && batch->holds && batch->stage == BATCH_OPEN)
        return 0;
    return relaying && !batch->streaming ? config->response_timeout : config->idle_timeout;
}

/* A client that leaves, in whatever way, only matters while a blocking command waits (F2). */
static bool ends_request(const struct client *client, bool waits)
{
    const struct batch *batch = batch_of(client);
    (void)waits;
    return batch != NULL && batch->holds;
}

void batch_on_drain(struct session *session)
{
    if (!client_of(session)->affinity) /* otherwise what it has begun may complete */
        exchange_on_drain(session);
}

struct conn_info *batch_conn_info(struct session *session)
{
    return &batch_client_of(client_of(session))->conn;
}

void batch_log_fields(struct session *session, struct log_line *line)
{
    const struct batch_stats *stats = &batch_client_of(client_of(session))->stats;
    LOG_FIELD_NUMBER(line, "commands", stats->commands);
    LOG_FIELD_NUMBER(line, "leases", stats->leases);
    LOG_FIELD_NUMBER(line, "immediate", stats->from_cache[FROM_IMMEDIATE]);
    LOG_FIELD_NUMBER(line, "deferred", stats->from_cache[FROM_DEFERRED]);
    LOG_FIELD_NUMBER(line, "none", stats->from_cache[FROM_NONE]);
    LOG_FIELD_NUMBER(line, "prepared", stats->prepared);
    if (stats->retried > 0)
        LOG_FIELD_NUMBER(line, "retried", stats->retried);
}

static const char *from_cache_name(unsigned from_cache)
{
    return pool_from_cache_name((enum from_cache)from_cache);
}

static const struct metric metrics[] = {
    {.name = "commands",
     .help = "Commands of clients that were sent, or answered with an error",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct batch_counters, commands),
     .count = 1},
    {.name = "leases",
     .help = "Connections leased for batches of commands",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct batch_counters, leases),
     .count = 1},
    {.name = "batches",
     .help = "The same by where the connection came from",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct batch_counters, from_cache),
     .label = "from_cache",
     .count = FROM_DEFERRED + 1,
     .value = from_cache_name,
     .log = ""},
    {.name = "prepared",
     .help = "Connections prepared for a client with commands of our own",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct batch_counters, prepared),
     .count = 1},
    {.name = "batch_retries",
     .log = "retries",
     .help = "Batches retried on another connection",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct batch_counters, retried),
     .count = 1},
};

const struct metric_set batch_metrics = {
    .prefix = "listener_", .metrics = metrics, .count = ARRAY_LEN(metrics)};

const struct exchange_protocol batch_exchange_protocol = {
    .read = read_step,
    .relay = batch_relay,
    .quiet_max = quiet_max,
    .time_is_over = batch_time_is_over,
    .unacked = batch_unacked,
    .ends_request = ends_request,
    .traits = traits,
    .is_idempotent = is_idempotent,
    .sent_again = sent_again,
    .upstream_failed = batch_upstream_failed,
    .ended = ended,
    .idle = idle,
};
