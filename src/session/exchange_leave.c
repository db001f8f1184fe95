/* SPDX-License-Identifier: ISC */
/* Whether a client whose request is under way has left, and how abort_on_close treats that. */
#include "session/exchange.h"

static usec_t silence(const struct client *client)
{
    return loop_now(client->session.context->worker.loop) - client->read_at;
}

/* What the client's end means, if it has ended. For a unix socket the kernel reports no times, and
 * after a response not the ones needed: then an end is late if it came just now, some time after
 * the last byte. */
static enum departure departure_of(struct client *client)
{
    struct stream *stream = &client->session.client;
    enum departure departure = DEPARTURE_NONE;
    if (stream->hangup && silence(client) < DEPARTURE_HALF_CLOSE)
        return DEPARTURE_HALF; /* whenever exactly it came */
    if (!stream->local && departure_ask(stream->fd, client->sent_since_read, &departure) == 0)
        return departure == DEPARTURE_LEFT && client->sent_since_read && !client->sees_end
                   ? DEPARTURE_HALF
                   : departure;
    switch (stream_peek(stream)) {
    case PEEK_ERROR:
        return DEPARTURE_RESET;
    case PEEK_EOF:
        break;
    case PEEK_DATA:
    case PEEK_QUIET:
        return DEPARTURE_NONE;
    }
    bool late = client->sees_end && silence(client) >= DEPARTURE_HALF_CLOSE;
    return late ? DEPARTURE_LEFT : DEPARTURE_HALF;
}

/* A connection on which nothing was sent is released unused, unless it is this client's. A client
 * that may still read sees an orderly end, but no part of a response that could be taken for a
 * complete one. */
static enum step abandon(struct client *client, enum session_end end)
{
    struct session *session = &client->session;
    const struct exchange *exchange = client->exchange;
    bool reusable = session->context->config->reuse != REUSE_NEVER && !client->affinity;
    if (exchange_is_leased(client) && exchange->sent_at == 0 && reusable)
        pool_release(&session->allocation, RELEASE_PEEK);
    else if (exchange_is_leased(client))
        pool_discard(&session->allocation, DISCARD_CLIENT_ABORT, exchange->sent_at != 0);
    if (end == SESSION_CLIENT_RESET || exchange_response_committed(exchange))
        return exchange_finish(client, end);
    session_log(session, end);
    return exchange_finish(client, SESSION_COMPLETE);
}

/* What an end means is determined once, when it is noticed: later the kernel may not know any
 * more. */
static void note_departure(struct client *client)
{
    if (client->departure == DEPARTURE_NONE)
        client->departure = departure_of(client);
}

/* Does its end, unless it is a half-close, end what is under way? */
static bool ends_request(const struct client *client, bool waits)
{
    return (waits || client->session.state == SESSION_RELAYING) &&
           client->ops->ends_request(client, waits);
}

static enum step heed(struct client *client, bool waits)
{
    note_departure(client);
    if (client->departure == DEPARTURE_RESET)
        return abandon(client, SESSION_CLIENT_RESET);
    if (client->departure == DEPARTURE_LEFT && ends_request(client, waits))
        return abandon(client, SESSION_CLIENT_LEFT);
    return STEP_AGAIN;
}

enum step exchange_check_end(struct client *client)
{
    struct stream *stream = &client->session.client;
    bool waits = client->session.state == SESSION_WAITING;
    if (stream->broken && stream_error(stream) != 0)
        return exchange_finish(client, SESSION_CLIENT_RESET);
    if (stream->hangup && !client->client_ended) {
        enum stream_peek peek = stream_peek(stream);
        if (peek == PEEK_ERROR || (peek != PEEK_EOF && stream_error(stream) != 0))
            return exchange_finish(client, SESSION_CLIENT_RESET);
        client->client_ended = peek == PEEK_EOF;
    }
    if (!stream->hangup)
        return STEP_AGAIN;
    if (waits || (client->ops->traits(client) & CLIENT_IS_SENDING) == 0)
        return heed(client, waits);
    /* An end after a body that is still being read is found by reading. A unix socket does not show
     * it before. */
    if (!stream->local)
        note_departure(client);
    return STEP_AGAIN;
}

enum step exchange_check_queued(struct client *client)
{
    const struct session *session = &client->session;
    bool noticed = session->client.hangup && client->departure == DEPARTURE_NONE;
    return noticed && session_is_waiting(session) ? exchange_check_client(client) : STEP_AGAIN;
}

enum step exchange_check_unwatched(struct client *client)
{
    enum step step = heed(client, client->session.state == SESSION_WAITING);
    if (step == STEP_AGAIN)
        client->sees_end = true;
    return step;
}

void exchange_note_read(struct client *client)
{
    const struct stream *stream = &client->session.client;
    client->read_at = client->session.moved_at;
    client->sees_end = stream_is_watched(stream);
    if (client->sent_since_read && stream->hangup && client->departure == DEPARTURE_NONE)
        client->departure = DEPARTURE_HALF;
    client->sent_since_read = client->sent_since_read && !client->sees_end;
}

enum step exchange_check_granted(struct client *client)
{
    return silence(client) < DEPARTURE_HALF_CLOSE ? STEP_AGAIN : heed(client, true);
}

void exchange_note_watch(struct client *client)
{
    client->sees_end =
        client->sees_end || (!client->sent_since_read && silence(client) < DEPARTURE_HALF_CLOSE);
}

usec_t exchange_watch_after(const struct client *client)
{
    bool soon = client->session.state == SESSION_WAITING && client->session.client.local &&
                client->ops->ends_request(client, true);
    return soon ? DEPARTURE_HALF_CLOSE : EXCHANGE_WATCH_AFTER;
}
