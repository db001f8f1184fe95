/* SPDX-License-Identifier: ISC */
/* What must hold for the records: each request goes to one connection, each response to its
 * client. */
#include "judge.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "far.h"
#include "reading.h"

/* As the program's: a request with a longer body is passed on before it is complete, unless it
 * streams all of them. */
#define AHEAD_MAX (64 * 1024)

/* The same: a longer first line is invalid. */
#define START_LINE_MAX 8192

/* One request as an upstream received it. */
struct delivery {
    const struct far *upstream;
    unsigned serial;         /* orders the deliveries of all upstreams */
    size_t rx_end;           /* after it */
    size_t tx_start, tx_end; /* what was sent while it was the last one */
    struct request_view request;
    struct response_view response;
    size_t client, index; /* whose request it is, and its number */
    bool again;           /* it went out before */
};

static struct {
    struct request_view *requests; /* the last one may be partial, or invalid */
    size_t count;
    size_t answered;
    const struct delivery *last;
    bool tunnel;
} clients[FAR_CLIENTS];

static struct delivery *deliveries;
static size_t delivery_count;

static void *grow(void *array, size_t count, size_t size)
{
    array = realloc(array, (count + 1) * size);
    REQUIRE(array != NULL);
    return array;
}

static void read_client(size_t k)
{
    const struct far_bytes *tx = &far_world.clients[k].tx;
    size_t at = 0;
    memset(&clients[k], 0, sizeof(clients[k]));
    while (at < tx->length) {
        struct request_view request;
        request_read(&request, &(struct reference_bytes){.data = tx->data + at,
                                                         .length = tx->length - at,
                                                         .received = true});
        clients[k].requests =
            grow(clients[k].requests, clients[k].count, sizeof(*clients[k].requests));
        clients[k].requests[clients[k].count++] = request;
        if (request.verdict != REFERENCE_WHOLE)
            break;
        at += request.length;
    }
}

static const struct far_mark *mark_at(const struct far *far, size_t rx)
{
    size_t i = far->mark_count;
    while (i > 1 && far->marks[i - 1].rx > rx)
        i--;
    return &far->marks[i - 1];
}

static void read_response(struct delivery *delivery, bool closed)
{
    response_clear(&delivery->response);
    response_read(&delivery->response, &delivery->request,
                  &(struct reference_bytes){
                      .data = delivery->upstream->tx.data + delivery->tx_start,
                      .length = delivery->tx_end - delivery->tx_start,
                      .received = true,
                      .closed = closed,
                  });
}

/* The next request begins on the connection: it must have been idle. */
static void require_rest(struct delivery *delivery, const struct far_mark *mark)
{
    delivery->tx_end = mark->tx;
    read_response(delivery, false);
    REQUIRE(delivery->request.verdict == REFERENCE_WHOLE);
    REQUIRE(delivery->response.verdict == REFERENCE_WHOLE);
    REQUIRE(delivery->response.length == delivery->tx_end - delivery->tx_start);
    REQUIRE(!delivery->response.ends_connection && !delivery->response.repaired);
}

/* A new connection may bring a response before a request ("503, too many"): it counts. */
static struct delivery *add_delivery(const struct far *upstream, size_t at)
{
    const struct far_mark *mark = mark_at(upstream, at);
    deliveries = grow(deliveries, delivery_count, sizeof(*deliveries));
    struct delivery *delivery = &deliveries[delivery_count++];
    *delivery = (struct delivery){
        .upstream = upstream,
        .serial = mark->serial,
        .tx_start = at == 0 ? 0 : mark->tx,
        .tx_end = upstream->tx.length,
    };
    request_read(&delivery->request, &(struct reference_bytes){.data = upstream->rx.data + at,
                                                               .length = upstream->rx.length - at});
    delivery->rx_end = at + delivery->request.length;
    read_response(delivery, upstream->finished);
    return delivery;
}

static bool is_tunnel(const struct delivery *delivery)
{
    return delivery->request.verdict == REFERENCE_WHOLE &&
           delivery->response.verdict == REFERENCE_WHOLE && delivery->response.tunnel;
}

