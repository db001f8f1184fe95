/* The end of an exchange, and of a client: by none of it an answer may be lost. */
#include "session/http/http_internal.h"

#include <errno.h>

static void close_exchange(struct http_session *http)
{
    if (http->exchange->down_stage != DOWN_CUT)
        http_count_answer(http);
    session_log(&http->session, http->end);
    http->served = true;
    http_exchange_free(http);
}

enum step http_end_exchange(struct http_session *http, enum session_end end)
{
    http->end = end;
    http->last = true;
    http->session.limit_at = 0;
    http_moved(http); /* the client has its time to take what stands */
    session_set_state(&http->session, SESSION_DRAINING);
    return STEP_AGAIN;
}

enum step http_cut(struct http_session *http, enum session_end end)
{
    struct exchange *exchange = http->exchange;
    if (exchange->down_framing == HTTP1_UNTIL_CLOSE)
        return http_finish(http, end);
    http_set_down_stage(exchange, DOWN_CUT);
    buffer_clear(&exchange->answer);
    return http_end_exchange(http, end);
}

/* The client is idle, and so is the connection, if it has one: then that one's time rules, which
 * the next request does not lengthen. */
static void begin_idle_time(struct http_session *http)
{
    const struct listener_context *context = http->session.context;
    const struct config_listener *config = context->config;
    bool leased = http_is_leased(http);
    usec_t timeout = leased ? config->affinity_timeout : config->client_keep_alive;
    usec_t until = timeout > 0 ? loop_now(context->worker.loop) + timeout : 0;
    http->affinity_until = leased ? until : 0;
    http_limit_reading(http, until);
}

enum step http_drain_step(struct http_session *http)
{
    enum step step = http_flush(http);
    if (step != STEP_AGAIN)
        return step;
    if (http->last)
        return http_end_client(http);
    close_exchange(http);
    session_set_state(&http->session, SESSION_READING);
    begin_idle_time(http);
    return STEP_AGAIN;
}

/* Would it be no surprise if the client sent another request? */
static bool may_go_on(const struct http_session *http)
{
    return http->exchange == NULL ? http->served : http->exchange->request.persistent;
}

static bool has_body(const struct http_session *http)
{
    return http->exchange != NULL && http->exchange->request.framing != HTTP1_NO_BODY;
}

/* Is the client known to send, or to have sent, more than was read? */
static bool is_sending(struct http_session *http)
{
    struct stream *client = &http->session.client;
    const struct exchange *exchange = http->exchange;
    if (buffer_length(&http->in) > 0)
        return true;
    if (exchange != NULL && exchange->request_stage != MESSAGE_READ)
        return true;
    /* A read that got all it had asked for does not tell. Nor would an event where the client is
     * not watched: it may have sent its next request, or the CRLF that old ones send behind a body
     * (RFC 9112 2.2). */
    bool may_send = has_body(http) || may_go_on(http);
    bool unsure = client->readable || (!stream_is_watched(client) && may_send);
    return unsure && stream_look(client) == LOOK_DATA;
}

/* Could the client, by what it still sends, lose some of what it was sent? One that is not expected
 * to go on can send as well: an empty line, or what nobody understands. A short answer to a request
 * without a body went out at once, and nothing is asked about it. */
static bool may_lose(const struct http_session *http)
{
    return may_go_on(http) || has_body(http) || http->told_much ||
           http->session.client.watches_room;
}

/* How long a client lingers; one that sends nothing only until it is seen to have all. 0, or -1
 * with ENOMEM. */
static int set_linger_limit(struct http_session *http, bool sending)
{
    struct session *session = &http->session;
    usec_t look_at = loop_now(session->context->worker.loop) + HTTP_LINGER_LOOK;
    bool looks = !sending && look_at < http->linger_until;
    session->limit_at = looks ? look_at : http->linger_until;
    return session_start_timer(session);
}

static enum step begin_to_linger(struct http_session *http, bool sending)
{
    struct session *session = &http->session;
    usec_t idle_timeout = session->context->config->idle_timeout;
    bool is_shorter = idle_timeout > 0 && idle_timeout < HTTP_LINGER;
    stream_end_write(&session->client);
    session_set_state(session, SESSION_LINGERING);
    buffer_clear(&http->in);
    http_moved(http);
    http->linger_until = session->moved_at + (is_shorter ? idle_timeout : HTTP_LINGER);
    http->linger_left = HTTP_LINGER_MAX;
    return set_linger_limit(http, sending) < 0 ? http_finish(http, SESSION_COMPLETE) : STEP_AGAIN;
}

/* What the client has sent and nobody has read makes the kernel reset the connection when it is
 * closed, and what comes later does so as well; a reset destroys what the client's kernel does not
 * have yet, and on some systems what the client has not read (RFC 9112 9.6). */
enum step http_end_client(struct http_session *http)
{
    struct session *session = &http->session;
    bool sending = !http->client_ended && is_sending(http);
    bool lingers = sending || (!http->client_ended && may_lose(http) &&
                               !stream_is_delivered(&session->client));
    if (http_is_leased(http))
        pool_discard(&session->allocation, DISCARD_NOT_REUSABLE, false);
    if (http->exchange != NULL)
        close_exchange(http);
    return lingers ? begin_to_linger(http, sending) : http_finish(http, SESSION_COMPLETE);
}

enum step http_linger_step(struct http_session *http)
{
    struct session *session = &http->session;
    struct scratch scratch = session->context->worker.scratch;
    if (!session->client.readable)
        return STEP_BLOCKED;
    /* Nothing is lent any more. */
    ssize_t n = stream_read(&session->client, scratch.data, http_read_max(http));
    if (n < 0 && errno == EAGAIN)
        return STEP_BLOCKED;
    if (n <= 0 || (size_t)n >= http->linger_left)
        return http_finish(http, SESSION_COMPLETE);
    http->taken += (uint32_t)n;
    http->linger_left -= (uint32_t)n;
    session->limit_at = http->linger_until;
    return STEP_AGAIN;
}

enum step http_linger_timed_out(struct http_session *http)
{
    const struct session *session = &http->session;
    if (http->linger_until <= loop_now(session->context->worker.loop) ||
        stream_is_delivered(&session->client) || set_linger_limit(http, false) < 0)
        return http_finish(http, SESSION_COMPLETE);
    return STEP_AGAIN;
}
