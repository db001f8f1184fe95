/* SPDX-License-Identifier: ISC */
/* The protocol of redis listeners, and its part of a listener. */
#include "session/redis/redis.h"

#include <stdlib.h>
#include <string.h>

#include "session/redis/redis_internal.h"

static struct redis_session *of_session(struct session *session)
{
    return redis_of(container_of(session, struct client, session));
}

static int listener_init(struct listener_context *context)
{
    return batch_listener_init(context, sizeof(struct redis_listener));
}

static void begin(struct client *client)
{
    client->session.allocation.tag = &redis_of(client)->state.tag;
}

static void clear(struct batch *base)
{
    struct redis_batch *batch = container_of(base, struct redis_batch, base);
    redis_login_free(batch->login);
    free(batch->name);
}

static uint64_t payload_left(const struct batch *batch)
{
    return resp_command_body_left(&redis_batch_of_batch(batch)->command);
}

static void payload_moved(struct batch *batch, uint64_t length)
{
    resp_command_skip(&container_of(batch, struct redis_batch, base)->command, length);
}

static uint64_t reply_left(const struct batch *batch)
{
    return batch->reply_begun ? resp_reply_body_left(&redis_batch_of_batch(batch)->reply) : 0;
}

static void reply_moved(struct batch *batch, uint64_t length)
{
    resp_reply_skip(&container_of(batch, struct redis_batch, base)->reply, length);
}

static const struct batch_protocol redis_batches = {
    .batch_size = sizeof(struct redis_batch),
    .begin = begin,
    .clear = clear,
    .take = redis_take,
    .payload_left = payload_left,
    .payload_moved = payload_moved,
    .go_on = redis_go_on,
    .prepare = redis_prepare,
    .take_replies = redis_take_replies,
    .reply_left = reply_left,
    .reply_moved = reply_moved,
    .answer_rest = redis_answer_rest,
    .verdict = redis_verdict,
    .is_for_client = redis_is_for_client,
};

static void start(struct session *session)
{
    struct redis_session *redis = of_session(session);
    redis->state.version = 2;
    redis->began = session->access.started;
    batch_start(&redis->base, &redis_batches);
}

static void destroy(struct session *session)
{
    struct redis_session *redis = of_session(session);
    batch_clear_client(&redis->base.client);
    redis_login_free(redis->login);
    redis->login = NULL;
    redis_state_clear(&redis->state);
}

const struct protocol redis_protocol = {
    .session_size = sizeof(struct redis_session),
    .watches_late = true,
    .first_state = SESSION_READING,
    .listener_init = listener_init,
    .listener_free = batch_listener_free,
    .start = start,
    .on_connection = batch_on_connection,
    .run = exchange_run,
    .on_timeout = exchange_on_timeout,
    .on_unacked = exchange_on_unacked,
    .drain = batch_on_drain,
    .conn_info = batch_conn_info,
    .waits_for_client = exchange_waits_for_client,
    .log_fields = batch_log_fields,
    .metrics = &batch_metrics,
    .counters_size = sizeof(struct batch_counters),
    .destroy = destroy,
};