static void read_upstream(const struct far *upstream)
{
    size_t at = 0, first = delivery_count;
    while (at < upstream->rx.length) {
        if (delivery_count > first)
            require_rest(&deliveries[delivery_count - 1], mark_at(upstream, at));
        const struct delivery *delivery = add_delivery(upstream, at);
        REQUIRE(delivery->request.verdict != REFERENCE_BAD);
        if (!delivery->request.head_done)
            delivery_count--;
        if (delivery->request.verdict != REFERENCE_WHOLE || is_tunnel(delivery))
            break;
        at = delivery->rx_end;
    }
}

static int by_serial(const void *a, const void *b)
{
    const struct delivery *left = a, *right = b;
    return left->serial < right->serial ? -1 : left->serial > right->serial;
}

static size_t whose(const struct delivery *delivery)
{
    struct reference_text client = delivery->request.client;
    REQUIRE(client.length == 8 && memcmp(client.data, "10.0.0.", 7) == 0);
    REQUIRE(client.data[7] > '0' && (size_t)(client.data[7] - '0') <= far_world.client_count);
    return (size_t)(client.data[7] - '1');
}

/* Opaque bytes after the request are the client's. */
static void require_tunnel(const struct delivery *delivery)
{
    const struct far_bytes *rx = &delivery->upstream->rx;
    const struct far_bytes *tx = &far_world.clients[delivery->client].tx;
    size_t length = rx->length - delivery->rx_end, start = 0;
    for (size_t i = 0; i <= delivery->index; i++)
        start += clients[delivery->client].requests[i].length;
    REQUIRE(length <= tx->length - start);
    REQUIRE(length == 0 || memcmp(rx->data + delivery->rx_end, tx->data + start, length) == 0);
}

/* Connections that brought a response and received no request. */
static size_t count_unasked(void)
{
    size_t count = 0;
    for (size_t i = 0; i < far_world.upstream_count; i++)
        count += far_world.upstreams[i].rx.length == 0 && far_world.upstreams[i].tx.length > 0;
    return count;
}

/* A connection on which a client may have logged in must not serve another one. */
static void require_own_connection(const struct delivery *delivery)
{
    for (const struct delivery *before = deliveries; before < delivery; before++)
        REQUIRE(before->upstream != delivery->upstream || !before->request.logs_in ||
                before->client == delivery->client);
}

static bool was_retried(const struct delivery *last, const struct delivery *delivery)
{
    for (size_t i = 0; i < far_world.retry_count; i++) {
        const struct far_retry *retry = &far_world.retries[i];
        if (retry->client == delivery->client && retry->serial > last->serial &&
            retry->serial < delivery->serial)
            return true;
    }
    return false;
}

/* A first line that is invalid long before its end. */
static bool is_no_status_line(const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool line_end = data[i] == '\r' && (i + 1 == length || data[i + 1] == '\n');
        if (data[i] == '\n' || line_end)
            return false;
        if (i == START_LINE_MAX || (iscntrl((unsigned char)data[i]) && data[i] != '\t'))
            return true;
    }
    return length == 0;
}

/* Nothing arrived, or nothing but what may have been sent before. */
static bool is_no_response(const struct delivery *delivery)
{
    const struct response_view *response = &delivery->response;
    const char *data = delivery->upstream->tx.data + delivery->tx_start;
    size_t length = delivery->tx_end - delivery->tx_start;
    if (length == 0)
        return true;
    if (length >= strlen("HTTP/1.") && memcmp(data, "HTTP/1.", strlen("HTTP/1.")) == 0)
        return response->interims == 0 && response->status == 408 && response->ends_connection;
    return is_no_status_line(data, length) || response->verdict == REFERENCE_BAD;
}

/* Finds the request that was delivered. Each client's are passed on one after the other, so it is
 * the next one, or the last one again. */
