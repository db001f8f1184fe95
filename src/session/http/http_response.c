/* SPDX-License-Identifier: ISC */
/* From the upstream to the client. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http1/http1_compose.h"
#include "session/http/http_internal.h"

static enum step bad_response(struct http_session *http, const char *text)
{
    return http_local_reply(http, 502, text, SESSION_BAD_RESPONSE, DISCARD_PROTOCOL_ERROR);
}

/* How a connection that has delivered its response is given back; POOL_DISCARD_COUNT: released. */
static enum pool_discard verdict(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    const struct http1_head *head = &exchange->response;
    if (!http_request_is_sent(exchange))
        return DISCARD_EARLY_RESPONSE;
    if (exchange->base.unfit != POOL_DISCARD_COUNT)
        return exchange->base.unfit;
    if (head->framing == HTTP1_UNTIL_CLOSE)
        return DISCARD_UPSTREAM_CLOSED;
    if (!head->persistent)
        return DISCARD_NOT_REUSABLE;
    if (http->client.affinity) /* it stays with its client, as long as that stays */
        return http->client.last ? DISCARD_NOT_REUSABLE : POOL_DISCARD_COUNT;
    if (exchange->request.connection_auth) /* it may be logged in */
        return DISCARD_NOT_REUSABLE;
    /* With a hint of a second or less there is no time left to use it again. */
    if ((head->keep_alive_timeout >= 0 && head->keep_alive_timeout <= 1) ||
        http->client.session.context->config->reuse == REUSE_NEVER)
        return DISCARD_NOT_REUSABLE;
    return POOL_DISCARD_COUNT;
}

/* The response's last byte was read: the connection is released before the client has received
 * everything. */
static void end_response(struct http_session *http)
{
    struct session *session = &http->client.session;
    const struct http1_head *head = &http_exchange_of(http)->response;
    http->client.last |= http_exchange_of(http)->request_stage != MESSAGE_READ;
    enum pool_discard reason = verdict(http);
    if (reason != POOL_DISCARD_COUNT) {
        pool_discard(&session->allocation, reason,
                     reason == DISCARD_UNREAD_DATA || reason == DISCARD_EARLY_RESPONSE);
        http->client.last |= http->client.affinity;
    } else if (!http->client.affinity) {
        if (head->keep_alive_timeout > 1)
            pool_set_idle_hint(&session->allocation, (head->keep_alive_timeout - 1) * USEC_PER_SEC);
        pool_release(&session->allocation, RELEASE_DRAINED);
    }
    session->unacked_at = 0; /* no other client waits for a connection that the client keeps */
    session_set_state(session, SESSION_DRAINING);
}

static int append_last_chunk(struct http_session *http, const struct http1_head *trailer)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct scratch compose = http->client.session.context->worker.compose;
    if (exchange->down_framing != HTTP1_CHUNKED)
        return 0;
    if (trailer == NULL)
        return buffer_append(&http->client.down, HTTP1_LAST_CHUNK, sizeof(HTTP1_LAST_CHUNK) - 1);
    ssize_t n = http1_compose_last_chunk(compose.data, compose.size, trailer,
                                         buffer_data(&exchange->base.response_in));
    return n < 0 ? -1 : buffer_append(&http->client.down, compose.data, (size_t)n);
}

static void begin_response(struct http_exchange *exchange)
{
    const struct http1_request_info request_info = {
        .method = exchange->request.method,
        .upgrade = exchange->upgrade,
        .upgrade_left_out = exchange->request.upgrade_left_out,
    };
    http1_response_begin(&exchange->response, &request_info);
}

/* An interim response is passed on to a client that can understand it (RFC 9110 15.2). */
static int pass_interim(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct scratch compose = http->client.session.context->worker.compose;
    struct http1_head *head = &exchange->response;
    const struct http1_response_options options = {.framing = HTTP1_NO_BODY};
    exchange_set_down_stage(&exchange->base, DOWN_INTERIM);
    if (exchange->request.minor > 0) {
        ssize_t n = http1_compose_response(compose.data, compose.size, head,
                                           buffer_data(&exchange->base.response_in), &options);
        if (n < 0 || buffer_append(&http->client.down, compose.data, (size_t)n) < 0)
            return -1;
    }
    buffer_consume(&exchange->base.response_in, head->length);
    begin_response(exchange);
    if (buffer_length(&exchange->base.response_in) == 0) /* it is not the expected one */
        exchange->base.first_byte_at = 0;
    return 0;
}

/* Is a request read to its end, or may it be by the end of this response? One that is rejected, or
 * that was to be sent as a whole, may not. */
