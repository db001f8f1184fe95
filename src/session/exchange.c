/* SPDX-License-Identifier: ISC */
/* An exchange of a framed protocol: its stages, and its bytes for the client. */
#include "session/exchange.h"

#include <errno.h>

const bool exchange_up_moves[UP_STAGES][UP_STAGES] = {
    /*              NONE   QUEUED START  FAILED RESET */
    [UP_NONE] = {false, true, false, false, false},
    [UP_QUEUED] = {false, true, true, true, true}, /* queued again: on another connection */
    [UP_STARTED] = {false, true, false, true, true},
    [UP_FAILED] = {false, true, false, false, false},
    [UP_RESET] = {false, true, false, false, false},
};

const bool exchange_down_moves[DOWN_STAGES][DOWN_STAGES] = {
    /*                 NONE   START  INTERI COMPOS COMMIT CUT */
    [DOWN_NONE] = {true, true, false, true, true, true},    /* composed: a local reply */
    [DOWN_STARTED] = {true, false, true, true, true, true}, /* none: retried */
    [DOWN_INTERIM] = {false, false, true, true, true, true},
    [DOWN_COMPOSED] = {false, false, false, true, true, true}, /* composed: a local reply */
    [DOWN_COMMITTED] = {false, false, false, false, false, true},
    [DOWN_CUT] = {false, false, false, false, false, false},
};

void exchange_wrote_down(struct client *client, uint64_t length)
{
    client->session.access.bytes_down += length;
    if (client->exchange->down_stage == DOWN_COMPOSED) /* interim responses do not count */
        exchange_set_down_stage(client->exchange, DOWN_COMMITTED);
    client->sent_since_read = true;
    client->wrote_much = client->wrote_much || client->session.access.bytes_down > EXCHANGE_MUCH;
    exchange_moved(client);
}

enum step exchange_finish(struct client *client, enum session_end end)
{
    if (client->exchange != NULL &&
        client->exchange->down_stage == DOWN_CUT) /* whatever happened to the client then */
        session_log(&client->session, client->end);
    session_finish(&client->session, end);
    return STEP_GONE;
}

void exchange_set_unfit(struct exchange *exchange, enum pool_discard reason)
{
    if (exchange->unfit == POOL_DISCARD_COUNT)
        exchange->unfit = reason;
}

bool exchange_has_down(const struct client *client)
{
    return buffer_length(&client->down) > 0 || relay_keeps(&client->exchange->bulk_down);
}

bool exchange_waits_for_client(const struct session *session)
{
    const struct client *client = container_of_const(session, struct client, session);
    const struct exchange *exchange = client->exchange;
    if (client->tunnel != NULL || exchange == NULL)
        return false;
    return exchange_has_down(client) ||
           ((client->ops->traits(client) & CLIENT_IS_SENDING) != 0 && exchange_is_sent(exchange) &&
            !exchange_response_started(exchange));
}

/* What precedes `down`. */
static enum step flush_bulk(struct client *client)
{
    struct relay *relay = &client->exchange->bulk_down;
    uint64_t before = relay->moved;
    enum relay_result result = relay_flush(relay, &client->session.client);
    if (relay->moved != before)
        exchange_wrote_down(client, relay->moved - before);
    if (result == RELAY_WRITE_FAILED)
        return exchange_finish(client, SESSION_CLIENT_RESET);
    return result == RELAY_BLOCKED ? STEP_BLOCKED : STEP_AGAIN;
}

enum step exchange_flush(struct client *client)
{
    struct stream *stream = &client->session.client;
    enum step step = flush_bulk(client);
    if (step != STEP_AGAIN)
        return step;
    while (buffer_length(&client->down) > 0) {
        if (!stream->writable)
            return STEP_BLOCKED;
        ssize_t n = stream_write(stream, buffer_data(&client->down), buffer_length(&client->down));
        if (n < 0)
            return errno == EAGAIN ? STEP_BLOCKED : exchange_finish(client, SESSION_CLIENT_RESET);
        buffer_consume(&client->down, (size_t)n);
        exchange_wrote_down(client, (size_t)n);
    }
    return STEP_AGAIN;
}

void exchange_limit_reading(struct client *client, usec_t limit)
{
    usec_t until = client->affinity_until;
    client->session.limit_at = until != 0 && (limit == 0 || until < limit) ? until : limit;
}

void exchange_begin(struct client *client, struct exchange *exchange)
{
    exchange->unfit = POOL_DISCARD_COUNT;
    client->exchange = exchange;
}

void exchange_clear_up(struct exchange *exchange)
{
    void (*clear)(struct buffer *) = exchange->secret ? buffer_wipe : buffer_clear;
    clear(&exchange->up);
    clear(&exchange->ahead);
    clear(&exchange->tail);
}

void exchange_clear(struct exchange *exchange)
{
    exchange_clear_up(exchange);
    buffer_clear(&exchange->response_in);
    relay_clear(&exchange->bulk_up);
    relay_clear(&exchange->bulk_down);
}