static void match(struct delivery *delivery)
{
    const struct request_view *got = &delivery->request;
    size_t k = delivery->client = whose(delivery);
    require_own_connection(delivery);
    const struct delivery *last = clients[k].last;
    delivery->again = last != NULL && was_retried(last, delivery);
    if (delivery->again) {
        REQUIRE(is_no_response(last));
        REQUIRE(!last->again);
        REQUIRE(method_is_idempotent(got));
    }
    REQUIRE(!clients[k].tunnel);
    delivery->index = last == NULL ? 0 : last->index + !delivery->again;
    REQUIRE(delivery->index < clients[k].count);
    for (size_t spoke = count_unasked();
         spoke > 0 && delivery->index + 1 < clients[k].count &&
         !request_is_passed_on(&clients[k].requests[delivery->index], got);
         spoke--)
        delivery->index++; /* answered before it was sent */
    const struct request_view *sent = &clients[k].requests[delivery->index];
    REQUIRE(request_is_passed_on(sent, got));
    if (sent->verdict != REFERENCE_WHOLE) {
        REQUIRE(sent->head_done);
        REQUIRE(got->verdict == REFERENCE_MORE);
        REQUIRE(far_world.streams || sent->expects || sent->body_length >= AHEAD_MAX);
    }
    clients[k].last = delivery;
    if (is_tunnel(delivery)) {
        clients[k].tunnel = true;
        require_tunnel(delivery);
    }
}

static const struct delivery *delivery_of(size_t k, size_t index)
{
    for (size_t i = delivery_count; i > 0; i--)
        if (deliveries[i - 1].client == k && deliveries[i - 1].index == index)
            return &deliveries[i - 1];
    return NULL;
}

static bool is_same(const struct response_view *response, const struct response_view *sent)
{
    return sent->verdict == REFERENCE_WHOLE && sent->status == response->status &&
           sent->body_length == response->body_length &&
           (sent->body_length == 0 || memcmp(sent->body, response->body, sent->body_length) == 0) &&
           trailer_is_passed_on(&sent->trailer, &response->trailer);
}

/* It was unsolicited, from a connection that received no request. */
static bool is_unasked(const struct response_view *response, const struct request_view *request)
{
    for (size_t i = 0; i < far_world.upstream_count; i++) {
        const struct far *upstream = &far_world.upstreams[i];
        struct response_view sent;
        if (upstream->rx.length > 0)
            continue;
        response_read(&sent, request,
                      &(struct reference_bytes){.data = upstream->tx.data,
                                                .length = upstream->tx.length,
                                                .received = true,
                                                .closed = upstream->finished});
        bool same = is_same(response, &sent);
        response_clear(&sent);
        if (same)
            return true;
    }
    return false;
}

static bool is_ours(const struct response_view *response)
{
    static const unsigned statuses[] = {400, 408, 413, 414, 417, 431, 501, 502, 503, 504, 505};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i] == response->status)
            return response->is_plain_text && response->ends_connection;
    return false;
}

/* One complete response; what is left after it. */
static void require_response(size_t k, const struct response_view *response, size_t left)
{
    const struct far *far = &far_world.clients[k];
    size_t index = clients[k].answered;
    REQUIRE(index < clients[k].count);
    const struct request_view *request = &clients[k].requests[index];
    REQUIRE(!request->is_10 || (response->interims == 0 && !response->chunked));
    const struct delivery *delivery = delivery_of(k, index);
    if (delivery == NULL || !is_same(response, &delivery->response)) {
        REQUIRE(is_ours(response) || (delivery == NULL && is_unasked(response, request)));
        REQUIRE(left == 0 || !is_ours(response));
    }
    if (response->ends_connection && !response->tunnel) {
        REQUIRE(left == 0);
        REQUIRE(far->ended || far->fd < 0);
    }
}

/* The response broke off, and the client's connection was closed in order: what the client received
 * shows the truncation, and is a prefix of what the upstream sent; all of that if the upstream's
 * end was the only error. */
static void require_cut(size_t k, const struct response_view *response, size_t left)
{
    size_t index = clients[k].answered;
    REQUIRE(index < clients[k].count);
    if (response->status < 200) { /* nothing of the final response */
        REQUIRE(response->length == left);
        return;
    }
    const struct delivery *delivery = delivery_of(k, index);
    REQUIRE(delivery != NULL);
    const struct response_view *sent = &delivery->response;
    REQUIRE(sent->status == response->status && response->body_length <= sent->body_length);
    REQUIRE(response->body_length == 0 ||
            memcmp(sent->body, response->body, response->body_length) == 0);
    if (clients[k].requests[index].verdict == REFERENCE_WHOLE && delivery->upstream->finished)
        REQUIRE(response->body_length == sent->body_length);
}

