/* SPDX-License-Identifier: ISC */
/* A batch while it leases a connection: commands up, replies down. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "session/batch.h"

/* The size of the first read of a client's commands. */
#define FIRST_READ (16 * 1024)

/* The client has ended. Complete commands are answered nevertheless (F2). */
static enum step client_left(struct client *client)
{
    struct batch *batch = batch_of(client);
    bool partial = buffer_length(&client->in) > 0;
    client->client_ended = true;
    if (batch != NULL && (batch->commands > 0 || buffer_length(&batch->expected) > 0) &&
        !batch->streaming) {
        batch->full = true;
        return STEP_BLOCKED;
    }
    if (exchange_is_leased(client))
        pool_discard(&client->session.allocation, DISCARD_CLIENT_ABORT, true);
    if (batch != NULL && (partial || batch->streaming))
        session_log(&client->session, SESSION_CLIENT_LEFT);
    return exchange_finish(client, SESSION_COMPLETE);
}

enum step batch_fill(struct client *client)
{
    struct stream *stream = &client->session.client;
    struct scratch scratch = client->session.context->worker.scratch;
    size_t size = exchange_read_max(client);
    if (client->session.state == SESSION_READING && size > FIRST_READ)
        size = FIRST_READ;
    if (!stream->readable && !client->client_ended)
        return STEP_BLOCKED;
    if (exchange_own_buffers(client) < 0)
        return exchange_finish(client, SESSION_ERROR);
    ssize_t n = client->client_ended ? 0 : stream_read(stream, scratch.data, size);
    if (n < 0)
        return errno == EAGAIN ? STEP_BLOCKED : exchange_finish(client, SESSION_CLIENT_RESET);
    if (n == 0)
        return client_left(client);
    exchange_took(client, (size_t)n);
    exchange_note_read(client);
    if (buffer_length(&client->in) == 0)
        buffer_borrow(&client->in, scratch.data, (size_t)n);
    else if (buffer_append(&client->in, scratch.data, (size_t)n) < 0)
        return exchange_finish(client, SESSION_ERROR);
    return STEP_AGAIN;
}

enum step batch_gather(struct client *client)
{
    struct batch *batch = batch_of(client);
    batch->partial = false;
    while (buffer_length(&client->in) > 0 && !batch->full && !batch->streaming) {
        switch (batch_protocol_of(client)->take(client)) {
        case BATCH_TOOK:
            break;
        case BATCH_MORE:
            batch->partial = true;
            return STEP_BLOCKED;
        case BATCH_APART:
            batch->full = true;
            break;
        case BATCH_LAST:
            batch->full = true;
            client->last = true;
            buffer_clear(&client->in);
            break;
        case BATCH_NO_MEMORY:
            return exchange_finish(client, SESSION_ERROR);
        }
    }
    return STEP_BLOCKED;
}

/* What was gathered is complete for now. 0, or -1 with ENOMEM. */
static int seal(struct client *client)
{
    const struct batch *batch = batch_of(client);
    const struct batch_protocol *protocol = batch_protocol_of(client);
    bool nothing = protocol->seal == NULL || batch->streaming || batch->tunnel;
    return nothing ? 0 : protocol->seal(client);
}

/* This much payload is worth a relay, if nothing is buffered before it. */
static bool is_bulk(const struct relay *relay, uint64_t left)
{
    return left > 0 && exchange_is_bulk(relay, left);
}

/* A relay that has moved its amount is ready for the next large value. */
static void settle_bulk(struct relay *relay)
{
    if (relay->limit != 0 && relay->taken == relay->limit && !relay_keeps(relay))
        *relay = (struct relay){0};
}

static enum step stream_bulk(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct relay *relay = &batch->base.bulk_up;
    const struct exchange_bulk bulk = {.relay = relay,
                                       .rest = batch_protocol_of(client)->payload_left(batch),
                                       .from = &client->session.client,
                                       .to = client->session.allocation.stream};
    uint64_t taken = relay->taken, moved = relay->moved;
    enum relay_result result = exchange_move(client, &bulk);
    batch_protocol_of(client)->payload_moved(batch, relay->taken - taken);
    if (relay->moved != moved)
        exchange_sent(client, relay->moved - moved);
    exchange_note_read(client);
    if (relay->from_ended)
        return client_left(client);
    switch (result) {
    case RELAY_READ_FAILED:
        return exchange_finish(client, SESSION_CLIENT_RESET);
    case RELAY_NO_MEMORY:
        return exchange_finish(client, SESSION_ERROR);
    case RELAY_WRITE_FAILED:
        exchange_give_up_sending(client);
        return STEP_AGAIN;
    case RELAY_BLOCKED:
    case RELAY_MORE:
    case RELAY_ENDED:
        break;
    }
    enum step step = exchange_after_bulk(relay, result);
    settle_bulk(relay);
    return step;
}

