/* SPDX-License-Identifier: ISC */
/* What the files of the http session share; for http*.c alone.
 *
 *   http.c           one client: its exchanges one after another
 *   http_exchange.c  what is http's of an exchange and of a listener
 *   http_time.c      time limits
 *   http_request.c   client to upstream: reads a request ahead, requests a connection, sends
 *   http_response.c  upstream to client: passes the response on, gives the connection back
 *   http_body.c      payload, in either direction
 *   http_local_reply.c    local replies, tunnels
 *
 * A step works on one session. It says STEP_GONE when it has ended it: then nothing of it may be
 * touched any more. */
#ifndef KAPROXY_HTTP_INTERNAL_H
#define KAPROXY_HTTP_INTERNAL_H

#include "http1/http1.h"
#include "session/exchange.h"

/* How much of a target the access log shows. */
#define HTTP_LOG_TARGET_MAX 1024

/* How far a message has been read. */
enum message_stage { MESSAGE_HEAD, MESSAGE_BODY, MESSAGE_TRAILER, MESSAGE_READ };

/* One request with its response. */
struct http_exchange {
    struct exchange base;
    struct http_exchange *next_free; /* while it is one */
    enum message_stage request_stage, response_stage;
    struct http1_body request_body, response_body;
    struct buffer head;       /* the request's head, while its body is read ahead */
    struct buffer last_chunk; /* the end of a chunked request that has a trailer */
    enum http1_framing up_framing, down_framing; /* how the bodies go on */
    uint16_t status;                             /* the client is given; 0: none yet */
    char method[24];
    char *target;  /* for the access log; NULL: unknown */
    char *upgrade; /* Upgrade as it is sent; NULL: none is */
    /* Each direction has its own, for both are read at the same time. They come last, for they are
     * large, and the functions that begin them set what counts of them. */
    struct http1_head request, response, request_trailer, response_trailer;
};

/* What the http sessions of a listener share. */
struct http_listener {
    const char *host; /* the Host that the upstream gets */
    bool client_host; /* the client's instead, if it sent one */
    char authority[ENDPOINT_TEXT_MAX];
    struct http_exchange *free_exchanges; /* to be used again */
    unsigned free_exchange_count;
};

/* What is counted of them: a metric block. */
struct http_counters {
    struct counter retries;      /* requests that were sent again */
    struct counter responses[6]; /* by the status' first digit; 0: beyond 599 */
};

struct http_session {
    struct client client;
};

static inline struct http_session *http_of(struct session *session)
{
    return container_of(session, struct http_session, client.session);
}

static inline struct http_session *http_of_client(struct client *client)
{
    return container_of(client, struct http_session, client);
}

/* NULL between requests. */
static inline struct http_exchange *http_exchange_of(const struct http_session *http)
{
    struct exchange *exchange = http->client.exchange;
    return exchange == NULL ? NULL : container_of(exchange, struct http_exchange, base);
}

static inline struct http_listener *http_listener_of(const struct http_session *http)
{
    return http->client.session.context->of_protocol;
}

static inline struct http_counters *http_counters_of(const struct http_session *http)
{
    return (struct http_counters *)http->client.session.context->counters->of_protocol;
}

/* May a client hold the connection for as long as it likes after this request? */
static inline bool http_may_hold(const struct http1_head *request)
{
    return request->upgrade || request->method == HTTP1_CONNECT || request->connection_auth;
}

/* Counts what the client was answered, by its status. */
static inline void http_count_response(struct http_session *http)
{
    unsigned status = http_exchange_of(http)->status;
    if (status != 0)
        counter_add(&http_counters_of(http)->responses[status < 600 ? status / 100 : 0], 1);
}

/* http.c; what struct exchange_protocol says, also below */

enum step http_read(struct client *client);
enum step http_relay(struct client *client);

/* http_exchange.c */

extern const struct exchange_protocol http_exchange_protocol;

/* A listener's part of this protocol. */
MUST_CHECK int http_listener_init(struct listener_context *context);
void http_listener_free(struct listener_context *context);

struct http_exchange *http_exchange_new(struct http_session *http); /* NULL: no memory */
void http_exchange_free(struct http_session *http);                 /* if there is one */
/* http_time.c */

/* READING: the header is to be complete header_timeout after `from`. */
void http_limit_header(struct http_session *http, usec_t from);
usec_t http_quiet_max(const struct client *client);
enum step http_time_is_over(struct client *client);

/* http_request.c */

/* READING: until the request is ready to be sent, then asks for a connection. */
enum step http_read_request(struct http_session *http);
/* RELAYING: sends what is buffered, reads more of the body. */
enum step http_send_request(struct http_session *http);
/* All of the request is with the upstream's kernel. */
bool http_request_is_sent(const struct http_exchange *exchange);

/* http_response.c */

/* RELAYING: reads the response and passes it on. */
enum step http_relay_response(struct http_session *http);

/* http_local_reply.c */

/* Replies in the upstream's place and ends the exchange. What is leased is discarded for `reason`.
 * A response of which the client has something already is cut. */
enum step http_local_reply(struct http_session *http, unsigned status, const char *text,
                           enum session_end end, enum pool_discard reason);
/* No connection could be had. */
enum step http_local_reply_failure(struct http_session *http, const struct failure *failure);
/* The client may not hold one more. A connection that was had already goes back as it came. */
enum step http_local_reply_no_tunnel(struct http_session *http);
/* The upstream's connection ended before anything of the response came: 502, or 504. */
enum step http_upstream_failed(struct client *client, enum pool_discard reason);
enum step http_unacked(struct client *client);
/* As exchange_cut; a response that ends by closing is cut by a reset, for its framing would not
 * show it. */
enum step http_cut(struct http_session *http, enum session_end end);

/* http_body.c */

/* Removes a body's chunk framing: its payload is moved together, to the front of *data. The result
 * is http1_body_feed's; *data and *length become the payload, *consumed what was used up. */
enum http1_result http_dechunk(struct http1_body *body, char **data, size_t *length,
                               size_t *consumed);

/* A span of payload, and how it goes on: as it is, or as a chunk. */
struct http_payload {
    bool chunked;
    bool last; /* the body ends with it; the caller sees to it where there is a trailer */
    const char *data;
    size_t length;
};

/* Writes the backlog and then the payload, in one call, as far as the stream takes them; the rest
 * is the new backlog. How many bytes were written, or -1 with errno, ENOMEM included. Without a
 * stream all is only put in the backlog. */
MUST_CHECK ssize_t http_pass(struct stream *to, struct buffer *backlog,
                             const struct http_payload *payload);

/* As exchange_move, for a body. */
enum relay_result http_move_bulk(struct http_session *http, const struct exchange_bulk *bulk,
                                 struct http1_body *body);

#endif
