/* SPDX-License-Identifier: ISC */
/* The demonstration's upstream: parses requests and answers them, and counts connections. */
#include "upstream.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "common.h"
#include "http1/http1.h"
#include "http1/http1_compose.h"
#include "secure.h"

#define INPUT_MAX    (2 * HTTP1_HEAD_MAX) /* unread bytes that suspend reading */
#define QUESTION_MAX 256                  /* how much of method and target is echoed */
#define GO_ON        "HTTP/1.1 100 Continue\r\n\r\n"

struct upstream {
    struct event_base *base;
    SSL_CTX *tls; /* NULL: plain http */
    unsigned long accepted, full, resumed;
    bool failed;
    TAILQ_HEAD(, visitor) visitors;
};

enum stage { IN_HEAD, IN_BODY, IN_TRAILER };

/* One connection that the upstream accepted. */
struct visitor {
    struct upstream *upstream;
    struct bufferevent *stream;
    unsigned long number;   /* of the connection */
    unsigned long requests; /* that arrived on it */
    enum stage stage;
    struct http1_head head;
    struct http1_body body;
    /* From the request's header, for the response. */
    char question[QUESTION_MAX];
    bool counts, bodiless, persistent, old;
    bool last;  /* the last response was sent: nothing more is read */
    bool ended; /* the peer has ended its direction */
    TAILQ_ENTRY(visitor) link;
};

static void visitor_free(struct visitor *visitor)
{
    TAILQ_REMOVE(&visitor->upstream->visitors, visitor, link);
    secure_free(visitor->stream);
    free(visitor);
}

static void visitor_begin_request(struct visitor *visitor)
{
    visitor->stage = IN_HEAD;
    http1_request_begin(&visitor->head);
}

/* --- responses --- */

static void visitor_refuse(struct visitor *visitor, unsigned status, const char *text)
{
    const struct http1_local_reply answer = {.status = status, .text = text, .now = time(NULL)};
    char message[1024];
    ssize_t length = http1_compose_local_reply(message, sizeof(message), &answer);

    if (length > 0)
        bufferevent_write(visitor->stream, message, (size_t)length);
    visitor->last = true;
}

static int visitor_compose_text(const struct visitor *visitor, char *text, size_t size)
{
    const struct upstream *upstream = visitor->upstream;

    if (visitor->counts)
        return snprintf(text, size, "%lu %lu %lu\n", upstream->accepted, upstream->full,
                        upstream->resumed);
    return snprintf(text, size, "connection %lu, request %lu: %s\n", visitor->number,
                    visitor->requests, visitor->question);
}

static void visitor_answer(struct visitor *visitor)
{
    const char *connection = "";
    char text[QUESTION_MAX + 64], date[64];
    time_t now = time(NULL);
    struct tm utc;
    int length;

    /* The default, if a sender says nothing, differs between 1.0 and 1.1, RFC 9112 9.3. */
    if (!visitor->persistent)
        connection = "Connection: close\r\n";
    else if (visitor->old)
        connection = "Connection: keep-alive\r\n";
    visitor->requests++;
    length = visitor_compose_text(visitor, text, sizeof(text));
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
    evbuffer_add_printf(bufferevent_get_output(visitor->stream),
                        "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/plain\r\n"
                        "Content-Length: %d\r\n%s\r\n%s",
                        date, length, connection, visitor->bodiless ? "" : text);
    visitor->last = !visitor->persistent;
    visitor_begin_request(visitor);
}

/* --- requests --- */

static bool span_is(const char *data, struct http1_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(data + span.start, text, span.length) == 0;
}

static void visitor_on_head(struct visitor *visitor, const char *data)
{
    const struct http1_head *head = &visitor->head;

    if (head->method == HTTP1_CONNECT) {
        visitor_refuse(visitor, 501, "this is no proxy");
        return;
    }
    snprintf(visitor->question, sizeof(visitor->question), "%.*s %.*s", head->method_text.length,
             data + head->method_text.start, head->target.length, data + head->target.start);
    visitor->counts = span_is(data, head->path, UPSTREAM_COUNTS_PATH);
    visitor->bodiless = head->method == HTTP1_HEAD;
    visitor->persistent = head->persistent;
    visitor->old = head->minor == 0;
    if (head->expect_continue)
        bufferevent_write(visitor->stream, GO_ON, sizeof(GO_ON) - 1);
    visitor->stage = IN_BODY;
    http1_body_begin(&visitor->body, head->kind, head->framing, head->content_length);
}

/* Consumes what it can of the unread bytes: a header, or a piece of a body, which is discarded.
 * False if it needs more bytes. */