static void require_tunnel_down(size_t k, const char *data, size_t length)
{
    const struct delivery *delivery = delivery_of(k, clients[k].answered);
    REQUIRE(delivery != NULL && is_tunnel(delivery));
    REQUIRE(delivery->response.status != 101 || delivery->request.upgrades);
    size_t start = delivery->tx_start + delivery->response.length;
    REQUIRE(length <= delivery->upstream->tx.length - start);
    REQUIRE(length == 0 || memcmp(delivery->upstream->tx.data + start, data, length) == 0);
}

/* If a client says that it will not continue, what it sends anyway is not checked. */
static void require_not_lost(size_t k, bool last_is_whole)
{
    size_t last = clients[k].answered - last_is_whole;
    if (!far_world.clients[k].was_lost)
        return;
    REQUIRE(last < clients[k].count);
    const struct request_view *request = &clients[k].requests[last];
    REQUIRE(request->verdict == REFERENCE_WHOLE && !request->persists);
}

static void read_responses(size_t k)
{
    static const struct request_view nothing = {.method = {"GET", 3}};
    const struct far *far = &far_world.clients[k];
    size_t at = 0;
    while (at < far->rx.length) {
        struct response_view response;
        const char *data = far->rx.data + at;
        size_t left = far->rx.length - at;
        bool known = clients[k].answered < clients[k].count;
        const struct request_view *request =
            known ? &clients[k].requests[clients[k].answered] : &nothing;
        struct reference_bytes bytes = {
            .data = data, .length = left, .closed = far->ended && !far->was_reset};
        response_read(&response, request, &bytes);
        /* A rejected request may have been understood as far as its method, or not. */
        if (is_ours(&response) && response.length < left) {
            response_clear(&response);
            bytes.closed = false;
            response_read(&response, &nothing, &bytes);
        }
        REQUIRE(response.verdict != REFERENCE_BAD);
        if (response.verdict == REFERENCE_WHOLE)
            require_response(k, &response, left - response.length);
        else if (far->ended && !far->was_reset)
            require_cut(k, &response, left);
        if (response.verdict == REFERENCE_WHOLE && response.tunnel)
            require_tunnel_down(k, data + response.length, left - response.length);
        response_clear(&response);
        if (response.verdict != REFERENCE_WHOLE || response.tunnel)
            break;
        clients[k].answered++;
        at += response.length;
    }
    require_not_lost(k, at == far->rx.length && clients[k].answered > 0);
}

/* A client whose request is complete waits for its upstream, or for a connection. */
static void require_progress(size_t k, unsigned waiting)
{
    const struct far *far = &far_world.clients[k];
    size_t index = clients[k].answered;
    if (far->fd < 0 || far->ended || clients[k].tunnel || index >= clients[k].count ||
        clients[k].requests[index].verdict != REFERENCE_WHOLE || waiting > 0)
        return;
    const struct delivery *delivery = delivery_of(k, index);
    REQUIRE(delivery != NULL);
    const struct far *upstream = delivery->upstream;
    REQUIRE(upstream->fd >= 0 && !upstream->finished && !upstream->ended);
    REQUIRE(delivery->response.verdict != REFERENCE_WHOLE);
}

static void clear(void)
{
    for (size_t i = 0; i < delivery_count; i++) {
        request_clear(&deliveries[i].request);
        response_clear(&deliveries[i].response);
    }
    free(deliveries);
    deliveries = NULL;
    delivery_count = 0;
    for (size_t k = 0; k < FAR_CLIENTS; k++) {
        for (size_t i = 0; i < clients[k].count; i++)
            request_clear(&clients[k].requests[i]);
        free(clients[k].requests);
        memset(&clients[k], 0, sizeof(clients[k]));
    }
}

void judge(enum judge_when when, unsigned waiting)
{
    for (size_t k = 0; k < far_world.client_count; k++)
        read_client(k);
    for (size_t i = 0; i < far_world.upstream_count; i++)
        read_upstream(&far_world.upstreams[i]);
    if (delivery_count > 0)
        qsort(deliveries, delivery_count, sizeof(*deliveries), by_serial);
    for (size_t i = 0; i < delivery_count; i++)
        match(&deliveries[i]);
    for (size_t k = 0; k < far_world.client_count; k++)
        read_responses(k);
    for (size_t k = 0; when == JUDGE_QUIET && k < far_world.client_count; k++)
        require_progress(k, waiting);
    clear();
}