static bool may_be_read(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    return exchange->request_stage == MESSAGE_READ ||
           (!http->client.session.context->config->request_buffering &&
            exchange->response.status < 300);
}

/* Does the client's connection outlive this response? */
static bool client_persists(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    return exchange->request.persistent && may_be_read(http) &&
           exchange->down_framing != HTTP1_UNTIL_CLOSE &&
           (!http->client.client_ended || buffer_length(&http->client.in) > 0) &&
           (!http->client.affinity || exchange->response.persistent) &&
           !http->client.session.context->draining && !http->client.session.context->retiring;
}

static bool is_tunnel(const struct http1_head *head)
{
    return head->upgrade || (head->method == HTTP1_CONNECT && head->status / 100 == 2);
}

/* Composes the final response's header for the client. 0, or -1 with ENOMEM. */
static int compose_head(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct scratch compose = http->client.session.context->worker.compose;
    const struct http1_head *head = &exchange->response;
    exchange->status = head->status;
    /* Interim responses that were sent in part leave no room for another response. */
    exchange_set_down_stage(&exchange->base,
                            buffer_length(&http->client.down) > 0 ? DOWN_COMMITTED : DOWN_COMPOSED);
    exchange->down_framing = head->framing;
    /* A chunked body shows whether it is complete, and lets the client's connection stay open. */
    if (head->framing == HTTP1_CHUNKED || head->framing == HTTP1_UNTIL_CLOSE)
        exchange->down_framing = exchange->request.minor > 0 ? HTTP1_CHUNKED : HTTP1_UNTIL_CLOSE;
    struct http1_response_options options = {
        .framing = exchange->down_framing,
        .length = head->content_length,
        .now = time(NULL),
    };
    http->client.last = !client_persists(http);
    if (!is_tunnel(head)) {
        if (http->client.last)
            options.connection = HTTP1_SAY_CLOSE;
        else if (exchange->request.minor == 0)
            options.connection = HTTP1_SAY_KEEP_ALIVE;
    }
    ssize_t n = http1_compose_response(compose.data, compose.size, head,
                                       buffer_data(&exchange->base.response_in), &options);
    if (n < 0 || buffer_append(&http->client.down, compose.data, (size_t)n) < 0)
        return -1;
    buffer_consume(&exchange->base.response_in, head->length);
    return 0;
}

/* It is known now whether the client may keep the connection. If not, what was reserved for that is
 * returned, whatever else may follow. */
static void settle_hold(struct http_session *http)
{
    struct allocation *lease = &http->client.session.allocation;
    if (http->client.affinity || is_tunnel(&http_exchange_of(http)->response))
        pool_hold(lease);
    else if (http_may_hold(&http_exchange_of(http)->request))
        pool_unhold(lease);
}

/* However it continues, such a beginning is a status line of HTTP/1, and responds to something. */
static bool begins_as_response(const struct http_exchange *exchange)
{
    static const char name[] = "HTTP/1.";
    return buffer_length(&exchange->base.response_in) >= strlen(name) &&
           memcmp(buffer_data(&exchange->base.response_in), name, strlen(name)) == 0;
}

/* What is not a response, or a 408 that ends the connection (RFC 9110 15.5.9), may have been sent
 * before the request arrived, because the connection had been idle for too long. Its name, or
 * NULL. */
static const char *stray(const struct http_exchange *exchange, enum http1_result result)
{
    const struct http1_head *head = &exchange->response;
    if (exchange->base.down_stage == DOWN_INTERIM)
        return NULL;
    if (result == HTTP1_BAD)
        return begins_as_response(exchange) ? NULL : head->bad_text;
    return head->status == 408 && !head->persistent ? "408 (Request Timeout)" : NULL;
}

