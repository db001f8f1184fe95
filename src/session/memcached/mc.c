/* SPDX-License-Identifier: ISC */
/* The protocol of memcached listeners, and its part of a listener. */
#include "session/memcached/mc.h"

#include "session/memcached/mc_internal.h"

/* The initial state of a session of the binary protocol. */
#define BINARY_FIRST 0x80

static struct mc_session *of_session(struct session *session)
{
    return mc_of(container_of(session, struct client, session));
}

static int listener_init(struct listener_context *context)
{
    return batch_listener_init(context, sizeof(struct mc_listener));
}

/* By its first byte, as the upstream does. */
static void begin(struct client *client)
{
    struct pool_tag *tag = &mc_of(client)->tag;
    bool binary = (unsigned char)buffer_data(&client->in)[0] == BINARY_FIRST;
    if (mc_tag_kind(tag) == MC_UNKNOWN)
        tag->identity[0] = binary ? MC_BINARY : MC_TEXT;
    client->session.allocation.tag = tag;
}

static uint64_t payload_left(const struct batch *batch)
{
    return memcached_command_value_rest(&container_of_const(batch, struct mc_batch, base)->command);
}

static void payload_moved(struct batch *batch, uint64_t length)
{
    memcached_command_value_skip(&container_of(batch, struct mc_batch, base)->command, length);
}

static uint64_t reply_left(const struct batch *batch)
{
    const struct mc_batch *mc = container_of_const(batch, struct mc_batch, base);
    return mc->reading ? memcached_reply_rest(&mc->reply) : 0;
}

static void reply_moved(struct batch *batch, uint64_t length)
{
    memcached_reply_skip(&container_of(batch, struct mc_batch, base)->reply, length);
}

static enum pool_discard verdict(struct client *client, bool *keeps)
{
    (void)client;
    *keeps = false;
    return POOL_DISCARD_COUNT;
}

static bool is_for_client(const struct client *client)
{
    (void)client;
    return false;
}

static const struct batch_protocol mc_batches = {
    .batch_size = sizeof(struct mc_batch),
    .begin = begin,
    .take = mc_take,
    .payload_left = payload_left,
    .payload_moved = payload_moved,
    .go_on = mc_go_on,
    .prepare = mc_prepare,
    .seal = mc_seal,
    .take_replies = mc_take_replies,
    .reply_left = reply_left,
    .reply_moved = reply_moved,
    .answer_rest = mc_answer_rest,
    .verdict = verdict,
    .is_for_client = is_for_client,
};

static void start(struct session *session)
{
    batch_start(&of_session(session)->base, &mc_batches);
}

static void destroy(struct session *session)
{
    batch_clear_client(&of_session(session)->base.client);
}

const struct protocol mc_protocol = {
    .session_size = sizeof(struct mc_session),
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