/* Its end is malformed: the upstream must not get it, but has a part of it already. */
static enum step bad_stream(struct client *client)
{
    batch_of(client)->streaming = false;
    client->last = true;
    buffer_clear(&client->in);
    if (exchange_is_leased(client))
        pool_discard(&client->session.allocation, DISCARD_CLIENT_ABORT, true);
    if (batch_of(client)->reply_begun)
        return exchange_cut(client, SESSION_BAD_REQUEST);
    return exchange_end(client, SESSION_BAD_REQUEST);
}

/* Passes on, or drops, what `in` has of it. */
static enum step stream_in(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct iovec pieces[1 + EXCHANGE_PIECES_MAX];
    bool whole = false;
    ssize_t used = batch_protocol_of(client)->go_on(client, buffer_data(&client->in),
                                                    buffer_length(&client->in), &whole);
    if (used < 0)
        return bad_stream(client);
    if (used > 0 && !batch->sinking) {
        pieces[1] = (struct iovec){.iov_base = buffer_data(&client->in), .iov_len = (size_t)used};
        ssize_t n = exchange_pass(client->session.allocation.stream, &batch->base.up, pieces, 1);
        if (n < 0 && errno == ENOMEM)
            return exchange_finish(client, SESSION_ERROR);
        if (n < 0)
            exchange_give_up_sending(client);
        else if (n > 0)
            exchange_sent(client, (size_t)n);
    }
    buffer_consume(&client->in, (size_t)used);
    batch->streaming = !whole;
    if (whole && !batch->sinking && seal(client) < 0)
        return exchange_finish(client, SESSION_ERROR);
    return used == 0 && !whole ? batch_fill(client) : STEP_AGAIN;
}

enum step batch_stream(struct client *client)
{
    struct batch *batch = batch_of(client);
    if (buffer_length(&client->in) > 0)
        return stream_in(client);
    if (!batch->sinking &&
        is_bulk(&batch->base.bulk_up, batch_protocol_of(client)->payload_left(batch)))
        return stream_bulk(client);
    return batch_fill(client);
}

/* May more be taken from the client while its batch is under way? */
static bool takes_more(const struct client *client)
{
    const struct batch *batch = batch_of(client);
    return !batch->full && !batch->holds && !client->last &&
           buffer_length(&client->down) <= EXCHANGE_DOWN_MAX;
}

/* Takes what joins. STEP_AGAIN: there was something. */
static enum step join(struct client *client)
{
    enum step step = STEP_AGAIN;
    if (buffer_length(&client->in) == 0 || batch_of(client)->partial)
        step = batch_fill(client);
    if (step != STEP_AGAIN)
        return step;
    if (batch_gather(client) == STEP_GONE)
        return STEP_GONE;
    return seal(client) < 0 ? exchange_finish(client, SESSION_ERROR) : STEP_AGAIN;
}

static enum step relay_up(struct client *client)
{
    struct batch *batch = batch_of(client);
    if (exchange_up_failed(&batch->base))
        return STEP_BLOCKED;
    enum step step = exchange_send(client);
    if (step != STEP_AGAIN || exchange_up_failed(&batch->base))
        return step;
    if (batch->stage != BATCH_OPEN)
        return STEP_BLOCKED;
    if (batch->streaming) {
        if (batch->base.replayable)
            exchange_drop_sent(&batch->base);
        return batch_stream(client);
    }
    if (!takes_more(client))
        return STEP_BLOCKED;
    step = join(client);
    if (step != STEP_AGAIN)
        return step;
    return exchange_send(client) == STEP_BLOCKED ? STEP_BLOCKED : STEP_AGAIN;
}

void batch_reply_started(struct client *client)
{
    struct exchange *exchange = client->exchange;
    if (exchange->down_stage == DOWN_NONE)
        exchange_set_down_stage(exchange, DOWN_STARTED);
}

enum step batch_pass_run(struct client *client, struct batch_run *run)
{
    struct iovec pieces[1 + EXCHANGE_PIECES_MAX];
    if (run->length == 0)
        return STEP_AGAIN;
    assert(!relay_keeps(&client->exchange->bulk_down) || !client->session.client.writable);
    pieces[1] = (struct iovec){.iov_base = (char *)(uintptr_t)run->data, .iov_len = run->length};
    ssize_t n = exchange_pass(&client->session.client, &client->down, pieces, 1);
    if (n < 0)
        return exchange_finish(client, errno == ENOMEM ? SESSION_ERROR : SESSION_CLIENT_RESET);
    if (n > 0)
        exchange_wrote_down(client, (uint64_t)n);
    buffer_consume(&client->exchange->response_in, run->length);
    *run = batch_run_begin(client);
    return STEP_AGAIN;
}

