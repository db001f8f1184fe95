/* SPDX-License-Identifier: ISC */
/* Shared by the files of the http session; for http*.c alone.
 *
 *   http.c           one client: its exchanges, one after another
 *   http_exchange.c  http's part of an exchange and of a listener
 *   http_time.c      time limits
 *   http_request.c   client to upstream: reads a request ahead, requests a connection, sends
 *   http_response.c  upstream to client: passes the response on, releases the connection
 *   http_body.c      payload, in either direction
 *   http_local_reply.c    local replies, tunnels
 *
 * A step works on one session. It returns STEP_GONE when it has ended the session, of which nothing
 * may then be touched. */
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
    struct http_exchange *next_free; /* while it is in use */
    enum message_stage request_stage, response_stage;
    struct http1_body request_body, response_body;
    struct buffer head;       /* the request's header, while its body is read ahead */
    struct buffer last_chunk; /* the end of a chunked request that has a trailer */
    enum http1_framing up_framing, down_framing; /* how the bodies continue */
    uint16_t status;                             /* sent to the client; 0: none yet */
    char method[24];
    char *target;  /* for the access log; NULL: unknown */
    char *upgrade; /* Upgrade as it is sent; NULL: none */
    /* Each direction has its own, since both are read at the same time. They come last since they
     * are large; the functions that begin them initialize the parts that matter. */
    struct http1_head request, response, request_trailer, response_trailer;
};

/* What the http sessions of a listener share. */
struct http_listener {
    const char *host; /* the Host sent to the upstream */
    bool client_host; /* the client's instead, if it sent one */
    char authority[ENDPOINT_TEXT_MAX];
    struct http_exchange *free_exchanges; /* for reuse */
    unsigned free_exchange_count;
};

/* Counters: a metric block. */
struct http_counters {
    struct counter retries;      /* retried requests */
    struct counter responses[6]; /* by the first digit of the status; 0: beyond 599 */
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

/* May a client hold the connection for any length of time after this request? */
static inline bool http_may_hold(const struct http1_head *request)
{
    return request->upgrade || request->method == HTTP1_CONNECT || request->connection_auth;
}

/* Counts a response to a client, by its status. */
static inline void http_count_response(struct http_session *http)
{
    unsigned status = http_exchange_of(http)->status;
    if (status != 0)
        counter_add(&http_counters_of(http)->responses[status < 600 ? status / 100 : 0], 1);
}

/* http.c; members of struct exchange_protocol, also below */

enum step http_read(struct client *client);
enum step http_relay(struct client *client);

/* http_exchange.c */

extern const struct exchange_protocol http_exchange_protocol;

/* A listener's part of this protocol. */
MUST_CHECK int http_listener_init(struct listener_context *context);
void http_listener_free(struct listener_context *context);

struct http_exchange *http_exchange_new(struct http_session *http); /* NULL: out of memory */
void http_exchange_free(struct http_session *http);                 /* if there is one */
/* http_time.c */

/* READING: the header must be complete header_timeout after `from`. */
void http_limit_header(struct http_session *http, usec_t from);
usec_t http_quiet_max(const struct client *client);
enum step http_time_is_over(struct client *client);

/* http_request.c */

/* READING: until the request is ready to be sent, then requests a connection. */
enum step http_read_request(struct http_session *http);
/* RELAYING: sends what is buffered, reads more of the body. */
enum step http_send_request(struct http_session *http);
/* The upstream's kernel has all of the request. */
bool http_request_is_sent(const struct http_exchange *exchange);

/* http_response.c */

/* RELAYING: reads the response and passes it on. */
enum step http_relay_response(struct http_session *http);

/* http_local_reply.c */

/* Replies in the upstream's place and ends the exchange. A lease is discarded for `reason`. A
 * response of which the client already has a part is truncated. */
enum step http_local_reply(struct http_session *http, unsigned status, const char *text,
                           enum session_end end, enum pool_discard reason);
/* No connection was available. */
enum step http_local_reply_failure(struct http_session *http, const struct failure *failure);
/* The client may not hold one more. A connection that it already got is released unused. */
enum step http_local_reply_no_tunnel(struct http_session *http);
/* The upstream's connection ended before anything of the response came: 502, or 504. */
enum step http_upstream_failed(struct client *client, enum pool_discard reason);
enum step http_unacked(struct client *client);
/* As exchange_cut; a response that ends by closing is truncated by a reset, since its framing would
 * not show it. */
enum step http_cut(struct http_session *http, enum session_end end);

/* http_body.c */

/* Removes a body's chunk framing: its payload is moved together, to the front of *data. The result
 * is http1_body_feed's; *data and *length become the payload, *consumed what was used up. */
enum http1_result http_dechunk(struct http1_body *body, char **data, size_t *length,
                               size_t *consumed);

/* A span of payload, and how it continues: as it is, or as a chunk. */
struct http_payload {
    bool chunked;
    bool last; /* the body ends with it; if it has a trailer the caller sends that */
    const char *data;
    size_t length;
};

/* Writes the backlog and then the payload, in one call, as far as the stream takes them; the rest
 * becomes the backlog. The number of bytes written, or -1 with errno, ENOMEM included. Without a
 * stream everything is appended to the backlog. */
MUST_CHECK ssize_t http_pass(struct stream *to, struct buffer *backlog,
                             const struct http_payload *payload);

/* As exchange_move, for a body. */
enum relay_result http_move_bulk(struct http_session *http, const struct exchange_bulk *bulk,
                                 struct http1_body *body);

#endif
