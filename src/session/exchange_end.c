/* SPDX-License-Identifier: ISC */
/* The end of an exchange, and of a client, without losing any of a response. */
#include <errno.h>

#include "session/exchange.h"

static void close_exchange(struct client *client)
{
    client->served = true;
    client->ops->ended(client);
}

enum step exchange_end(struct client *client, enum session_end end)
{
    client->end = end;
    client->last = true;
    client->session.limit_at = 0;
    exchange_moved(client); /* the client has time to receive what is buffered */
    session_set_state(&client->session, SESSION_DRAINING);
    return STEP_AGAIN;
}

enum step exchange_cut(struct client *client, enum session_end end)
{
    struct exchange *exchange = client->exchange;
    exchange_set_down_stage(exchange, DOWN_CUT);
    buffer_clear(&exchange->response_in);
    return exchange_end(client, end);
}

enum step exchange_drain_step(struct client *client)
{
    enum step step = exchange_flush(client);
    if (step != STEP_AGAIN)
        return step;
    if (client->last)
        return exchange_end_client(client);
    close_exchange(client);
    session_set_state(&client->session, SESSION_READING);
    client->ops->idle(client);
    return STEP_AGAIN;
}

/* Is the client known to send, or to have sent, more than was read? */
static bool is_sending(struct client *client)
{
    struct stream *stream = &client->session.client;
    unsigned traits = client->ops->traits(client);
    if (buffer_length(&client->in) > 0 || (traits & CLIENT_IS_SENDING) != 0)
        return true;
    /* A read that returned all it had asked for does not tell. Nor does the absence of an event:
     * the client may not be watched, or the event may be the next one. It may have sent its next
     * request, or the CRLF that old clients send after a body (RFC 9112 2.2). */
    bool may_send = (traits & (CLIENT_HAD_BODY | CLIENT_MAY_GO_ON)) != 0;
    bool unsure = stream->readable || may_send;
    return unsure && stream_peek(stream) == PEEK_DATA;
}

/* Could the client, by what it still sends, lose some of what it was sent? Even one that is not
 * expected to continue can send something: an empty line, or garbage. A short response to a request
 * without a body was sent completely at once, and needs no check. */
static bool may_lose(const struct client *client)
{
    unsigned traits = client->ops->traits(client);
    return (traits & (CLIENT_HAD_BODY | CLIENT_MAY_GO_ON)) != 0 || client->wrote_much ||
           client->session.client.watches_writable;
}

/* How long a client lingers; a silent one only until it is known to have received everything. 0, or
 * -1 with ENOMEM. */
static int set_linger_limit(struct client *client, bool sending)
{
    struct session *session = &client->session;
    usec_t check_at = loop_now(session->context->worker.loop) + EXCHANGE_LINGER_CHECK;
    bool checks = !sending && check_at < client->linger_until;
    session->limit_at = checks ? check_at : client->linger_until;
    return session_start_timer(session);
}

static enum step begin_to_linger(struct client *client, bool sending)
{
    struct session *session = &client->session;
    usec_t idle_timeout = session->context->config->idle_timeout;
    bool is_shorter = idle_timeout > 0 && idle_timeout < EXCHANGE_LINGER;
    stream_end_write(&session->client);
    session_set_state(session, SESSION_LINGERING);
    buffer_clear(&client->in);
    exchange_moved(client);
    client->linger_until = session->moved_at + (is_shorter ? idle_timeout : EXCHANGE_LINGER);
    client->linger_left = EXCHANGE_LINGER_MAX;
    return set_linger_limit(client, sending) < 0 ? exchange_finish(client, SESSION_COMPLETE)
                                                 : STEP_AGAIN;
}

/* Unread bytes of the client make the kernel reset the connection when it is closed, and so do
 * bytes that arrive later; a reset destroys what the client's kernel does not have yet, and on some
 * systems what the client has not read (RFC 9112 9.6). */
enum step exchange_end_client(struct client *client)
{
    struct session *session = &client->session;
    bool sending = !client->client_ended && is_sending(client);
    bool lingers = sending || (!client->client_ended && may_lose(client) &&
                               !stream_is_delivered(&session->client));
    if (exchange_is_leased(client))
        pool_discard(&session->allocation, DISCARD_NOT_REUSABLE, false);
    if (client->exchange != NULL)
        close_exchange(client);
    return lingers ? begin_to_linger(client, sending) : exchange_finish(client, SESSION_COMPLETE);
}

enum step exchange_linger_step(struct client *client)
{
    struct session *session = &client->session;
    struct scratch scratch = session->context->worker.scratch;
    if (!session->client.readable)
        return STEP_BLOCKED;
    /* Nothing is borrowed any more. */
    ssize_t n = stream_read(&session->client, scratch.data, exchange_read_max(client));
    if (n < 0 && errno == EAGAIN)
        return STEP_BLOCKED;
    if (n <= 0 || (size_t)n >= client->linger_left)
        return exchange_finish(client, SESSION_COMPLETE);
    client->taken += (uint32_t)n;
    client->linger_left -= (uint32_t)n;
    session->limit_at = client->linger_until;
    return STEP_AGAIN;
}

enum step exchange_linger_timed_out(struct client *client)
{
    const struct session *session = &client->session;
    if (client->linger_until <= loop_now(session->context->worker.loop) ||
        stream_is_delivered(&session->client) || set_linger_limit(client, false) < 0)
        return exchange_finish(client, SESSION_COMPLETE);
    return STEP_AGAIN;
}