int batch_put_down(struct client *client, const char *data, size_t length)
{
    client->taken += (uint32_t)length;
    return length > 0 ? buffer_append(&client->down, data, length) : 0;
}

enum step batch_open(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct exchange *exchange = &batch->base;
    if (batch->stage == BATCH_PREPARING) {
        batch_clear_ours(batch);
        exchange->up_sent = 0;
        exchange->ahead = batch->held;
        batch->held = (struct buffer){0};
    }
    batch->stage = BATCH_OPEN;
    batch->opened_at = loop_now(client->session.context->worker.loop);
    if (seal(client) < 0)
        return exchange_finish(client, SESSION_ERROR);
    exchange->replayable = !batch->unsafe && !batch->streaming;
    if (batch->holds || batch->tunnel)
        pool_hold(&client->session.allocation);
    return batch->tunnel ? exchange_open_tunnel(client) : STEP_AGAIN;
}

static bool is_over(const struct client *client)
{
    const struct batch *batch = batch_of(client);
    bool joins = buffer_length(&client->in) > 0 && !batch->full && !batch->partial;
    return !joins && batch->stage == BATCH_OPEN && buffer_length(&batch->expected) == 0 &&
           !batch->streaming && exchange_is_sent(&batch->base) && !exchange_up_failed(&batch->base);
}

/* How the lease ends; POOL_DISCARD_COUNT: it need not be discarded. */
static enum pool_discard verdict(struct client *client, bool *keeps)
{
    const struct batch *batch = batch_of(client);
    *keeps = false;
    enum pool_discard reason = batch_protocol_of(client)->verdict(client, keeps);
    if (batch->base.unfit != POOL_DISCARD_COUNT)
        reason = batch->base.unfit;
    if (reason != POOL_DISCARD_COUNT)
        return reason;
    if (*keeps)
        return client->last || !pool_reserve_hold(&client->session.allocation)
                   ? DISCARD_NOT_REUSABLE
                   : reason;
    bool never = client->session.context->config->reuse == REUSE_NEVER;
    return never ? DISCARD_NOT_REUSABLE : reason;
}

/* The last byte of the last reply was read: the connection is released before the client has
 * received everything. */
static enum step give_back(struct client *client)
{
    struct session *session = &client->session;
    bool keeps;
    enum pool_discard reason = verdict(client, &keeps);
    if (reason != POOL_DISCARD_COUNT) {
        pool_discard(&session->allocation, reason, reason == DISCARD_UNREAD_DATA);
        client->last = client->last || keeps;
        keeps = false;
    } else if (keeps) {
        pool_hold(&session->allocation);
    } else {
        pool_release(&session->allocation, RELEASE_DRAINED);
    }
    client->affinity = keeps;
    session->unacked_at = 0; /* no other client waits for a connection that the client keeps */
    session_set_state(session, SESSION_DRAINING);
    return STEP_AGAIN;
}

/* Everything is sent and answered. STEP_AGAIN also if something of our own has to follow. */
static enum step end_batch(struct client *client)
{
    if (seal(client) < 0)
        return exchange_finish(client, SESSION_ERROR);
    return is_over(client) ? give_back(client) : STEP_AGAIN;
}

/* What arrives when nothing is expected. */
static enum step take_surplus(struct client *client)
{
    struct batch *batch = batch_of(client);
    if (batch_protocol_of(client)->is_for_client(client) && !relay_keeps(&batch->base.bulk_down) &&
        pool_reserve_hold(&client->session.allocation)) {
        pool_hold(&client->session.allocation);
        return exchange_open_tunnel(client);
    }
    exchange_set_unfit(&batch->base, DISCARD_UNREAD_DATA);
    buffer_clear(&batch->base.response_in);
    return give_back(client);
}

static enum step upstream_ended(struct client *client, bool in_order)
{
    in_order = in_order && client->exchange->up_stage != UP_RESET;
    enum pool_discard reason = in_order ? DISCARD_UPSTREAM_CLOSED : DISCARD_UPSTREAM_ERROR;
    if (!exchange_response_started(client->exchange))
        return exchange_retry(client, reason);
    return batch_upstream_failed(client, reason);
}

