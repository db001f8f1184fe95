/* SPDX-License-Identifier: ISC */
/* Messages and their expected outcome. The first column is the rule: the RFC's number and section.
 * Each text is all that the peer sends. */
#ifndef KAPROXY_HTTP1_TABLE_H
#define KAPROXY_HTTP1_TABLE_H

#include "http1/http1.h"

enum outcome {
    WHOLE,       /* header and body are complete */
    HEAD_CUT,    /* the header is not complete */
    HEAD_BAD,    /* the header is rejected, with `status` */
    BODY_CUT,    /* the body is not complete */
    BODY_BAD,    /* the body's framing is broken */
    TRAILER_BAD, /* the trailer section is */
    UNTIL_CLOSE  /* complete when the peer closes now */
};

struct http1_case {
    const char *rule;
    enum http1_kind kind;
    enum http1_method method; /* of the request that a response answers */
    const char *upgrade;      /* the Upgrade that was sent with it, or NULL */
    const char *text;
    size_t length;
    enum outcome outcome;
    unsigned status; /* HEAD_BAD, TRAILER_BAD */
    enum http1_framing framing;
    const char *payload;
    size_t rest;   /* bytes after the message */
    bool repaired; /* a response after which nothing may be read */
};

#define CASE(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define TEXT(t)             .text = (t), .length = sizeof(t) - 1
#define REQUEST(rfc, t)     .rule = (rfc), .kind = HTTP1_KIND_REQUEST, TEXT(t)
#define RESPONSE(rfc, m, t) .rule = (rfc), .kind = HTTP1_KIND_RESPONSE, .method = HTTP1_##m, TEXT(t)
#define BODY(f, p)          .framing = HTTP1_##f, .payload = (p)

/* Requests. */
#define PASS(rfc, t)               CASE(REQUEST(rfc, t), .outcome = WHOLE, BODY(NO_BODY, ""))
#define PASS_BODY(rfc, t, f, p)    CASE(REQUEST(rfc, t), .outcome = WHOLE, BODY(f, p))
#define PASS_REST(rfc, t, f, p, r) CASE(REQUEST(rfc, t), .outcome = WHOLE, BODY(f, p), .rest = (r))
#define MORE(rfc, t)               CASE(REQUEST(rfc, t), .outcome = HEAD_CUT)
#define FAIL(rfc, t, s)            CASE(REQUEST(rfc, t), .outcome = HEAD_BAD, .status = (s))
#define MORE_BODY(rfc, t, f, p)    CASE(REQUEST(rfc, t), .outcome = BODY_CUT, BODY(f, p))
#define FAIL_BODY(rfc, t, p)       CASE(REQUEST(rfc, t), .outcome = BODY_BAD, BODY(CHUNKED, p))
#define FAIL_TRAILER(rfc, t, s, p)                                                                 \
    CASE(REQUEST(rfc, t), .outcome = TRAILER_BAD, .status = (s), BODY(CHUNKED, p))

/* Responses. */
#define R_PASS(rfc, m, t, f, p) CASE(RESPONSE(rfc, m, t), .outcome = WHOLE, BODY(f, p))
#define R_REST(rfc, m, t, f, p, r)                                                                 \
    CASE(RESPONSE(rfc, m, t), .outcome = WHOLE, BODY(f, p), .rest = (r))
#define R_CLOSE(rfc, m, t, p)                                                                      \
    CASE(RESPONSE(rfc, m, t), .outcome = UNTIL_CLOSE, BODY(UNTIL_CLOSE, p))
#define R_PASS_ONCE(rfc, m, t, f, p)                                                               \
    CASE(RESPONSE(rfc, m, t), .outcome = WHOLE, BODY(f, p), .repaired = true)
#define R_MORE(rfc, t)            CASE(RESPONSE(rfc, GET, t), .outcome = HEAD_CUT)
#define R_FAIL(rfc, m, t)         CASE(RESPONSE(rfc, m, t), .outcome = HEAD_BAD, .status = 502)
#define R_MORE_BODY(rfc, t, f, p) CASE(RESPONSE(rfc, GET, t), .outcome = BODY_CUT, BODY(f, p))
#define R_FAIL_BODY(rfc, t, p)    CASE(RESPONSE(rfc, GET, t), .outcome = BODY_BAD, BODY(CHUNKED, p))
#define R_SWITCH(rfc, u, t)                                                                        \
    CASE(RESPONSE(rfc, GET, t), .upgrade = (u), .outcome = WHOLE, BODY(NO_BODY, ""))
#define R_SWITCH_FAIL(rfc, u, t)                                                                   \
    CASE(RESPONSE(rfc, GET, t), .upgrade = (u), .outcome = HEAD_BAD, .status = 502)

/* Prefixes that many cases share. */
#define GET11  "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST11 "POST / HTTP/1.1\r\nHost: a\r\n"
#define POST10 "POST / HTTP/1.0\r\nHost: a\r\n"
#define TE     POST11 "Transfer-Encoding: chunked\r\n\r\n"
#define OK11   "HTTP/1.1 200 OK\r\n"
#define OK10   "HTTP/1.0 200 OK\r\n"
#define R_TE   OK11 "Transfer-Encoding: chunked\r\n\r\n"
#define END0   "\r\n0\r\n\r\n"

#endif