static enum step take_head(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct http1_head *head = &exchange->response;
    enum http1_result result = http1_head_parse(head, buffer_data(&exchange->base.response_in),
                                                buffer_length(&exchange->base.response_in));
    if (result == HTTP1_MORE)
        return STEP_BLOCKED;
    const char *what = stray(exchange, result);
    if (what != NULL && exchange_replay(&http->client, what))
        return STEP_AGAIN;
    if (result != HTTP1_DONE)
        return bad_response(http, head->bad_text);
    if (head->repaired)
        exchange_set_unfit(&exchange->base, DISCARD_PROTOCOL_ERROR);
    if (http1_head_is_interim(head))
        return pass_interim(http) < 0 ? exchange_finish(&http->client, SESSION_ERROR) : STEP_AGAIN;
    if (is_tunnel(head) && !http_request_is_sent(exchange))
        return bad_response(http,
                            "the upstream switched protocols before it had the whole request");
    /* NTLM and Negotiate log a connection in, in several exchanges, the last of which may say
     * nothing about it in its response. An offer is not a login, and any client can send
     * credentials. */
    http->client.affinity |= exchange->request.connection_auth && head->connection_auth;
    settle_hold(http);
    if (compose_head(http) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    if (is_tunnel(head)) {
        http_count_response(http);
        return exchange_open_tunnel(&http->client);
    }
    http1_body_begin(&exchange->response_body, head->kind, head->framing, head->content_length);
    bool empty = head->framing == HTTP1_NO_BODY ||
                 (head->framing == HTTP1_LENGTH && head->content_length == 0);
    exchange->response_stage = empty ? MESSAGE_READ : MESSAGE_BODY;
    return STEP_AGAIN;
}

/* Passes payload on to the client; what it does not take now is kept in `down`. */
static enum step pass_payload(struct http_session *http, const struct http_payload *payload)
{
    /* What a relay holds goes first: it holds something because the client takes nothing now. */
    assert(!relay_keeps(&http_exchange_of(http)->base.bulk_down) ||
           !http->client.session.client.writable);
    ssize_t n = http_pass(&http->client.session.client, &http->client.down, payload);
    if (n < 0)
        return exchange_finish(&http->client,
                               errno == ENOMEM ? SESSION_ERROR : SESSION_CLIENT_RESET);
    if (n > 0)
        exchange_wrote_down(&http->client, (size_t)n);
    return STEP_AGAIN;
}

/* Takes what is buffered of the body in `response_in`. */
static enum step take_body(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    char *data = buffer_data(&exchange->base.response_in);
    size_t length = buffer_length(&exchange->base.response_in), used, all = length;
    enum http1_result result = http_dechunk(&exchange->response_body, &data, &length, &used);
    if (result == HTTP1_BAD && !exchange_response_committed(&exchange->base))
        return bad_response(http, exchange->response_body.bad_text);
    const struct http_payload payload = {.chunked = exchange->down_framing == HTTP1_CHUNKED,
                                         .data = data,
                                         .length = length,
                                         .last = result == HTTP1_DONE};
    if (result == HTTP1_TRAILER) {
        exchange->response_stage = MESSAGE_TRAILER;
        http1_trailer_begin(&exchange->response_trailer);
    } else if (result == HTTP1_DONE) {
        if (used < all)
            exchange_set_unfit(&exchange->base, DISCARD_UNREAD_DATA);
        end_response(http); /* before the client's part: others may wait for the connection */
    }
    enum step step = pass_payload(http, &payload);
    if (step == STEP_AGAIN && result == HTTP1_BAD)
        return bad_response(http, exchange->response_body.bad_text);
    if (step == STEP_AGAIN)
        buffer_consume(&exchange->base.response_in, used);
    return step;
}

static enum step take_trailer(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct http1_head *trailer = &exchange->response_trailer;
    enum http1_result result = http1_head_parse(trailer, buffer_data(&exchange->base.response_in),
                                                buffer_length(&exchange->base.response_in));
    if (result == HTTP1_MORE)
        return STEP_BLOCKED;
    if (result != HTTP1_DONE)
        return bad_response(http, trailer->bad_text);
    if (append_last_chunk(http, trailer) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    buffer_consume(&exchange->base.response_in, trailer->length);
    exchange->response_stage = MESSAGE_READ;
    return STEP_AGAIN;
}

/* Takes what is buffered in `response_in`, once. STEP_BLOCKED: more must come. */
static enum step take(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    switch (exchange->response_stage) {
    case MESSAGE_HEAD:
        return take_head(http);
    case MESSAGE_BODY:
        return buffer_length(&exchange->base.response_in) > 0 ? take_body(http) : STEP_BLOCKED;
    case MESSAGE_TRAILER:
        return take_trailer(http);
    case MESSAGE_READ:
        break;
    }
    if (buffer_length(&exchange->base.response_in) > 0)
        exchange_set_unfit(&exchange->base, DISCARD_UNREAD_DATA);
    end_response(http);
    return STEP_AGAIN;
}

/* Takes bytes just read, which are in scratch memory. STEP_AGAIN: there may be more. */
static enum step take_all(struct http_session *http, char *data, size_t length)
{
    struct http_exchange *exchange = http_exchange_of(http);
    enum step step = STEP_AGAIN;
    if (buffer_length(&exchange->base.response_in) == 0)
        buffer_borrow(&exchange->base.response_in, data, length);
    else if (buffer_append(&exchange->base.response_in, data, length) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    while (step == STEP_AGAIN && http->client.session.state == SESSION_RELAYING &&
           http->client.tunnel == NULL)
        step = take(http);
    if (step == STEP_GONE)
        return STEP_GONE;
    if (http->client.session.state != SESSION_RELAYING)
        buffer_clear(&exchange->base.response_in); /* excess: only its existence matters */
    return STEP_AGAIN;
}

/* The upstream's connection has ended, in order or not. */
static enum step upstream_ended(struct http_session *http, bool in_order)
{
    struct http_exchange *exchange = http_exchange_of(http);
    in_order = in_order && exchange->base.up_stage != UP_RESET;
    enum pool_discard reason = in_order ? DISCARD_UPSTREAM_CLOSED : DISCARD_UPSTREAM_ERROR;
    if (!exchange_response_started(&exchange->base))
        return exchange_retry(&http->client, reason);
    if (in_order && exchange->response_stage == MESSAGE_BODY &&
        http1_body_whole_at_close(&exchange->response_body)) {
        if (append_last_chunk(http, NULL) < 0)
            return exchange_finish(&http->client, SESSION_ERROR);
        end_response(http);
        return STEP_AGAIN;
    }
    char text[256] = "the upstream closed the connection in the middle of its answer";
    const char *tls = stream_failure(http->client.session.allocation.stream);
    if (*tls != '\0')
        snprintf(text, sizeof(text), "tls: in the middle of the answer: %s", tls);
    return http_local_reply(http, 502, text,
                            in_order ? SESSION_UPSTREAM_CLOSED : SESSION_UPSTREAM_RESET, reason);
}

static bool is_bulk(struct http_session *http, struct exchange_bulk *bulk)
{
    struct http_exchange *exchange = http_exchange_of(http);
    *bulk = (struct exchange_bulk){.relay = &exchange->base.bulk_down,
                                   .rest = http1_body_rest(&exchange->response_body),
                                   .from = http->client.session.allocation.stream,
                                   .to = &http->client.session.client};
    return exchange->response_stage == MESSAGE_BODY && exchange->down_framing == HTTP1_LENGTH &&
           exchange_is_bulk(bulk->relay, bulk->rest);
}

static enum step relay_bulk(struct http_session *http, const struct exchange_bulk *bulk)
{
    struct relay *relay = bulk->relay;
    uint64_t before = relay->moved;
    if (buffer_length(&http->client.down) > 0)
        return STEP_BLOCKED;
    enum relay_result result = http_move_bulk(http, bulk, &http_exchange_of(http)->response_body);
    if (relay->moved != before)
        exchange_wrote_down(&http->client, relay->moved - before);
    if (result == RELAY_READ_FAILED || relay->from_ended)
        return upstream_ended(http, relay->from_ended);
    if (result == RELAY_WRITE_FAILED)
        return exchange_finish(&http->client, SESSION_CLIENT_RESET);
    if (result == RELAY_NO_MEMORY)
        return exchange_finish(&http->client, SESSION_ERROR);
    return exchange_after_bulk(relay, result);
}

/* How much is worth reading now: 0 when the buffers are nearly full. */
static size_t read_size(const struct http_session *http)
{
    size_t size = exchange_read_max(&http->client), held = buffer_length(&http->client.down);
    if (held > EXCHANGE_DOWN_MAX - EXCHANGE_DOWN_STEP)
        return 0;
    return size < EXCHANGE_DOWN_MAX - held ? size : EXCHANGE_DOWN_MAX - held;
}

enum step http_relay_response(struct http_session *http)
{
    struct exchange_bulk bulk;
    struct http_exchange *exchange = http_exchange_of(http);
    struct stream *upstream = http->client.session.allocation.stream;
    struct scratch scratch = http->client.session.context->worker.scratch;
    if (exchange_flush(&http->client) == STEP_GONE)
        return STEP_GONE;
    if (is_bulk(http, &bulk))
        return relay_bulk(http, &bulk);
    size_t size = read_size(http);
    if (!upstream->readable || size == 0)
        return STEP_BLOCKED;
    if (exchange_own_buffers(&http->client) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    ssize_t n = stream_read(upstream, scratch.data, size);
    if (n < 0 && errno == EAGAIN)
        return STEP_BLOCKED;
    if (n <= 0)
        return upstream_ended(http, n == 0);
    if (exchange->base.sent_at == 0 &&
        (http->client.session.allocation.reused || http->client.affinity))
        return exchange_retry(&http->client, DISCARD_UNREAD_DATA); /* about another request */
    exchange_took(&http->client, (size_t)n);
    if (exchange->base.first_byte_at == 0)
        exchange->base.first_byte_at = http->client.session.moved_at;
    if (!exchange_response_started(&exchange->base)) {
        exchange_set_down_stage(&exchange->base, DOWN_STARTED);
        begin_response(exchange);
    }
    return take_all(http, scratch.data, (size_t)n);
}