static bool visitor_step(struct visitor *visitor)
{
    struct evbuffer *in = bufferevent_get_input(visitor->stream);
    size_t length = evbuffer_get_length(in);
    char *data = length ? (char *)evbuffer_pullup(in, -1) : NULL;
    const char *rule;
    struct http1_piece piece = {0};
    enum http1_result result;

    if (visitor->stage == IN_BODY) {
        result = http1_body_feed(&visitor->body, data, length, &piece);
        rule = visitor->body.bad_text;
    } else {
        result = http1_head_parse(&visitor->head, data, length);
        rule = visitor->head.bad_text;
        piece.consumed = result == HTTP1_DONE ? visitor->head.length : 0;
    }
    if (result == HTTP1_BAD) {
        visitor_refuse(visitor, visitor->stage == IN_BODY ? 400 : visitor->head.bad_status, rule);
        return false;
    }
    if (result == HTTP1_DONE && visitor->stage == IN_HEAD) {
        visitor_on_head(visitor, data);
    } else if (result == HTTP1_TRAILER) {
        visitor->stage = IN_TRAILER;
        http1_trailer_begin(&visitor->head);
    } else if (result == HTTP1_DONE) {
        visitor_answer(visitor);
    }
    evbuffer_drain(in, piece.consumed);
    return result != HTTP1_MORE || piece.consumed > 0;
}

/* One response at a time: a peer that does not read its responses cannot make them pile up. */
static void visitor_go(struct visitor *visitor)
{
    const struct evbuffer *out = bufferevent_get_output(visitor->stream);

    while (!visitor->last && evbuffer_get_length(out) == 0 && visitor_step(visitor))
        ;
    if (evbuffer_get_length(out) == 0 && (visitor->last || visitor->ended))
        visitor_free(visitor);
}

static void visitor_on_bytes(struct bufferevent *stream, void *arg)
{
    (void)stream;
    visitor_go(arg);
}

static void visitor_on_event(struct bufferevent *stream, short what, void *arg)
{
    struct visitor *visitor = arg;

    if (what & BEV_EVENT_CONNECTED) {
        if (secure_resumed(stream))
            visitor->upstream->resumed++;
        else
            visitor->upstream->full++;
    } else if (what & BEV_EVENT_EOF) {
        visitor->ended = true;
        visitor_go(visitor);
    } else {
        visitor_free(visitor);
    }
}

/* --- the run --- */

static void upstream_give_up(struct upstream *upstream, const char *what)
{
    common_fail(what);
    upstream->failed = true;
    event_base_loopbreak(upstream->base);
}

static void upstream_on_accept(struct evconnlistener *listener, evutil_socket_t fd,
                               struct sockaddr *peer, int length, void *arg)
{
    struct upstream *upstream = arg;
    struct visitor *visitor = calloc(1, sizeof(*visitor));

    (void)listener;
    (void)peer;
    (void)length;
    upstream->accepted++;
    if (!visitor || !(visitor->stream = secure_stream(upstream->base, upstream->tls, fd))) {
        free(visitor);
        upstream_give_up(upstream, "accept");
        return;
    }
    visitor->upstream = upstream;
    visitor->number = upstream->accepted;
    visitor_begin_request(visitor);
    TAILQ_INSERT_TAIL(&upstream->visitors, visitor, link);
    bufferevent_setcb(visitor->stream, visitor_on_bytes, visitor_on_bytes, visitor_on_event,
                      visitor);
    bufferevent_setwatermark(visitor->stream, EV_READ, 0, INPUT_MAX);
    bufferevent_enable(visitor->stream, EV_READ | EV_WRITE);
}

static void upstream_on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)listener;
    upstream_give_up(arg, "accept");
}

static void upstream_on_signal(evutil_socket_t number, short what, void *arg)
{
    struct upstream *upstream = arg;

    (void)number;
    (void)what;
    event_base_loopbreak(upstream->base);
}

static int upstream_serve(struct upstream *upstream)
{
    struct sockaddr_in address = common_loopback(0);
    struct evconnlistener *listener =
        evconnlistener_new_bind(upstream->base, upstream_on_accept, upstream, LEV_OPT_CLOSE_ON_FREE,
                                SOMAXCONN, (struct sockaddr *)&address, sizeof(address));

    if (!listener)
        return common_fail("cannot listen");
    evconnlistener_set_error_cb(listener, upstream_on_accept_error);
    printf("%u\n", (unsigned)common_port(evconnlistener_get_fd(listener)));
    fflush(stdout);
    event_base_dispatch(upstream->base);
    evconnlistener_free(listener);
    return upstream->failed;
}

int upstream_main(const char *certificate_path)
{
    struct upstream upstream = {.base = event_base_new()};
    struct event *stop = NULL;
    struct visitor *visitor;
    int status = 1;

    TAILQ_INIT(&upstream.visitors);
    if (!upstream.base ||
        !(stop = evsignal_new(upstream.base, SIGTERM, upstream_on_signal, &upstream)) ||
        event_add(stop, NULL) < 0)
        common_fail("cannot start");
    else if (!certificate_path || (upstream.tls = secure_accepting(certificate_path)) != NULL)
        status = upstream_serve(&upstream);
    while ((visitor = TAILQ_FIRST(&upstream.visitors)) != NULL)
        visitor_free(visitor);
    if (stop)
        event_free(stop);
    if (upstream.base)
        event_base_free(upstream.base);
    SSL_CTX_free(upstream.tls);
    return status;
}
