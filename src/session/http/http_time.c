/* SPDX-License-Identifier: ISC */
/* Time limits, and what is reported when one has passed. */
#include "session/http/http_internal.h"

#include <stdio.h>

void http_limit_header(struct http_session *http, usec_t from)
{
    usec_t header_timeout = http->client.session.context->config->header_timeout;
    exchange_limit_reading(&http->client, header_timeout > 0 ? from + header_timeout : 0);
}

/* The upstream has the whole request, and has sent nothing of a response since, nor since the last
 * interim one. */
static bool awaits_response(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    return http->client.session.state == SESSION_RELAYING &&
           exchange->response_stage == MESSAGE_HEAD &&
           buffer_length(&exchange->base.response_in) == 0 && http_request_is_sent(exchange);
}

usec_t http_quiet_max(const struct client *client)
{
    const struct http_session *http = container_of_const(client, struct http_session, client);
    const struct config_listener *config = client->session.context->config;
    if (config->response_timeout == config->idle_timeout)
        return config->idle_timeout;
    return awaits_response(http) ? config->response_timeout : config->idle_timeout;
}

/* Nothing has begun that would need a response. */
static bool is_between_requests(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    return exchange == NULL ||
           (exchange->request_stage == MESSAGE_HEAD && !http1_head_started(&exchange->request));
}

/* A client without a request ends in order, and nothing is logged. If it has a connection, the time
 * of either may have passed: neither is of use without the other. */
static enum step end_between_requests(struct http_session *http)
{
    http->client.session.access.open = false;
    if (exchange_is_leased(&http->client))
        pool_discard(&http->client.session.allocation, DISCARD_IDLE_TIMEOUT, false);
    http_exchange_free(http);
    buffer_clear(&http->client.in);
    return exchange_end_client(&http->client);
}

/* Says what did not happen within which limit. */
static enum step local_reply_late(struct http_session *http, unsigned status, const char *what,
                                  const char *key, usec_t limit)
{
    char text[128], length[LOG_LIMIT_MAX];
    snprintf(text, sizeof(text), "%s within %s=%s", what, key, log_limit(length, limit));
    return http_local_reply(http, status, text, SESSION_IDLE_TIMEOUT,
                            status == 408 ? DISCARD_CLIENT_ABORT : DISCARD_IDLE_TIMEOUT);
}

/* The client did not continue its request. */
static enum step local_reply_late_request(struct http_session *http)
{
    const struct config_listener *config = http->client.session.context->config;
    return local_reply_late(http, 408, "no more of the request arrived", "idle_timeout",
                            config->idle_timeout);
}

static enum step reading_is_over(struct http_session *http)
{
    const struct session *session = &http->client.session;
    const struct config_listener *config = session->context->config;
    if (session->limit_at == 0 || session->limit_at > loop_now(session->context->worker.loop))
        return local_reply_late_request(http);
    if (session->limit_at == http->client.affinity_until)
        return local_reply_late(http, 408, "the request was not complete", "affinity_timeout",
                                config->affinity_timeout);
    return local_reply_late(http, 408, "the header was not complete", "header_timeout",
                            config->header_timeout);
}

/* The cause is the side that was to send, or to receive, next. */
static enum step relaying_is_over(struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    const struct config_listener *config = http->client.session.context->config;
    if (awaits_response(http))
        return local_reply_late(http, 504, "the upstream did not begin its response",
                                "response_timeout", config->response_timeout);
    if (exchange->response_stage != MESSAGE_HEAD || buffer_length(&exchange->base.response_in) > 0)
        return local_reply_late(http, 504, "no more of the response arrived", "idle_timeout",
                                config->idle_timeout);
    if (exchange->request_stage == MESSAGE_READ || !exchange_is_sent(&exchange->base))
        return local_reply_late(http, 504, "the upstream accepted no more of the request",
                                "idle_timeout", config->idle_timeout);
    return local_reply_late_request(http);
}

enum step http_time_is_over(struct client *client)
{
    struct http_session *http = http_of_client(client);
    if (is_between_requests(http))
        return end_between_requests(http);
    /* If something is buffered for the client, it is the client that does not read. */
    if (client->session.state == SESSION_DRAINING || exchange_has_down(client))
        return exchange_finish(client, SESSION_IDLE_TIMEOUT);
    return client->session.state == SESSION_READING ? reading_is_over(http)
                                                    : relaying_is_over(http);
}
