/* The protocol of memcached listeners, and its part of a listener. */
#include "session/memcached/mc.h"

#include <stdlib.h>
#include <string.h>

#include "session/memcached/mc_internal.h"

/* Batches that a listener keeps for the next ones. */
#define FREE_LIST_MAX FREE_LIST(16)

/* What a session of the binary protocol begins with. */
#define BINARY_FIRST 0x80

static struct mc_session *of_session(struct session *session)
{
    return mc_of(container_of(session, struct client, session));
}

static int listener_init(struct listener_context *context)
{
    context->of_protocol = calloc(1, sizeof(struct mc_listener));
    return context->of_protocol == NULL ? -1 : 0;
}

static void listener_free(struct listener_context *context)
{
    struct mc_listener *listener = context->of_protocol;
    struct mc_batch *batch;
    while ((batch = listener->free_batches) != NULL) {
        listener->free_batches = batch->next_free;
        free(batch);
    }
    free(listener);
    context->of_protocol = NULL;
}

/* By its first byte, as the upstream does it. */
static void choose_kind(struct client *client)
{
    struct pool_tag *tag = &mc_of(client)->tag;
    bool binary = (unsigned char)buffer_data(&client->in)[0] == BINARY_FIRST;
    if (mc_tag_kind(tag) == MC_UNKNOWN)
        tag->identity[0] = binary ? MC_BINARY : MC_TEXT;
    client->session.allocation.tag = tag;
}

static struct batch *create(struct client *client)
{
    struct mc_listener *listener = mc_listener_of(client);
    struct mc_batch *batch = listener->free_batches;
    if (batch != NULL) {
        listener->free_batches = batch->next_free;
        listener->free_batch_count--;
    } else if ((batch = malloc(sizeof(*batch))) == NULL) {
        return NULL;
    }
    memset(batch, 0, sizeof(*batch));
    batch_begin(client, &batch->base);
    choose_kind(client);
    return &batch->base;
}

static void destroy_batch(struct client *client, struct batch *base)
{
    struct mc_listener *listener = mc_listener_of(client);
    struct mc_batch *batch = container_of(base, struct mc_batch, base);
    batch_clear(base);
    if (listener->free_batch_count == FREE_LIST_MAX) {
        free(batch);
        return;
    }
    batch->next_free = listener->free_batches;
    listener->free_batches = batch;
    listener->free_batch_count++;
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
    .create = create,
    .destroy = destroy_batch,
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
    struct client *client = &of_session(session)->base.client;
    if (client->exchange != NULL)
        destroy_batch(client, batch_of(client));
    client->exchange = NULL;
    exchange_clear_client(client);
}

const struct protocol mc_protocol = {
    .session_size = sizeof(struct mc_session),
    .watches_late = true,
    .first_state = SESSION_READING,
    .listener_init = listener_init,
    .listener_free = listener_free,
    .start = start,
    .on_connection = batch_on_connection,
    .run = exchange_run,
    .on_timeout = exchange_on_timeout,
    .on_unacked = exchange_on_unacked,
    .drain = batch_on_drain,
    .conn_info = batch_conn_info,
    .log_fields = batch_log_fields,
    .stats = batch_stats_text,
    .destroy = destroy,
};
