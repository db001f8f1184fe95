/* SPDX-License-Identifier: ISC */
/* Sessions of http listeners: one client, whose exchanges follow one another. */
#include "session/http/http.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "session/http/http_internal.h"

/* Does the request continue during its response? Then neither may block the other. */
static bool is_two_way(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    return http->client.session.state == SESSION_RELAYING && http->client.tunnel == NULL &&
           exchange->response_stage != MESSAGE_HEAD && !exchange_up_failed(&exchange->base) &&
           !http_request_is_sent(exchange);
}

/* The response first, since it may make sending the rest of the request pointless. */
enum step http_relay(struct client *client)
{
    struct http_session *http = http_of_client(client);
    enum step down = http_relay_response(http);
    if (down == STEP_GONE || (down != STEP_BLOCKED && !is_two_way(http)))
        return down;
    enum step up = http_send_request(http);
    if (up == STEP_GONE || down == STEP_BLOCKED)
        return up;
    return up == STEP_YIELD ? up : down;
}

/* Between two requests nothing arrives on a connection with affinity but its end, and the state it
 * was kept for ends with it. The reason; POOL_DISCARD_COUNT: it has not ended. */
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

enum step http_read(struct client *client)
{
    struct http_session *http = http_of_client(client);
    enum pool_discard reason = affinity_end(http);
    if (reason == POOL_DISCARD_COUNT)
        return http_read_request(http);
    pool_discard(&client->session.allocation, reason, reason == DISCARD_UNREAD_DATA);
    return exchange_end_client(client);
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
        exchange_run(session);
}

static_assert(LOG_JSON_MAX(HTTP_LOG_TARGET_MAX) + 200 <= SESSION_FIELDS_MAX, "names and numbers");

static void http_log_fields(struct session *session, struct log_line *line)
{
    const struct http_exchange *exchange = http_exchange_of(http_of(session));
    if (exchange == NULL)
        return;
    if (exchange->base.first_byte_at != 0)
        LOG_FIELD_MS(line, "first_byte_ms",
                     exchange->base.sent_at != 0
                         ? exchange->base.first_byte_at - exchange->base.sent_at
                         : 0);
    if (exchange->status != 0)
        LOG_FIELD_NUMBER(line, "status", exchange->status);
    else
        LOG_FIELD_NONE(line, "status");
    if (exchange->method[0] != '\0')
        LOG_FIELD_WORD(line, "method", exchange->method);
    else
        LOG_FIELD_NONE(line, "method");
    if (exchange->target != NULL)
        LOG_FIELD_VALUE(line, "target", exchange->target, strlen(exchange->target));
    else
        LOG_FIELD_NONE(line, "target");
    if (exchange->base.tries > 0)
        LOG_FIELD_NUMBER(line, "retried", 1);
}

static void http_destroy(struct session *session)
{
    struct http_session *http = http_of(session);
    http_exchange_free(http);
    exchange_clear_client(&http->client);
}

static const char *class_name(unsigned class)
{
    static const char *const names[] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    return names[class];
}

static const struct metric metrics[] = {
    {.name = "request_retries",
     .log = "retries",
     .help = "Requests retried on another connection",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct http_counters, retries),
     .count = 1},
    {.name = "responses",
     .help = "Responses to clients, local replies too, by class of status",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct http_counters, responses),
     .label = "class",
     .count = ARRAY_LEN(((struct http_counters *)0)->responses),
     .value = class_name,
     .log = "answers_"},
};

static const struct metric_set http_metrics = {
    .prefix = "listener_", .metrics = metrics, .count = ARRAY_LEN(metrics)};

const struct protocol http_protocol = {
    .session_size = sizeof(struct http_session),
    .watches_late = true,
    .first_state = SESSION_READING,
    .listener_init = http_listener_init,
    .listener_free = http_listener_free,
    .start = http_start,
    .on_connection = http_on_connection,
    .run = exchange_run,
    .on_timeout = exchange_on_timeout,
    .on_unacked = exchange_on_unacked,
    .drain = exchange_on_drain,
    .conn_info = exchange_conn_info,
    .waits_for_client = exchange_waits_for_client,
    .log_fields = http_log_fields,
    .destroy = http_destroy,
    .metrics = &http_metrics,
    .counters_size = sizeof(struct http_counters),
};
