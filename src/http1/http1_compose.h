/* SPDX-License-Identifier: ISC */
/* The headers that we send: always HTTP/1.1, composed from parsed values, never from raw bytes.
 *
 * Each function writes into the caller's buffer and returns the length, or -1 with errno ENOSPC.
 * HTTP1_COMPOSE_MAX bytes are enough for any parsed head with a host of up to 512 bytes. `data` is
 * the buffer that `head` was parsed from. */
#ifndef KAPROXY_HTTP1_COMPOSE_H
#define KAPROXY_HTTP1_COMPOSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/util.h"
#include "http1/http1.h"
#include "http1/http1_forwarded.h"

#define HTTP1_COMPOSE_MAX (HTTP1_HEAD_MAX + 2048)

struct http1_request_options {
    const char *host;  /* Host's value: the upstream's authority or a literal */
    bool client_host;  /* send the client's Host; `host` if it sent none */
    bool pass_expect;  /* pass 100-continue on; otherwise the caller answers it */
    bool known_length; /* chunked, but read to its end: send `length` instead, without a trailer */
    uint64_t length;
    enum http1_forwarded forwarded;
    const char *client; /* the client's numeric address for `forwarded`; NULL: unknown */
};

/* A request for the upstream: target in origin-form, hop-by-hop fields dropped, framing and Host
 * rewritten; Connection and Upgrade only with head->upgrade. */
MUST_CHECK ssize_t http1_compose_request(char *buffer, size_t size, const struct http1_head *head,
                                         const char *data,
                                         const struct http1_request_options *options);

/* The value of Upgrade as composed for a head with `upgrade`: the protocols that are passed on. */
MUST_CHECK ssize_t http1_compose_upgrade(char *buffer, size_t size, const struct http1_head *head,
                                         const char *data);

enum http1_connection { HTTP1_SAY_NOTHING, HTTP1_SAY_CLOSE, HTTP1_SAY_KEEP_ALIVE };

struct http1_response_options {
    enum http1_framing framing;       /* how the body is sent to the client, if there is one */
    uint64_t length;                  /* for HTTP1_LENGTH */
    enum http1_connection connection; /* not sent in interim responses */
    time_t now;                       /* for Date if the upstream sent none; 0: do not add it */
};

/* A response for the client. head->framing HTTP1_NO_BODY overrides options->framing. */
MUST_CHECK ssize_t http1_compose_response(char *buffer, size_t size, const struct http1_head *head,
                                          const char *data,
                                          const struct http1_response_options *options);

/* The line before a chunk of `length` > 0 payload bytes; HTTP1_CHUNK_END follows the payload. */
#define HTTP1_CHUNK_LINE_MAX 18
#define HTTP1_CHUNK_END      "\r\n"
#define HTTP1_LAST_CHUNK     "0\r\n\r\n" /* the end of a chunked body without trailer fields */
MUST_CHECK ssize_t http1_compose_chunk_line(char *buffer, size_t size, uint64_t length);

/* The last chunk with the trailer fields that may be passed on. `trailer` is HTTP1_DONE. */
MUST_CHECK ssize_t http1_compose_last_chunk(char *buffer, size_t size,
                                            const struct http1_head *trailer, const char *data);

/* A local reply, text/plain, with Connection: close. */
struct http1_local_reply {
    unsigned status;          /* 400 to 599 */
    const char *text;         /* what happened; control characters are replaced */
    const char *proxy_status; /* Proxy-Status' value; NULL: none */
    bool head_only;           /* it answers HEAD: the length is sent, the body is not */
    unsigned retry_after;     /* seconds; 0: none */
    time_t now;               /* for Date; 0: none */
};
MUST_CHECK ssize_t http1_compose_local_reply(char *buffer, size_t size,
                                             const struct http1_local_reply *reply);

/* The standard phrase for a status of our replies; "Error" for any other. */
const char *http1_reason(unsigned status);

#endif
