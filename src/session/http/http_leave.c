/* Whether a client whose request is under way has left, and what abort_on_close says to that. */
#include "session/http/http_internal.h"

static usec_t silence(const struct http_session *http)
{
    return loop_now(http->session.context->worker.loop) - http->read_at;
}

/* What the client's end means, if it has come. Of a unix socket the kernel tells no times, and
 * after an answer not those that count: then an end is late if it came just now, a while behind the
 * last byte. */
static enum departure departure_of(struct http_session *http)
{
    struct stream *client = &http->session.client;
    enum departure departure = DEPARTURE_NONE;
    if (!client->local && departure_ask(client->fd, http->answered, &departure) == 0)
        return departure == DEPARTURE_LEFT && http->answered && !http->sees_end ? DEPARTURE_HALF
                                                                                : departure;
    switch (stream_look(client)) {
    case LOOK_ERROR:
        return DEPARTURE_RESET;
    case LOOK_EOF:
        break;
    case LOOK_DATA:
    case LOOK_QUIET:
        return DEPARTURE_NONE;
    }
    bool late = http->sees_end && silence(http) >= DEPARTURE_HALF_CLOSE;
    return late ? DEPARTURE_LEFT : DEPARTURE_HALF;
}

/* Does its end, unless it is a half-close, end a request that waits, or one that does not? */
static bool ends_request(const struct http_session *http, bool waits)
{
    switch (http->session.context->config->abort_on_close) {
    case ABORT_QUEUED:
        return waits;
    case ABORT_ALWAYS:
        return waits || http->session.state == SESSION_RELAYING;
    case ABORT_NEVER:
        break;
    }
    return false;
}

/* A connection on which nothing was sent goes back as it came, unless it is this client's. One that
 * may still read sees an end in order, but no part of a response that could be taken for whole. */
static enum step abandon(struct http_session *http, enum session_end end)
{
    struct session *session = &http->session;
    const struct exchange *exchange = http->exchange;
    bool reusable = session->context->config->reuse != REUSE_NEVER && !http->affinity;
    if (http_is_leased(http) && exchange->sent_at == 0 && reusable)
        pool_release(&session->allocation);
    else if (http_is_leased(http))
        pool_discard(&session->allocation, DISCARD_CLIENT_ABORT, exchange->sent_at != 0);
    if (end == SESSION_CLIENT_RESET || http_response_committed(exchange))
        return http_finish(http, end);
    session_log(session, end);
    return http_finish(http, SESSION_COMPLETE);
}

/* What an end means is found out once, when it is noticed: later the kernel may not know any more.
 */
static void note_departure(struct http_session *http)
{
    if (http->departure == DEPARTURE_NONE)
        http->departure = departure_of(http);
}

static enum step heed(struct http_session *http, bool waits)
{
    note_departure(http);
    if (http->departure == DEPARTURE_RESET)
        return abandon(http, SESSION_CLIENT_RESET);
    if (http->departure == DEPARTURE_LEFT && ends_request(http, waits))
        return abandon(http, SESSION_CLIENT_LEFT);
    return STEP_AGAIN;
}

enum step http_check_client(struct http_session *http)
{
    struct stream *client = &http->session.client;
    bool waits = http->session.state == SESSION_WAITING;
    if (client->broken && stream_error(client) != 0)
        return http_finish(http, SESSION_CLIENT_RESET);
    if (client->hangup && !http->client_ended) {
        enum stream_look look = stream_look(client);
        if (look == LOOK_ERROR || (look != LOOK_EOF && stream_error(client) != 0))
            return http_finish(http, SESSION_CLIENT_RESET);
        http->client_ended = look == LOOK_EOF;
    }
    if (!client->hangup)
        return STEP_AGAIN;
    if (waits || http->exchange->request_stage == MESSAGE_READ)
        return heed(http, waits);
    /* An end behind a body that is still read is met by who reads it. A unix socket does not show
     * it before. */
    if (!client->local)
        note_departure(http);
    return STEP_AGAIN;
}

enum step http_check_unwatched(struct http_session *http)
{
    enum step step = heed(http, http->session.state == SESSION_WAITING);
    if (step == STEP_AGAIN)
        http->sees_end = true;
    return step;
}

void http_note_read(struct http_session *http)
{
    const struct stream *client = &http->session.client;
    http->read_at = http->session.moved_at;
    http->sees_end = stream_is_watched(client);
    if (http->answered && client->hangup && http->departure == DEPARTURE_NONE)
        http->departure = DEPARTURE_HALF;
    http->answered = http->answered && !http->sees_end;
}

enum step http_check_granted(struct http_session *http)
{
    return silence(http) < DEPARTURE_HALF_CLOSE ? STEP_AGAIN : heed(http, true);
}

void http_note_watch(struct http_session *http)
{
    http->sees_end = http->sees_end || (!http->answered && silence(http) < DEPARTURE_HALF_CLOSE);
}

usec_t http_watch_after(const struct http_session *http)
{
    bool soon = http->session.state == SESSION_WAITING && http->session.client.local &&
                ends_request(http, true);
    return soon ? DEPARTURE_HALF_CLOSE : HTTP_WATCH_AFTER;
}
