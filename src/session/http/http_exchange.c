/* What every part of an exchange needs: its struct, its bytes for the client, its end. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "session/http/http_internal.h"

/* Exchanges that a listener keeps for the next ones: they are too large for malloc to have at hand.
 */
#define SPARES_MAX SPARES(16)

void http_moved(struct http_session *http)
{
    http->session.moved_at = loop_now(http->session.context->worker.loop);
}

void http_took(struct http_session *http, uint64_t length)
{
    http->taken += (uint32_t)length;
    http_moved(http);
}

void http_told(struct http_session *http, uint64_t length)
{
    http->session.access.bytes_down += length;
    /* Not yet with interim responses. */
    if (http->exchange->status != 0 && !http_response_committed(http->exchange))
        http_set_down_stage(http->exchange, DOWN_COMMITTED);
    http->answered = true;
    http->told_much = http->told_much || http->session.access.bytes_down > HTTP_MUCH;
    http_moved(http);
}

int http_keep(struct http_session *http)
{
    if (buffer_keep(&http->in) < 0)
        return -1;
    return http->exchange == NULL ? 0 : buffer_keep(&http->exchange->answer);
}

enum step http_finish(struct http_session *http, enum session_end end)
{
    if (http->exchange != NULL &&
        http->exchange->down_stage == DOWN_CUT) /* whatever became of the client then */
        session_log(&http->session, http->end);
    session_finish(&http->session, end);
    return STEP_GONE;
}

void http_set_up_stage(struct exchange *exchange, enum up_stage to)
{
    static const bool legal[UP_STAGES][UP_STAGES] = {
        /*              NONE   QUEUED START  FAILED RESET */
        [UP_NONE] = {false, true, false, false, false},
        [UP_QUEUED] = {false, true, true, true, true}, /* queued again: on another connection */
        [UP_STARTED] = {false, true, false, true, true},
        [UP_FAILED] = {false, true, false, false, false},
        [UP_RESET] = {false, true, false, false, false},
    };
    assert(legal[exchange->up_stage][to]);
    exchange->up_stage = to;
}

void http_set_down_stage(struct exchange *exchange, enum down_stage to)
{
    static const bool legal[DOWN_STAGES][DOWN_STAGES] = {
        /*                 NONE   START  INTERI COMMIT CUT */
        [DOWN_NONE] = {true, true, false, true, true},    /* committed: to a local reply */
        [DOWN_STARTED] = {true, false, true, true, true}, /* none: sent again */
        [DOWN_INTERIM] = {false, false, true, true, true},
        [DOWN_COMMITTED] = {false, false, false, false, true},
        [DOWN_CUT] = {false, false, false, false, false},
    };
    assert(legal[exchange->down_stage][to]);
    exchange->down_stage = to;
}

void http_set_unfit(struct exchange *exchange, enum pool_discard reason)
{
    if (exchange->unfit == POOL_DISCARD_COUNT)
        exchange->unfit = reason;
}

struct exchange *http_exchange_new(struct http_session *http)
{
    struct http_listener *listener = http_listener_of(http);
    struct exchange *exchange = listener->spare_exchanges;
    if (exchange != NULL) {
        listener->spare_exchanges = exchange->next_spare;
        listener->spare_exchange_count--;
    } else if ((exchange = malloc(sizeof(*exchange))) == NULL) {
        return NULL;
    }
    /* The heads' tables of fields are large, and begin functions set what counts of them. */
    memset(exchange, 0, offsetof(struct exchange, request));
    memset(&exchange->request_body, 0, sizeof(*exchange) - offsetof(struct exchange, request_body));
    http1_request_begin(&exchange->request);
    exchange->conn.number = 0;
    exchange->unfit = POOL_DISCARD_COUNT;
    http->exchange = exchange;
    session_open_access(&http->session);
    return exchange;
}

void http_exchange_free(struct http_session *http)
{
    struct http_listener *listener = http_listener_of(http);
    struct exchange *exchange = http->exchange;
    if (exchange == NULL)
        return;
    http->exchange = NULL;
    buffer_clear(&exchange->head);
    buffer_clear(&exchange->ahead);
    buffer_clear(&exchange->up);
    buffer_clear(&exchange->tail);
    buffer_clear(&exchange->last_chunk);
    buffer_clear(&exchange->answer);
    relay_clear(&exchange->bulk_up);
    relay_clear(&exchange->bulk_down);
    free(exchange->target);
    free(exchange->upgrade);
    if (listener->spare_exchange_count == SPARES_MAX) {
        free(exchange);
        return;
    }
    exchange->next_spare = listener->spare_exchanges;
    listener->spare_exchanges = exchange;
    listener->spare_exchange_count++;
}

int http_listener_init(struct listener_context *context)
{
    const struct config_listener *config = context->config;
    struct http_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return -1;
    listener->client_host = strcmp(config->host, "client") == 0;
    listener->host = config->host;
    if (listener->client_host || strcmp(config->host, "upstream") == 0)
        listener->host = endpoint_authority(&config->upstream, listener->authority);
    context->of_protocol = listener;
    return 0;
}

void http_listener_free(struct listener_context *context)
{
    struct http_listener *listener = context->of_protocol;
    struct exchange *exchange;
    while ((exchange = listener->spare_exchanges) != NULL) {
        listener->spare_exchanges = exchange->next_spare;
        free(exchange);
    }
    free(listener);
    context->of_protocol = NULL;
}

bool http_has_down(const struct http_session *http)
{
    return buffer_length(&http->down) > 0 || relay_keeps(&http->exchange->bulk_down);
}

/* What comes before `down`. */
static enum step flush_bulk(struct http_session *http)
{
    struct relay *relay = &http->exchange->bulk_down;
    uint64_t before = relay->moved;
    enum relay_result result = relay_flush(relay, &http->session.client);
    if (relay->moved != before)
        http_told(http, relay->moved - before);
    if (result == RELAY_WRITE_FAILED)
        return http_finish(http, SESSION_CLIENT_RESET);
    return result == RELAY_BLOCKED ? STEP_BLOCKED : STEP_AGAIN;
}

enum step http_flush(struct http_session *http)
{
    struct stream *client = &http->session.client;
    enum step step = flush_bulk(http);
    if (step != STEP_AGAIN)
        return step;
    while (buffer_length(&http->down) > 0) {
        if (!client->writable)
            return STEP_BLOCKED;
        ssize_t n = stream_write(client, buffer_data(&http->down), buffer_length(&http->down));
        if (n < 0)
            return errno == EAGAIN ? STEP_BLOCKED : http_finish(http, SESSION_CLIENT_RESET);
        buffer_consume(&http->down, (size_t)n);
        http_told(http, (size_t)n);
    }
    return STEP_AGAIN;
}
