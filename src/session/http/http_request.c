/* SPDX-License-Identifier: ISC */
/* From the client to the upstream. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "http1/http1_compose.h"
#include "net/address.h"
#include "session/http/http_internal.h"

/* The size of the first read of a request. */
#define FIRST_READ (16 * 1024)

/* The client ended where more of a request was due. Between two requests it may. In mid-exchange it
 * may still read what there is of its response, and of earlier ones. */
static enum step client_left(struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    http->client.client_ended = true;
    if (http->client.session.state == SESSION_RELAYING) {
        pool_discard(&http->client.session.allocation, DISCARD_CLIENT_ABORT, true);
        return http_cut(http, SESSION_CLIENT_RESET);
    }
    if (exchange != NULL && exchange->request_stage == MESSAGE_HEAD &&
        !http1_head_started(&exchange->request))
        http->client.session.access.open = false;
    session_log(&http->client.session, SESSION_CLIENT_LEFT);
    return exchange_finish(&http->client, SESSION_COMPLETE);
}

/* Reads once from the client; *length is how much. STEP_AGAIN: something came; or nothing did, and
 * the exchange ends early. */
static enum step read_client(struct http_session *http, char *data, size_t size, size_t *length)
{
    struct stream *client = &http->client.session.client;
    *length = 0;
    if (!client->readable && !http->client.client_ended)
        return STEP_BLOCKED;
    ssize_t n = http->client.client_ended ? 0 : stream_read(client, data, size);
    if (n < 0)
        return errno == EAGAIN ? STEP_BLOCKED
                               : exchange_finish(&http->client, SESSION_CLIENT_RESET);
    if (n == 0)
        return client_left(http);
    exchange_took(&http->client, (size_t)n);
    exchange_note_read(&http->client);
    *length = (size_t)n;
    return STEP_AGAIN;
}

/* How much to read of what is parsed. For a request no more than a header usually needs: a body
 * that came with it would be copied. */
static size_t fill_size(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    size_t size = exchange_read_max(&http->client), room = size;
    if (http->client.session.state == SESSION_READING)
        room = FIRST_READ;
    else if (exchange->base.replayable && exchange_up_length(&exchange->base) < EXCHANGE_AHEAD_MAX)
        room = EXCHANGE_AHEAD_MAX - exchange_up_length(&exchange->base);
    return size < room ? size : room;
}

