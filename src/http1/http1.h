/* SPDX-License-Identifier: ISC */
/* HTTP/1.x messages, RFC 9110 and 9112, without I/O: headers, framing of bodies, trailers.
 *
 * Where the RFCs allow a choice between lenient and strict, this is strict about everything that
 * determines where a message ends: one that two peers could read in two ways is BAD. Other errors
 * are accepted if the meaning is clear, as we compose messages ourselves and do not forward the
 * original bytes. Nothing here allocates. A message is read with
 *
 *     http1_request_begin or http1_response_begin, http1_head_parse until it is not HTTP1_MORE,
 *     http1_body_begin, http1_body_feed until it is not HTTP1_MORE,
 *     and after HTTP1_TRAILER: http1_trailer_begin, http1_head_parse.
 *
 * The result does not depend on how the bytes are split into pieces. */
#ifndef KAPROXY_HTTP1_H
#define KAPROXY_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/util.h"

#define HTTP1_START_LINE_MAX 8192  /* without its CRLF; longer: 414 */
#define HTTP1_HEAD_MAX       32768 /* the whole header, including the last CRLF; longer: 431 */
#define HTTP1_FIELD_MAX      100   /* more: 431 */
#define HTTP1_TRAILER_MAX    8192  /* all of it, including the last CRLF; longer: 431 */
#define HTTP1_EXTENSION_MAX  4096  /* bytes of chunk extensions not offset by payload */

#define HTTP1_EMPTY_LINES_MAX 4 /* before a request; more: 400 */

enum http1_result {
    HTTP1_MORE,    /* more bytes are needed */
    HTTP1_DONE,    /* complete */
    HTTP1_TRAILER, /* bodies only: the payload is complete, a trailer section follows */
    HTTP1_BAD      /* broken or rejected; bad_text names the rule */
};

enum http1_kind { HTTP1_KIND_REQUEST, HTTP1_KIND_RESPONSE, HTTP1_KIND_TRAILER };

enum http1_method {
    HTTP1_OTHER, /* any other token; methods are case-sensitive */
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
    HTTP1_TRACE,
    HTTP1_CONNECT,
    HTTP1_PATCH
};
bool http1_method_is_safe(enum http1_method method);       /* RFC 9110 9.2.1 */
bool http1_method_is_idempotent(enum http1_method method); /* RFC 9110 9.2.2 */

/* The request-target's form, RFC 9112 3.2. */
enum http1_form { HTTP1_ORIGIN, HTTP1_ABSOLUTE, HTTP1_AUTHORITY, HTTP1_ASTERISK };

/* Where a body ends, RFC 9112 6.3. */
enum http1_framing {
    HTTP1_NO_BODY,
    HTTP1_LENGTH, /* after this many bytes; may be 0 */
    HTTP1_CHUNKED,
    HTTP1_UNTIL_CLOSE /* responses only */
};

/* Fields that matter to us or to the rules on Connection and trailers. */
enum http1_name {
    HTTP1_NAME_OTHER,
    HTTP1_NAME_AUTHENTICATION_INFO, /* Proxy-Authentication-Info as well */
    HTTP1_NAME_AUTHORIZATION,
    HTTP1_NAME_CONNECTION,
    HTTP1_NAME_CONTENT_LENGTH,
    HTTP1_NAME_DATE,
    HTTP1_NAME_EXPECT,
    HTTP1_NAME_FORWARDED,
    HTTP1_NAME_HOST,
    HTTP1_NAME_KEEP_ALIVE,
    HTTP1_NAME_MAX_FORWARDS,
    HTTP1_NAME_PROXY_AUTHENTICATE,
    HTTP1_NAME_PROXY_AUTHORIZATION,
    HTTP1_NAME_TRAILER,
    HTTP1_NAME_TRANSFER_ENCODING,
    HTTP1_NAME_UPGRADE,
    HTTP1_NAME_WWW_AUTHENTICATE,
    HTTP1_NAME_X_FORWARDED_FOR,
    HTTP1_NAME_KNOWN,    /* in the table, but without an id of its own */
    HTTP1_NAME_KNOWN_HOP /* the same, for this hop only */
};

/* A part of the head, as offsets into the caller's buffer, which may therefore move. */
struct http1_span {
    uint16_t start, length;
};

struct http1_field {
    struct http1_span name, value; /* the value without surrounding whitespace; may be empty */
    uint8_t id;                    /* enum http1_name */
    uint8_t drop;                  /* for this hop only, or not allowed in a trailer */
};

/* A message's start line and header section. After HTTP1_DONE everything is set; after HTTP1_BAD
 * bad_* are, and so is `method` if the request line was understood (otherwise it is
 * HTTP1_OTHER). */
struct http1_head {
    enum http1_kind kind;
    const char *bad_text; /* static; names the rule */
    uint16_t bad_status;  /* 400, 414, 417, 431, 501 or 505; responses: 502; trailers: 400, 431 */
    uint16_t bad_class;   /* the same, but for a response as if it were a request */

