/* SPDX-License-Identifier: ISC */
/* Local replies, retries, tunnels. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "http1/http1_compose.h"
#include "session/http/http_internal.h"
#include "session/http/proxy_status.h"

/* Seconds after which to retry when too many wait. */
#define RETRY_AFTER 1

static unsigned retry_after(const struct session *session)
{
    const struct failure *failure = session->access.failure;
    return failure != NULL && failure->retry_after > 0 ? failure->retry_after : RETRY_AFTER;
}

/* To be called while the connection that is to blame is still there. */
static void explain(const struct http_session *http, const struct proxy_cause *known,
                    const char *text, char value[PROXY_STATUS_MAX])
{
    const struct http_exchange *exchange = http_exchange_of(http);
    struct proxy_cause cause = *known;
    cause.failure = http->client.session.access.failure;
    if (exchange_is_leased(&http->client))
        cause.fault = stream_fault(http->client.session.allocation.stream);
    cause.response_started = exchange_response_started(&exchange->base);
    if (cause.response_started) {
        cause.response_status = exchange->response.status;
        cause.response_bad = exchange->response.bad_class;
    }
    proxy_status_format(value, &cause, text);
}

/* Composes the reply. 0, or -1 with ENOMEM. */
static int compose(struct http_session *http, unsigned status, const char *text,
                   const char *proxy_status)
{
    struct scratch scratch = http->client.session.context->worker.compose;
    struct http_exchange *exchange = http_exchange_of(http);
    const struct http1_local_reply reply = {
        .status = status,
        .text = text,
        .proxy_status = proxy_status,
        .head_only = exchange->request.method == HTTP1_HEAD,
        .retry_after = status == 503 ? retry_after(&http->client.session) : 0,
        .now = time(NULL),
    };
    ssize_t n = http1_compose_local_reply(scratch.data, scratch.size, &reply);
    return n < 0 ? -1 : buffer_append(&http->client.down, scratch.data, (size_t)n);
}

/* Logs why. A failed allocation has a line of its own, and clients' mistakes are their own affair.
 * The status is what the client has seen, or is to see. */
static void note_local_reply(const struct http_session *http, unsigned status, const char *text,
                             enum session_end end)
{
    const struct session *session = &http->client.session;
    const struct http_exchange *exchange = http_exchange_of(http);
    enum log_level level =
        end == SESSION_BAD_REQUEST || status == 408 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
    const struct repeat_key key = {
        .place = exchange_response_committed(&exchange->base) ? "cut short: " : "answered: ",
        .function = "",
        .number = exchange_response_committed(&exchange->base) ? exchange->status : (int)status,
        .text = text};
    char error[512];
    if (session->access.failure != NULL || !session_admit(session, level, &key))
        return;
    log_quote(error, sizeof(error), text, strlen(text));
    session_report(session, level, &key, "status=%d error=%s", key.number, error);
}

enum step http_cut(struct http_session *http, enum session_end end)
{
    if (http_exchange_of(http)->down_framing == HTTP1_UNTIL_CLOSE)
        return exchange_finish(&http->client, end);
    return exchange_cut(&http->client, end);
}

enum step http_local_reply(struct http_session *http, unsigned status, const char *text,
                           enum session_end end, enum pool_discard reason)
{
    struct session *session = &http->client.session;
    struct http_exchange *exchange = http_exchange_of(http);
    const struct proxy_cause cause = {.status = status, .end = end, .reason = reason};
    char proxy_status[PROXY_STATUS_MAX];
    note_local_reply(http, status, text, end);
    explain(http, &cause, text, proxy_status);
    if (exchange_is_leased(&http->client))
        pool_discard(&session->allocation, reason, true);
    if (exchange_response_committed(&exchange->base))
        return http_cut(http, end);
    if (exchange->base.down_stage == DOWN_COMPOSED) /* a header that was not sent */
        buffer_clear(&http->client.down);
    if (compose(http, status, text, proxy_status) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    session_count_local_reply(session);
    exchange->status = (uint16_t)status;
    exchange_set_down_stage(&exchange->base, DOWN_COMPOSED);
    return exchange_end(&http->client, end);
}

static unsigned failure_status(const struct failure *failure)
{
    switch (failure->number) {
    case ETIMEDOUT:
        return 504;
    case EAGAIN:
    case ECANCELED:
    case ESHUTDOWN:
        return 503;
    default:
        return failure_is_host_down(failure) ? 503 : 502;
    }
}

enum step http_local_reply_failure(struct http_session *http, const struct failure *failure)
{
    char text[sizeof(failure->text) + 32];
    snprintf(text, sizeof(text), "%s: %s", failure->function, failure->text);
    return http_local_reply(http, failure_status(failure), text, SESSION_ALLOC_FAILED,
                            DISCARD_NOT_REUSABLE);
}

enum step http_local_reply_no_tunnel(struct http_session *http)
{
    struct session *session = &http->client.session;
    struct failure failure = {.function = "allocate", .number = EAGAIN};
    snprintf(failure.text, sizeof(failure.text),
             "clients hold as many connections as allowed (max_tunnels = %u)",
             pool_get_limits(session->context->pool)->max_tunnels);
    if (exchange_is_leased(&http->client) && session->context->config->reuse != REUSE_NEVER)
        pool_release(&session->allocation, RELEASE_PEEK);
    session_set_failure(session, &failure);
    return http_local_reply_failure(http, &failure);
}

static enum step local_reply_unacked(struct http_session *http)
{
    char text[SESSION_UNACKED_MAX];
    return http_local_reply(http, 504, session_unacked_text(&http->client.session, text),
                            SESSION_UPSTREAM_RESET, DISCARD_UNACKED);
}

enum step http_upstream_failed(struct client *client, enum pool_discard reason)
{
    struct http_session *http = http_of_client(client);
    const struct session *session = &http->client.session;
    const char *tls = stream_failure(session->allocation.stream);
    if (tls[0] != '\0') { /* in TLS 1.3 a client's certificate is only rejected now */
        char text[sizeof(session->access.failure->text) + 32];
        snprintf(text, sizeof(text), "tls: %s", tls);
        return http_local_reply(http, 502, text, SESSION_UPSTREAM_RESET, reason);
    }
    switch (reason) {
    case DISCARD_UPSTREAM_CLOSED:
        return http_local_reply(http, 502, "the upstream closed the connection without an answer",
                                SESSION_UPSTREAM_CLOSED, reason);
    case DISCARD_UNREAD_DATA:
        return http_local_reply(http, 502, "the upstream sent something before the request",
                                SESSION_BAD_RESPONSE, reason);
    case DISCARD_UNACKED:
        return local_reply_unacked(http);
    default:
        return http_local_reply(http, 502, "the upstream reset the connection without an answer",
                                SESSION_UPSTREAM_RESET, reason);
    }
}

enum step http_unacked(struct client *client)
{
    if (exchange_response_started(client->exchange))
        return local_reply_unacked(http_of_client(client));
    return exchange_retry(client, DISCARD_UNACKED);
}