static enum step fill(struct http_session *http)
{
    struct scratch scratch = http->client.session.context->worker.scratch;
    size_t size = fill_size(http), length;
    if (exchange_own_buffers(&http->client) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    enum step step = read_client(http, scratch.data, size, &length);
    if (step != STEP_AGAIN || length == 0)
        return step;
    if (buffer_length(&http->client.in) == 0)
        buffer_borrow(&http->client.in, scratch.data, length);
    else if (buffer_append(&http->client.in, scratch.data, length) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    return STEP_AGAIN;
}

static enum step refuse(struct http_session *http, unsigned status, const char *text)
{
    return http_local_reply(http, status, text, SESSION_BAD_REQUEST, DISCARD_CLIENT_ABORT);
}

/* What the access log shows of the request line. */
static void note_request_line(struct http_exchange *exchange, const char *data)
{
    const struct http1_head *head = &exchange->request;
    size_t length = head->method_text.length;
    if (!log_access_enabled() || length == 0)
        return;
    if (length > sizeof(exchange->method) - 1)
        length = sizeof(exchange->method) - 1;
    memcpy(exchange->method, data + head->method_text.start, length);
    length = head->target.length;
    if (length > HTTP_LOG_TARGET_MAX)
        length = HTTP_LOG_TARGET_MAX;
    exchange->target = strndup(data + head->target.start, length);
}

/* NULL: a unix socket's client has none. */
static const char *client_addr(const struct session *session, char text[ADDRESS_TEXT_MAX])
{
    bool is_unix = session->peer.sa.sa_family == AF_UNIX;
    return is_unix ? NULL : address_format_bare(&session->peer, text);
}

/* The body is read to its end. 0, or -1 with ENOMEM. */
static int end_body(struct http_exchange *exchange)
{
    if (exchange->up_framing != HTTP1_CHUNKED)
        return 0;
    if (buffer_length(&exchange->last_chunk) == 0)
        return buffer_append(&exchange->base.tail, HTTP1_LAST_CHUNK, sizeof(HTTP1_LAST_CHUNK) - 1);
    int result = buffer_append(&exchange->base.tail, buffer_data(&exchange->last_chunk),
                               buffer_length(&exchange->last_chunk));
    buffer_clear(&exchange->last_chunk);
    return result;
}

/* What was read ahead becomes the first chunk. 0, or -1 with ENOMEM. */
static int wrap_ahead(struct http_exchange *exchange)
{
    char line[HTTP1_CHUNK_LINE_MAX];
    size_t length = buffer_length(&exchange->base.ahead);
    if (exchange->up_framing != HTTP1_CHUNKED || length == 0)
        return 0;
    ssize_t n = http1_compose_chunk_line(line, sizeof(line), length);
    if (n < 0 || buffer_append(&exchange->base.up, line, (size_t)n) < 0)
        return -1;
    return buffer_append(&exchange->base.tail, HTTP1_CHUNK_END, sizeof(HTTP1_CHUNK_END) - 1);
}

/* Records what the response must be checked against. 0, or -1 with ENOMEM. */
static int note_upgrade(struct http_session *http, const char *data)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct scratch scratch = http->client.session.context->worker.compose;
    if (!exchange->request.upgrade)
        return 0;
    ssize_t n = http1_compose_upgrade(scratch.data, scratch.size, &exchange->request, data);
    exchange->upgrade = n < 0 ? NULL : strndup(scratch.data, (size_t)n);
    return exchange->upgrade == NULL ? -1 : 0;
}

/* Composes the request for the upstream, as far as it was read, from its header at `data`. */
static enum step compose(struct http_session *http, const char *data)
{
    const struct listener_context *context = http->client.session.context;
    struct http_exchange *exchange = http_exchange_of(http);
    const struct http1_head *head = &exchange->request;
    struct scratch scratch = context->worker.compose;
    bool read = exchange->request_stage == MESSAGE_READ;
    bool has_trailer = buffer_length(&exchange->last_chunk) > 0;
    char addr[ADDRESS_TEXT_MAX];
    struct http1_request_options options = {
        .host = http_listener_of(http)->host,
        .client_host = http_listener_of(http)->client_host,
        .pass_expect = !read && buffer_length(&exchange->base.ahead) == 0,
        .known_length = head->framing == HTTP1_CHUNKED && read && !has_trailer,
        .length = buffer_length(&exchange->base.ahead),
        .forwarded = context->config->forwarded,
    };
    if (options.forwarded != HTTP1_FORWARDED_OFF)
        options.client = client_addr(&http->client.session, addr);
    if (note_upgrade(http, data) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    ssize_t n = http1_compose_request(scratch.data, scratch.size, head, data, &options);
    if (n < 0)
        return refuse(http, 431, "the request's header is too large to pass on");
    exchange->up_framing = options.known_length ? HTTP1_LENGTH : head->framing;
    exchange->base.replayable = read || !context->config->request_buffering;
    exchange_set_up_stage(&exchange->base, UP_QUEUED);
    if (buffer_append(&exchange->base.up, scratch.data, (size_t)n) < 0 ||
        wrap_ahead(exchange) < 0 || (read && end_body(exchange) < 0))
        return exchange_finish(&http->client, SESSION_ERROR);
    buffer_clear(&exchange->head);
    return STEP_AGAIN;
}

/* The header is complete. It can be composed at once, unless a body follows: then it is kept until
 * it is known how much of the body arrives with it. */
static enum step take_head(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    const struct http1_head *head = &exchange->request;
    enum step step = STEP_AGAIN;
    note_request_line(exchange, buffer_data(&http->client.in));
    exchange_limit_reading(&http->client, 0);
    http1_body_begin(&exchange->request_body, head->kind, head->framing, head->content_length);
    bool empty = head->framing == HTTP1_NO_BODY ||
                 (head->framing == HTTP1_LENGTH && head->content_length == 0);
    exchange->request_stage = empty ? MESSAGE_READ : MESSAGE_BODY;
    if (empty)
        step = compose(http, buffer_data(&http->client.in));
    else if (buffer_append(&exchange->head, buffer_data(&http->client.in), head->length) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    if (step == STEP_AGAIN)
        buffer_consume(&http->client.in, head->length);
    return step;
}

static enum step parse_head(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct http1_head *head = &exchange->request;
    switch (
        http1_head_parse(head, buffer_data(&http->client.in), buffer_length(&http->client.in))) {
    case HTTP1_DONE:
        return take_head(http);
    case HTTP1_MORE:
        return STEP_BLOCKED;
    case HTTP1_BAD:
    case HTTP1_TRAILER:
        break;
    }
    note_request_line(exchange, buffer_data(&http->client.in));
    return refuse(http, head->bad_status, head->bad_text);
}

/* This much of `in` was taken; what is next? STEP_BLOCKED: more of the same. */
static enum step took_body(struct http_session *http, enum http1_result result, size_t consumed)
{
    struct http_exchange *exchange = http_exchange_of(http);
    buffer_consume(&http->client.in, consumed);
    switch (result) {
    case HTTP1_DONE:
        exchange->request_stage = MESSAGE_READ;
        return STEP_AGAIN;
    case HTTP1_TRAILER:
        exchange->request_stage = MESSAGE_TRAILER;
        http1_trailer_begin(&exchange->request_trailer);
        return STEP_AGAIN;
    case HTTP1_MORE:
        return STEP_BLOCKED;
    case HTTP1_BAD:
        break;
    }
    return refuse(http, 400, exchange->request_body.bad_text);
}

/* A body of known length is read directly to where it waits for a connection. */
static enum step fill_ahead(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct http1_piece piece;
    size_t held = buffer_length(&exchange->base.ahead), size = EXCHANGE_AHEAD_MAX - held, length;
    if (held < FIRST_READ / 2 &&
        size > FIRST_READ) /* a client that sends little gets little memory */
        size = FIRST_READ;
    if (size > exchange->request_body.left)
        size = (size_t)exchange->request_body.left;
    char *room = buffer_reserve(&exchange->base.ahead, size);
    if (room == NULL)
        return exchange_finish(&http->client, SESSION_ERROR);
    enum step step = read_client(http, room, size, &length);
    if (step == STEP_GONE)
        return STEP_GONE;
    buffer_extend(&exchange->base.ahead, length);
    if (http1_body_feed(&exchange->request_body, room, length, &piece) == HTTP1_DONE)
        exchange->request_stage = MESSAGE_READ;
    return step;
}

/* Moves what is buffered of the body to where it waits for a connection. */
static enum step read_body_ahead(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    char *data = buffer_data(&http->client.in);
    size_t length = buffer_length(&http->client.in), consumed;
    if (length == 0)
        return STEP_BLOCKED;
    enum http1_result result = http_dechunk(&exchange->request_body, &data, &length, &consumed);
    if (buffer_append(&exchange->base.ahead, data, length) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    return took_body(http, result, consumed);
}

static enum step take_trailer(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct http1_head *trailer = &exchange->request_trailer;
    struct scratch compose = http->client.session.context->worker.compose;
    char *data = buffer_data(&http->client.in);
    ssize_t n;
    switch (http1_head_parse(trailer, data, buffer_length(&http->client.in))) {
    case HTTP1_DONE:
        /* Composed now, since its bytes go; it is sent as the end of a chunked body. */
        n = http1_compose_last_chunk(compose.data, compose.size, trailer, data);
        if (n < 0 || buffer_append(&exchange->last_chunk, compose.data, (size_t)n) < 0)
            return exchange_finish(&http->client, SESSION_ERROR);
        buffer_consume(&http->client.in, trailer->length);
        exchange->request_stage = MESSAGE_READ;
        return STEP_AGAIN;
    case HTTP1_MORE:
        return STEP_BLOCKED;
    case HTTP1_BAD:
    case HTTP1_TRAILER:
        break;
    }
    return refuse(http, trailer->bad_status, trailer->bad_text);
}

/* Is enough read ahead to request a connection? Without request_buffering what came along with the
 * header is enough. A client that waits for 100 (Continue) gets it, or a refusal, from the
 * upstream. `step` is that of the last read of what was in `in`. */
static bool is_ready(const struct http_session *http, enum step step)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    if (exchange->request_stage == MESSAGE_READ)
        return true;
    if (exchange->request_stage == MESSAGE_HEAD)
        return false;
    if (!http->client.session.context->config->request_buffering)
        return step == STEP_BLOCKED || buffer_length(&http->client.in) == 0;
    if (buffer_length(&exchange->base.ahead) >= EXCHANGE_AHEAD_MAX)
        return true;
    return exchange->request.expect_continue && buffer_length(&exchange->base.ahead) == 0 &&
           buffer_length(&http->client.in) == 0;
}

static enum step request_connection(struct http_session *http)
{
    if (http_exchange_of(http)->base.up_stage == UP_NONE) {
        enum step step = compose(http, buffer_data(&http_exchange_of(http)->head));
        if (step != STEP_AGAIN || http->client.session.state != SESSION_READING)
            return step;
    }
    if (exchange_is_leased(
            &http->client)) { /* affinity; peek first: what arrived on it in the meantime */
        http->client.session.limit_at = 0;
        http->client.session.allocation.stream->readable = true;
        session_set_state(&http->client.session, SESSION_RELAYING);
        session_note_conn(&http->client.session);
        return STEP_AGAIN;
    }
    const struct listener_context *context = http->client.session.context;
    if (http_may_hold(&http_exchange_of(http)->request) && !pool_can_hold(context->pool_host))
        return http_local_reply_no_tunnel(http);
    session_request_connection(&http->client.session, context->config->reuse == REUSE_NEVER);
    return exchange_check_queued(&http->client) == STEP_GONE ? STEP_GONE : STEP_BLOCKED;
}

static enum step read_on(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    switch (exchange->request_stage) {
    case MESSAGE_HEAD:
        return parse_head(http);
    case MESSAGE_BODY:
        return read_body_ahead(http);
    case MESSAGE_TRAILER:
        return take_trailer(http);
    case MESSAGE_READ:
        break;
    }
    return STEP_AGAIN;
}

/* Between requests: the first bytes of the next one begin an exchange. The time for its header
 * starts now; for a client's first one it started with the accept, which `started` still has
 * here. */
static enum step begin_exchange(struct http_session *http)
{
    struct session *session = &http->client.session;
    const struct listener_context *context = session->context;
    usec_t started = session->access.started;
    if (buffer_length(&http->client.in) == 0) {
        if (context->draining && http->client.served)
            return exchange_end_client(&http->client);
        enum step step = fill(http);
        if (step != STEP_AGAIN)
            return step;
    }
    if (http_exchange_new(http) == NULL)
        return exchange_finish(&http->client, SESSION_ERROR);
    http_limit_header(http, http->client.served ? loop_now(context->worker.loop) : started);
    return STEP_AGAIN;
}

enum step http_read_request(struct http_session *http)
{
    enum step step = http->client.exchange == NULL ? begin_exchange(http) : STEP_AGAIN;
    if (step != STEP_AGAIN || http->client.session.state != SESSION_READING)
        return step;
    step = read_on(http);
    if (step == STEP_GONE || http->client.session.state != SESSION_READING)
        return step;
    if (is_ready(http, step))
        return request_connection(http);
    if (step == STEP_AGAIN)
        return STEP_AGAIN;
    bool known = http_exchange_of(http)->request_stage == MESSAGE_BODY &&
                 http_exchange_of(http)->request.framing == HTTP1_LENGTH;
    return known ? fill_ahead(http) : fill(http);
}

bool http_request_is_sent(const struct http_exchange *exchange)
{
    return exchange->request_stage == MESSAGE_READ && !exchange_up_failed(&exchange->base) &&
           exchange_is_sent(&exchange->base);
}

/* All that is buffered is sent. Is what comes next to be held, too, for a retry? */
static bool goes_on_holding(const struct http_session *http)
{
    const struct http_exchange *exchange = http_exchange_of(http);
    return exchange->base.replayable && exchange->response_stage == MESSAGE_HEAD &&
           exchange_may_retry(&http->client) &&
           exchange_up_length(&exchange->base) < EXCHANGE_AHEAD_MAX;
}

/* Sends what is buffered of the body unchanged; what the upstream does not take now stays in `up`.
 * While the request is held it is only appended. */
static enum step pass_body(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct stream *upstream =
        exchange->base.replayable ? NULL : http->client.session.allocation.stream;
    struct buffer *backlog = exchange->base.replayable ? &exchange->base.tail : &exchange->base.up;
    char *data = buffer_data(&http->client.in);
    size_t length = buffer_length(&http->client.in), consumed;
    if (length == 0)
        return STEP_BLOCKED;
    enum http1_result result = http_dechunk(&exchange->request_body, &data, &length, &consumed);
    const struct http_payload payload = {
        .chunked = exchange->up_framing == HTTP1_CHUNKED, .data = data, .length = length};
    ssize_t n = http_pass(upstream, backlog, &payload);
    if (n < 0 && errno == ENOMEM)
        return exchange_finish(&http->client, SESSION_ERROR);
    if (n < 0)
        exchange_give_up_sending(&http->client);
    else if (n > 0)
        exchange_sent(&http->client, (size_t)n);
    return took_body(http, result, consumed);
}

static bool is_bulk(struct http_session *http, struct exchange_bulk *bulk)
{
    struct http_exchange *exchange = http_exchange_of(http);
    *bulk = (struct exchange_bulk){.relay = &exchange->base.bulk_up,
                                   .rest = http1_body_rest(&exchange->request_body),
                                   .from = &http->client.session.client,
                                   .to = http->client.session.allocation.stream};
    return exchange->request_stage == MESSAGE_BODY && buffer_length(&http->client.in) == 0 &&
           exchange_is_bulk(bulk->relay, bulk->rest);
}

static enum step send_bulk(struct http_session *http, const struct exchange_bulk *bulk)
{
    struct relay *relay = bulk->relay;
    uint64_t before = relay->moved;
    enum relay_result result = http_move_bulk(http, bulk, &http_exchange_of(http)->request_body);
    if (relay->moved != before)
        exchange_sent(&http->client, relay->moved - before);
    exchange_note_read(&http->client);
    if (relay->from_ended)
        return client_left(http);
    switch (result) {
    case RELAY_READ_FAILED:
        return exchange_finish(&http->client, SESSION_CLIENT_RESET);
    case RELAY_NO_MEMORY:
        return exchange_finish(&http->client, SESSION_ERROR);
    case RELAY_WRITE_FAILED:
        exchange_give_up_sending(&http->client);
        return STEP_AGAIN;
    case RELAY_BLOCKED:
    case RELAY_MORE:
    case RELAY_ENDED:
        break;
    }
    return exchange_after_bulk(relay, result);
}

enum step http_send_request(struct http_session *http)
{
    struct http_exchange *exchange = http_exchange_of(http);
    struct exchange_bulk bulk;
    if (exchange_up_failed(&exchange->base))
        return STEP_BLOCKED;
    enum step step = exchange_send(&http->client);
    if (step != STEP_AGAIN || exchange_up_failed(&exchange->base))
        return step;
    if (exchange->request_stage == MESSAGE_READ)
        return STEP_BLOCKED;
    if (exchange->base.replayable && !goes_on_holding(http))
        exchange_drop_sent(&exchange->base);
    if (!exchange->base.replayable && is_bulk(http, &bulk))
        return send_bulk(http, &bulk);
    if (exchange->request_stage == MESSAGE_BODY)
        step = pass_body(http);
    else
        step = take_trailer(http);
    if (step == STEP_GONE || http->client.session.state != SESSION_RELAYING)
        return step;
    if (exchange->request_stage == MESSAGE_READ && end_body(exchange) < 0)
        return exchange_finish(&http->client, SESSION_ERROR);
    if (step == STEP_AGAIN || exchange_up_failed(&exchange->base) ||
        !exchange_is_sent(&exchange->base))
        return STEP_AGAIN;
    return fill(http);
}
