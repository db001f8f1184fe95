/* SPDX-License-Identifier: ISC */
/* http's part of an exchange and of a listener: their structs, and the engine's questions. */
#include <stdlib.h>
#include <string.h>

#include "session/http/http_internal.h"

/* Exchanges that a listener keeps for reuse: they are too large for malloc to have at hand. */
#define FREE_LIST_MAX FREE_LIST(16)

struct http_exchange *http_exchange_new(struct http_session *http)
{
    struct http_listener *listener = http_listener_of(http);
    struct http_exchange *exchange = listener->free_exchanges;
    if (exchange != NULL) {
        listener->free_exchanges = exchange->next_free;
        listener->free_exchange_count--;
    } else if ((exchange = malloc(sizeof(*exchange))) == NULL) {
        return NULL;
    }
    memset(exchange, 0, offsetof(struct http_exchange, request)); /* all but the headers */
    http1_request_begin(&exchange->request);
    exchange_begin(&http->client, &exchange->base);
    session_open_access(&http->client.session);
    return exchange;
}

void http_exchange_free(struct http_session *http)
{
    struct http_listener *listener = http_listener_of(http);
    struct http_exchange *exchange = http_exchange_of(http);
    if (exchange == NULL)
        return;
    http->client.exchange = NULL;
    exchange_clear(&exchange->base);
    buffer_clear(&exchange->head);
    buffer_clear(&exchange->last_chunk);
    free(exchange->target);
    free(exchange->upgrade);
    if (listener->free_exchange_count == FREE_LIST_MAX) {
        free(exchange);
        return;
    }
    exchange->next_free = listener->free_exchanges;
    listener->free_exchanges = exchange;
    listener->free_exchange_count++;
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
    struct http_exchange *exchange;
    while ((exchange = listener->free_exchanges) != NULL) {
        listener->free_exchanges = exchange->next_free;
        free(exchange);
    }
    free(listener);
    context->of_protocol = NULL;
}

static unsigned traits(const struct client *client)
{
    const struct http_session *http = container_of_const(client, struct http_session, client);
    const struct http_exchange *exchange = http_exchange_of(http);
    unsigned found = 0;
    if (exchange == NULL)
        return client->served ? CLIENT_MAY_GO_ON : 0;
    if (exchange->request_stage != MESSAGE_READ)
        found |= CLIENT_IS_SENDING;
    if (exchange->request.framing != HTTP1_NO_BODY)
        found |= CLIENT_HAD_BODY;
    if (exchange->request.persistent)
        found |= CLIENT_MAY_GO_ON;
    return found;
}

static bool is_idempotent(const struct exchange *exchange)
{
    const struct http_exchange *http = container_of_const(exchange, struct http_exchange, base);
    return http1_method_is_idempotent(http->request.method);
}

static void sent_again(struct client *client)
{
    counter_add(&http_counters_of(http_of_client(client))->retries, 1);
}

static void ended(struct client *client)
{
    struct http_session *http = http_of_client(client);
    session_log(&client->session, client->end);
    if (client->exchange->down_stage != DOWN_CUT)
        http_count_response(http);
    http_exchange_free(http);
}

/* The client is idle, and so is its connection, if it has one: then the connection's time limit
 * applies, and the next request does not extend it. */
static void idle(struct client *client)
{
    const struct listener_context *context = client->session.context;
    const struct config_listener *config = context->config;
    bool leased = exchange_is_leased(client);
    usec_t timeout = leased ? config->affinity_timeout : config->client_keep_alive;
    usec_t until = timeout > 0 ? loop_now(context->worker.loop) + timeout : 0;
    client->affinity_until = leased ? until : 0;
    exchange_limit_reading(client, until);
}

static bool ends_request(const struct client *client, bool waits)
{
    switch (client->session.context->config->abort_on_close) {
    case ABORT_QUEUED:
        return waits;
    case ABORT_ALWAYS:
        return true;
    case ABORT_NEVER:
        break;
    }
    return false;
}

const struct exchange_protocol http_exchange_protocol = {
    .read = http_read,
    .relay = http_relay,
    .quiet_max = http_quiet_max,
    .time_is_over = http_time_is_over,
    .unacked = http_unacked,
    .ends_request = ends_request,
    .traits = traits,
    .is_idempotent = is_idempotent,
    .sent_again = sent_again,
    .upstream_failed = http_upstream_failed,
    .ended = ended,
    .idle = idle,
};