static enum step relay_bulk(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct relay *relay = &batch->base.bulk_down;
    const struct exchange_bulk bulk = {.relay = relay,
                                       .rest = batch_protocol_of(client)->reply_left(batch),
                                       .from = client->session.allocation.stream,
                                       .to = &client->session.client};
    uint64_t taken = relay->taken, moved = relay->moved;
    if (buffer_length(&client->down) > 0)
        return STEP_BLOCKED;
    enum relay_result result = exchange_move(client, &bulk);
    batch_protocol_of(client)->reply_moved(batch, relay->taken - taken);
    if (relay->moved != moved)
        exchange_wrote_down(client, relay->moved - moved);
    if (result == RELAY_READ_FAILED || relay->from_ended)
        return upstream_ended(client, relay->from_ended);
    if (result == RELAY_WRITE_FAILED)
        return exchange_finish(client, SESSION_CLIENT_RESET);
    if (result == RELAY_NO_MEMORY)
        return exchange_finish(client, SESSION_ERROR);
    enum step step = exchange_after_bulk(relay, result);
    settle_bulk(relay);
    return step;
}

/* How much is worth reading now: 0 when the buffers are nearly full. */
static size_t read_size(const struct client *client)
{
    size_t size = exchange_read_max(client), held = buffer_length(&client->down);
    if (held > EXCHANGE_DOWN_MAX - EXCHANGE_DOWN_STEP)
        return 0;
    return size < EXCHANGE_DOWN_MAX - held ? size : EXCHANGE_DOWN_MAX - held;
}

/* Takes bytes just read, which are in scratch memory. */
static enum step take(struct client *client, char *data, size_t length)
{
    struct buffer *response = &client->exchange->response_in;
    if (buffer_length(response) == 0)
        buffer_borrow(response, data, length);
    else if (buffer_append(response, data, length) < 0)
        return exchange_finish(client, SESSION_ERROR);
    enum step step = batch_protocol_of(client)->take_replies(client);
    if (step == STEP_GONE || client->session.state != SESSION_RELAYING || client->tunnel != NULL)
        return step;
    if (buffer_length(response) > 0 && buffer_length(&batch_of(client)->expected) == 0 &&
        batch_of(client)->stage == BATCH_OPEN)
        return take_surplus(client);
    return is_over(client) ? end_batch(client) : STEP_AGAIN;
}

static enum step relay_down(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct stream *upstream = client->session.allocation.stream;
    struct scratch scratch = client->session.context->worker.scratch;
    if (exchange_flush(client) == STEP_GONE)
        return STEP_GONE;
    settle_bulk(&batch->base.bulk_down);
    if (is_bulk(&batch->base.bulk_down, batch_protocol_of(client)->reply_left(batch)))
        return relay_bulk(client);
    size_t size = read_size(client);
    if (!upstream->readable || size == 0)
        return STEP_BLOCKED;
    if (exchange_own_buffers(client) < 0)
        return exchange_finish(client, SESSION_ERROR);
    ssize_t n = stream_read(upstream, scratch.data, size);
    if (n < 0 && errno == EAGAIN)
        return STEP_BLOCKED;
    if (n <= 0)
        return upstream_ended(client, n == 0);
    if (batch->base.sent_at == 0 && (client->session.allocation.reused || client->affinity))
        return exchange_retry(client, DISCARD_UNREAD_DATA); /* about something earlier */
    exchange_took(client, (size_t)n);
    return take(client, scratch.data, (size_t)n);
}

/* The client of a blocking command has ended. What need not wait is answered at once: that may be
 * what a half-close waits for. */
static bool waits_in_vain(struct client *client)
{
    struct session *session = &client->session;
    usec_t now = loop_now(session->context->worker.loop), sent_at = client->exchange->sent_at;
    session->limit_at = (sent_at == 0 ? now : sent_at) + DEPARTURE_HALF_CLOSE;
    return session->limit_at <= now;
}

/* Replies first: the last one ends the batch. */
enum step batch_relay(struct client *client)
{
    struct batch *batch = batch_of(client);
    if (batch->holds && client->session.client.hangup && waits_in_vain(client))
        return batch_left_waiting(client);
    enum step down = relay_down(client);
    if (down == STEP_GONE || down == STEP_DONE)
        return down;
    if (client->session.state != SESSION_RELAYING || client->tunnel != NULL)
        return STEP_AGAIN;
    enum step up = relay_up(client);
    if (up == STEP_GONE)
        return up;
    /* Our own replies may have joined, and be next. */
    if (client->session.state == SESSION_RELAYING && up == STEP_AGAIN &&
        batch_protocol_of(client)->take_replies(client) == STEP_GONE)
        return STEP_GONE;
    if (client->session.state == SESSION_RELAYING && client->tunnel == NULL && is_over(client))
        return end_batch(client);
    if (up == STEP_YIELD || down == STEP_YIELD)
        return STEP_YIELD;
    return up == STEP_AGAIN ? up : down;
}