    uint16_t length; /* bytes of the head, from the buffer's start to the end of the last CRLF */
    uint8_t field_count;
    uint8_t minor;        /* 0 or 1; a higher minor version is treated as 1, RFC 9110 2.5 */
    bool persistent;      /* the sender keeps the connection open, RFC 9112 9.3 */
    bool connection_auth; /* names NTLM or Negotiate; a request sends credentials of that kind */
    bool has_length; /* there was a Content-Length; `content_length` holds it even without a body */
    bool upgrade;    /* request: asked for, valid and passed on; response: 101 granted it */
    bool upgrade_left_out; /* request: asked for something that is not passed on */
    enum http1_framing framing;
    uint64_t content_length; /* at most INT64_MAX */

    /* Requests. */
    enum http1_method method; /* responses: of the request they answer */
    enum http1_form form;
    bool expect_continue; /* a 1.1 request with a body waits for 100 */
    int32_t max_forwards; /* of OPTIONS and TRACE, at least 1; otherwise -1 */
    struct http1_span method_text, target;
    struct http1_span path;      /* path and query; empty: "/", or "*" for OPTIONS */
    struct http1_span authority; /* absolute- or authority-form's, otherwise Host's; empty: none */

    /* Responses. */
    uint16_t status; /* 100 to 999 */
    bool repaired;   /* in its framing or line ends: its connection must not be reused */
    const char *upgrade_sent;
    struct http1_span reason;
    int32_t keep_alive_timeout; /* Keep-Alive: timeout=, in seconds; -1: none */

    /* The parser's. */
    uint8_t stage, line_ends, empty_lines;
    bool unclean; /* the line being read had control characters */
    uint16_t line, scanned;

    struct http1_field fields[HTTP1_FIELD_MAX];
};

/* The request as it was sent, on which a response's framing depends. */
struct http1_request_info {
    enum http1_method method;
    const char *upgrade;   /* Upgrade's value, from http1_compose_upgrade; must outlive the head.
                              NULL: none */
    bool upgrade_left_out; /* the client had asked for more than that */
};

/* Prepares a head for parsing. */
void http1_request_begin(struct http1_head *head);
void http1_response_begin(struct http1_head *head, const struct http1_request_info *request_info);
void http1_trailer_begin(struct http1_head *head);

/* Parses the first `length` bytes of the message, which must be contiguous. After HTTP1_MORE call
 * again with the same bytes and more after them; only the new ones are read. Fewer bytes than
 * before are HTTP1_BAD: they cannot be the same. Bytes after the head are left alone: the body
 * begins at head->length. Empty lines before a request are skipped (RFC 9112 2.2), so a buffer of
 * only CRLF is not the start of a request: see http1_head_started. No bytes at all are HTTP1_MORE;
 * then `data` may be NULL, here and below.
 *
 * In a response's fields control characters and folded lines are replaced by spaces, in `data`
 * itself, so that every reader of a value sees the same. */
MUST_CHECK enum http1_result http1_head_parse(struct http1_head *head, char *data, size_t length);

/* Has the first line begun? (408 or a silent close if the client stops here.) */
bool http1_head_started(const struct http1_head *head);

/* An interim response, RFC 9110 15.2: another response follows. 101 is final. */
bool http1_head_is_interim(const struct http1_head *head);

/* A body's framing, fed in pieces of any size. */
struct http1_body {
    enum http1_framing framing;
    const char *bad_text; /* static; names the rule */
    uint64_t left;        /* payload bytes still to come, of the body or of this chunk */
    uint32_t extension;   /* bytes of extensions not yet offset by payload */
    uint8_t state, digits;
    bool padded; /* the line of a chunk's size may be padded with whitespace */
};

/* The result of one call of http1_body_feed: `consumed` bytes of the data, of which `length` from
 * `start` on are payload (one span, at the end of the consumed bytes; may be empty). */
struct http1_piece {
    size_t consumed, start, length;
};

/* `kind` is the message's: a request's body is parsed more strictly. */
void http1_body_begin(struct http1_body *body, enum http1_kind kind, enum http1_framing framing,
                      uint64_t length);

/* Consumes bytes up to the end of the next span of payload. HTTP1_MORE: pass the piece on, and call
 * again with the data from `consumed` on, if any is left. HTTP1_DONE, HTTP1_TRAILER: the payload in
 * the piece is the last one, and after `consumed` follows the next message, or a trailer section
 * that is not empty: parse that, in one contiguous buffer, with http1_trailer_begin. Feeding a body
 * that has ended, or no bytes, has no effect. BAD: nothing was consumed. */
MUST_CHECK enum http1_result http1_body_feed(struct http1_body *body, const char *data,
                                             size_t length, struct http1_piece *piece);

/* Payload bytes from here to the end of a body of known length; 0 for others. */
uint64_t http1_body_rest(const struct http1_body *body);

/* Continues as if so many of these bytes had been fed, after they were moved elsewhere. */
void http1_body_skip(struct http1_body *body, uint64_t length);

/* Is the message complete if the peer closes the connection now? */
bool http1_body_whole_at_close(const struct http1_body *body);

#endif
