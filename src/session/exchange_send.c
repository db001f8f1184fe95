/* SPDX-License-Identifier: ISC */
/* From the client to the upstream: what is composed, what is held for a retry, payload. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "session/exchange.h"

/* What remains to be sent of the three buffers; returns the number of parts. */
static int unsent(const struct exchange *exchange, struct iovec parts[3])
{
    const struct buffer *buffers[] = {&exchange->up, &exchange->ahead, &exchange->tail};
    size_t skip = exchange->up_sent;
    int count = 0;
    for (size_t i = 0; i < ARRAY_LEN(buffers); i++) {
        size_t length = buffer_length(buffers[i]);
        if (skip < length)
            parts[count++] = (struct iovec){.iov_base = buffer_data(buffers[i]) + skip,
                                            .iov_len = length - skip};
        skip -= skip < length ? skip : length;
    }
    return count;
}

/* A write to the upstream failed, with errno. It may have responded before it closed: read that.
 * The reason is reported once, to the write or to the read: EPIPE tells nothing new, except for an
 * end met before. */
void exchange_give_up_sending(struct client *client)
{
    exchange_set_up_stage(client->exchange, errno == EPIPE ? UP_FAILED : UP_RESET);
    client->session.allocation.stream->readable = true;
}

void exchange_sent(struct client *client, uint64_t length)
{
    if (client->exchange->up_stage == UP_QUEUED)
        exchange_set_up_stage(client->exchange, UP_STARTED);
    client->session.access.bytes_up += length;
    exchange_moved(client);
    client->exchange->sent_at = client->session.moved_at;
    session_sent(&client->session);
}

/* What precedes the buffers. */
static enum step write_bulk(struct client *client)
{
    struct relay *relay = &client->exchange->bulk_up;
    uint64_t before = relay->moved;
    enum relay_result result = relay_flush(relay, client->session.allocation.stream);
    if (relay->moved != before)
        exchange_sent(client, relay->moved - before);
    if (result == RELAY_WRITE_FAILED)
        exchange_give_up_sending(client);
    return result == RELAY_BLOCKED ? STEP_BLOCKED : STEP_AGAIN;
}

/* All that was composed is sent, and will not be retried. */
void exchange_drop_sent(struct exchange *exchange)
{
    exchange_clear_up(exchange);
    exchange->up_sent = 0;
    exchange->replayable = false;
}

/* STEP_AGAIN: everything that is buffered is written, or the upstream takes no more. */
enum step exchange_send(struct client *client)
{
    struct exchange *exchange = client->exchange;
    struct stream *upstream = client->session.allocation.stream;
    struct iovec parts[3];
    enum step step = write_bulk(client);
    if (step != STEP_AGAIN)
        return step;
    while (!exchange_up_failed(exchange) && !exchange_is_sent(exchange)) {
        if (!upstream->writable)
            return STEP_BLOCKED;
        ssize_t n = stream_writev(upstream, parts, unsent(exchange, parts));
        if (n < 0 && errno == EAGAIN)
            return STEP_BLOCKED;
        if (n < 0) {
            exchange_give_up_sending(client);
            return STEP_AGAIN;
        }
        exchange->up_sent += (size_t)n;
        exchange_sent(client, (size_t)n);
    }
    if (!exchange->replayable)
        exchange_drop_sent(exchange);
    return STEP_AGAIN;
}

/* Keeps what a stream has not taken of the parts. 0, or -1 with ENOMEM. */
static int hold_back(struct buffer *backlog, const struct iovec *parts, int count, size_t written)
{
    for (int i = 0; i < count; i++) {
        size_t skip = written < parts[i].iov_len ? written : parts[i].iov_len;
        written -= skip;
        if (buffer_append(backlog, (const char *)parts[i].iov_base + skip,
                          parts[i].iov_len - skip) < 0)
            return -1;
    }
    return 0;
}

/* Writes as far as the stream takes it; the bytes written, or -1 with errno. */
static ssize_t write_parts(struct stream *to, const struct iovec *parts, int count)
{
    if (count == 0 || to == NULL || !to->writable)
        return 0;
    ssize_t n = stream_writev(to, parts, count);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

ssize_t exchange_pass(struct stream *to, struct buffer *backlog,
                      struct iovec pieces[1 + EXCHANGE_PIECES_MAX], int count)
{
    size_t behind = buffer_length(backlog);
    pieces[0] = (struct iovec){.iov_base = buffer_data(backlog), .iov_len = behind};
    ssize_t written =
        behind > 0 ? write_parts(to, pieces, 1 + count) : write_parts(to, pieces + 1, count);
    if (written < 0)
        return -1;
    size_t of_backlog = (size_t)written < behind ? (size_t)written : behind;
    if (of_backlog > 0)
        buffer_consume(backlog, of_backlog);
    if (hold_back(backlog, pieces + 1, count, (size_t)written - of_backlog) < 0)
        return -1;
    return written;
}
