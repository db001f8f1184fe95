/* Sessions of http listeners: one client, whose exchanges follow one another. */
#include "session/http/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "session/http/http_internal.h"

/* Steps of one run at most. */
#define STEPS_MAX 32

/* Does the request go on while its response does? Then neither may keep the other waiting. */
static bool is_two_way(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    return http->client.session.state == SESSION_RELAYING && http->tunnel == NULL &&
           exchange->response_stage != MESSAGE_HEAD && !exchange_up_failed(&exchange->base) &&
           !http_request_is_sent(exchange);
}

/* RELAYING: the response first, for it may make sending the rest of the request pointless. */
static enum step relay_step(struct http_session *http)
{
    if (http->tunnel != NULL) {
        duplex_work(&http->client.session, http->tunnel, false);
        return STEP_DONE;
    }
    enum step down = http_relay_response(http);
    if (down == STEP_GONE || (down != STEP_BLOCKED && !is_two_way(http)))
        return down;
    enum step up = http_send_request(http);
    if (up == STEP_GONE || down == STEP_BLOCKED)
        return up;
    return up == STEP_YIELD ? up : down;
}

/* Between two requests nothing comes on a connection with affinity but its end, and what it was
 * for ends with it. Why; POOL_DISCARD_COUNT: it has not ended. */
static enum pool_discard affinity_end(const struct http_session *http)
{
    struct stream *upstream = http->client.session.allocation.stream;
    if (http->client.exchange != NULL || !exchange_is_leased(&http->client) || !upstream->readable)
        return POOL_DISCARD_COUNT;
    switch (stream_peek(upstream)) {
    case PEEK_DATA:
        return DISCARD_UNREAD_DATA;
    case PEEK_EOF:
        return DISCARD_UPSTREAM_CLOSED;
    case PEEK_ERROR:
        return DISCARD_UPSTREAM_ERROR;
    case PEEK_QUIET:
        break;
    }
    return POOL_DISCARD_COUNT;
}

static enum step reading_step(struct http_session *http)
{
    enum pool_discard reason = affinity_end(http);
    if (reason == POOL_DISCARD_COUNT)
        return http_read_request(http);
    pool_discard(&http->client.session.allocation, reason, reason == DISCARD_UNREAD_DATA);
    return exchange_end_client(&http->client);
}

static enum step next_step(struct http_session *http)
{
    enum session_state state = http->client.session.state;
    if (state == SESSION_READING)
        return reading_step(http);
    if (state == SESSION_LINGERING)
        return exchange_linger_step(&http->client);
    if (http->tunnel == NULL && exchange_check_client(&http->client) == STEP_GONE)
        return STEP_GONE;
    switch (state) {
    case SESSION_RELAYING:
        return relay_step(http);
    case SESSION_DRAINING:
        return http->tunnel != NULL ? relay_step(http) : exchange_drain_step(&http->client);
    case SESSION_READING:
    case SESSION_WAITING:
    case SESSION_LINGERING:
    case SESSION_CLOSED:
    case SESSION_STATES:
        break;
    }
    return STEP_BLOCKED;
}

/* Does the next step depend on the client? */
static bool needs_client(const struct http_session *http)
{
    bool ends = http->client.session.context->config->abort_on_close == ABORT_ALWAYS;
    switch (http->client.session.state) {
    case SESSION_WAITING:
        return ends;
    case SESSION_RELAYING:
        return ends || http->tunnel != NULL ||
               http_exchange_of(http)->request_stage != MESSAGE_READ ||
               exchange_has_down(&http->client);
    case SESSION_READING:
    case SESSION_DRAINING:
    case SESSION_LINGERING:
    case SESSION_CLOSED:
    case SESSION_STATES:
        break;
    }
    return true;
}

/* Makes sure that somebody comes back to this session. A client on which nothing depends is
 * watched only when the wait takes long, to notice that it left: of a one-shot client's exchange
 * nothing may be left by then. 0, or -1 with errno. */
static int wait_for_more(struct http_session *http)
{
    struct session *session = &http->client.session;
    session->quiet_max = http_quiet_max(http);
    if (needs_client(http)) {
        if (!stream_is_watched(&session->client))
            exchange_note_watch(&http->client);
        if (session_watch_client(session) < 0)
            return -1;
    } else if (!stream_is_watched(&session->client) && session->limit_at == 0) {
        http->client.watch_at =
            loop_now(session->context->worker.loop) + exchange_watch_after(&http->client);
        session->limit_at = http->client.watch_at;
    }
    return session_start_timer(session);
}

/* All that is over is the time without a watch on the client, which may have one by now. */
static bool watch_is_due(const struct http_session *http)
{
    usec_t limit = http->client.session.limit_at;
    bool may_watch = http->client.session.state != SESSION_READING &&
                     http->client.session.state != SESSION_LINGERING;
    return may_watch && limit != 0 && limit == http->client.watch_at &&
           limit <= loop_now(http->client.session.context->worker.loop);
}

static void http_run(struct session *session)
{
    struct http_session *http = http_of(session);
    enum step step = STEP_AGAIN;
    http->client.taken = 0;
    for (int i = 0; step == STEP_AGAIN && i < STEPS_MAX && http->client.taken < EXCHANGE_PIECE; i++)
        step = next_step(http);
    if (step == STEP_GONE || step == STEP_DONE)
        return;
    if (exchange_own_buffers(&http->client) < 0 ||
        (step == STEP_BLOCKED && wait_for_more(http) < 0))
        session_finish(session, SESSION_ERROR);
    else
        session_pause(session, http->client.taken, step != STEP_BLOCKED);
}

static void http_start(struct session *session)
{
    http_of(session)->client.ops = &http_exchange_protocol;
    http_of(session)->client.read_at = session->access.started;
    http_limit_header(http_of(session), session->access.started);
    session_wake(session);
}

static void http_on_connection(struct session *session, const struct failure *failure)
{
    struct http_session *http = http_of(session);
    enum step step = STEP_AGAIN;
    if (failure != NULL)
        step = http_local_reply_failure(http, failure);
    else if (exchange_check_granted(&http->client) == STEP_GONE)
        step = STEP_GONE;
    else if (http_may_hold(&http_exchange_of(http)->request) &&
             !pool_reserve_hold(&session->allocation))
        step = http_local_reply_no_tunnel(http);
    if (step != STEP_GONE)
        http_run(session);
}

static void http_on_timeout(struct session *session)
{
    struct http_session *http = http_of(session);
    if (watch_is_due(http)) {
        session->limit_at = 0;
        if (exchange_check_unwatched(&http->client) == STEP_GONE)
            return;
        if (session_watch_client(session) < 0 || session_start_timer(session) < 0)
            session_finish(session, SESSION_ERROR);
        return;
    }
    enum step step = http_time_is_over(http);
    if (step != STEP_GONE && step != STEP_DONE)
        http_run(session);
}

static void http_on_unacked(struct session *session)
{
    struct http_session *http = http_of(session);
    if (http->tunnel != NULL)
        duplex_unacked(session, http->tunnel);
    else if (http_unacked(http) != STEP_GONE)
        http_run(session);
}

static void http_drain(struct session *session)
{
    struct http_session *http = http_of(session);
    if (session->state != SESSION_READING || http->client.exchange != NULL)
        return;
    /* A client that has just come has its request on the way. */
    usec_t until = loop_now(session->context->worker.loop) + HTTP_DRAIN_GRACE;
    if (session->limit_at == 0 || until < session->limit_at)
        session->limit_at = until;
    bool waits = !http->client.served && session_start_timer(session) == 0;
    if (!waits && exchange_end_client(&http->client) != STEP_GONE)
        http_run(session);
}

static struct conn_info *http_conn_info(struct session *session)
{
    struct http_exchange *exchange = http_exchange_of(http_of(session));
    return exchange != NULL ? &exchange->base.conn : NULL;
}

static void http_log_fields(struct session *session, struct log_line *line)
{
    const struct http_exchange *exchange = http_exchange_of(http_of(session));
    if (exchange == NULL)
        return;
    if (exchange->base.first_byte_at != 0) {
        LOG_LINE_PUT(line, " first_byte_ms=");
        log_line_ms(line, exchange->base.sent_at != 0
                              ? exchange->base.first_byte_at - exchange->base.sent_at
                              : 0);
    }
    LOG_LINE_PUT(line, " status=");
    if (exchange->status != 0)
        log_line_number(line, exchange->status);
    else
        LOG_LINE_PUT(line, "-");
    LOG_LINE_PUT(line, " method=");
    log_line_text(line, exchange->method[0] != '\0' ? exchange->method : "-");
    LOG_LINE_PUT(line, " target=");
    const char *target = exchange->target != NULL ? exchange->target : "-";
    log_line_value(line, target, strlen(target));
    if (exchange->base.tries > 0)
        LOG_LINE_PUT(line, " retried=1");
}

static void http_destroy(struct session *session)
{
    struct http_session *http = http_of(session);
    http_exchange_free(http);
    buffer_clear(&http->client.in);
    buffer_clear(&http->client.down);
    if (http->tunnel != NULL)
        duplex_clear(http->tunnel);
    free(http->tunnel);
}

static size_t http_stats(const struct listener_context *context, char *text, size_t size)
{
    const struct http_listener *listener = context->of_protocol;
    size_t n = (size_t)snprintf(text, size, " retries=%" PRIu64, listener->retries);
    for (size_t class = 1; class < ARRAY_LEN(listener->responses); class ++)
        n += (size_t)snprintf(text + n, size - n, " answers_%zuxx=%" PRIu64, class,
                              listener->responses[class]);
    n += (size_t)snprintf(text + n, size - n, " answers_other=%" PRIu64, listener->responses[0]);
    return n;
}

const struct protocol http_protocol = {
    .session_size = sizeof(struct http_session),
    .watches_late = true,
    .first_state = SESSION_READING,
    .listener_init = http_listener_init,
    .listener_free = http_listener_free,
    .start = http_start,
    .on_connection = http_on_connection,
    .run = http_run,
    .on_timeout = http_on_timeout,
    .on_unacked = http_on_unacked,
    .drain = http_drain,
    .conn_info = http_conn_info,
    .log_fields = http_log_fields,
    .destroy = http_destroy,
    .stats = http_stats,
};
