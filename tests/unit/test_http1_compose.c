/* SPDX-License-Identifier: ISC */
/* The headers we send, compared byte for byte. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http1/http1_compose.h"

static struct http1_head head;
static char out[HTTP1_COMPOSE_MAX];

static char parsed[4096]; /* what `head` points into */

static void parse(const char *message)
{
    assert_true(strlen(message) < sizeof(parsed));
    memcpy(parsed, message, strlen(message) + 1);
    assert_int_equal(http1_head_parse(&head, parsed, strlen(parsed)), HTTP1_DONE);
}

static void parse_request(const char *message)
{
    http1_request_begin(&head);
    parse(message);
}

static void parse_response(const char *message, enum http1_method method, const char *upgrade)
{
    http1_response_begin(&head, &(struct http1_request_info){.method = method, .upgrade = upgrade});
    parse(message);
}

static void assert_out(ssize_t length, const char *expected)
{
    assert_true(length >= 0);
    out[length] = '\0';
    assert_string_equal(out, expected);
}

static void check_request(const char *message, struct http1_request_options options,
                          const char *expected)
{
    options.host = "up:8080";
    parse_request(message);
    assert_out(http1_compose_request(out, sizeof(out), &head, parsed, &options), expected);
}

static void check_response(const char *message, enum http1_method method,
                           struct http1_response_options options, const char *expected)
{
    parse_response(message, method, NULL);
    assert_out(http1_compose_response(out, sizeof(out), &head, parsed, &options), expected);
}

#define PLAIN ((struct http1_request_options){0})

/* Method, path and fields are passed on, in order, with one space after each colon. */
static void test_request_is_passed_on(void **state)
{
    (void)state;
    check_request("GET /a?b HTTP/1.1\r\nHost: a\r\nX:b\r\nCookie:\t c \r\nY:\r\n\r\n", PLAIN,
                  "GET /a?b HTTP/1.1\r\nHost: up:8080\r\nX: b\r\nCookie: c\r\nY: \r\n\r\n");
    check_request("patch / HTTP/1.0\r\n\r\n", PLAIN, "patch / HTTP/1.1\r\nHost: up:8080\r\n\r\n");
}

/* Whitespace around a value is ours, whatever arrived; a line already in that form is sent as it
 * is. */
static void test_field_whitespace(void **state)
{
    (void)state;
    check_request("GET / HTTP/1.0\r\nA: b\r\nC:\td\r\nE:  f\r\nG: h \t\r\nI:j \r\nK: \r\nL:\t\r\n"
                  "M:\r\nN: o p\r\n\r\n",
                  PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nA: b\r\nC: d\r\nE: f\r\nG: h\r\nI: j\r\n"
                  "K: \r\nL: \r\nM: \r\nN: o p\r\n\r\n");
}

/* RFC 9112 2.2: LF may end lines; we end them with CRLF. Empty lines before the start line are
 * dropped. */
static void test_request_line_ends(void **state)
{
    (void)state;
    check_request("GET /a HTTP/1.1\nHost: a\nX: b \n\n", PLAIN,
                  "GET /a HTTP/1.1\r\nHost: up:8080\r\nX: b\r\n\r\n");
    check_request("\r\n\r\n\r\n\r\nGET /a HTTP/1.0\r\n\r\n", PLAIN,
                  "GET /a HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("\n\nGET /a HTTP/1.0\n\n", PLAIN, "GET /a HTTP/1.1\r\nHost: up:8080\r\n\r\n");
}

/* RFC 9112 3.2.1, 3.2.4. */
static void test_request_target(void **state)
{
    (void)state;
    check_request("GET http://b/c?d HTTP/1.0\r\n\r\n", PLAIN,
                  "GET /c?d HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("GET http://b HTTP/1.0\r\n\r\n", PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("GET http://b?c HTTP/1.0\r\n\r\n", PLAIN,
                  "GET /?c HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("OPTIONS http://b HTTP/1.0\r\n\r\n", PLAIN,
                  "OPTIONS * HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("OPTIONS http://b?c HTTP/1.0\r\n\r\n", PLAIN,
                  "OPTIONS /?c HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("OPTIONS * HTTP/1.0\r\n\r\n", PLAIN,
                  "OPTIONS * HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("CONNECT b:1 HTTP/1.0\r\n\r\n", PLAIN,
                  "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n");
    check_request("GET /{a}[b]|c\\d\"e'<f>%%g%h\xc3\xa9?{a}[b]|c\\d\"e'<f>%4\xff HTTP/1.0\r\n\r\n",
                  PLAIN,
                  "GET /{a}[b]|c\\d\"e'<f>%%g%h\xc3\xa9?{a}[b]|c\\d\"e'<f>%4\xff HTTP/1.1\r\n"
                  "Host: up:8080\r\n\r\n");
}

/* The client's Host if it is passed on, and absolute-form's authority before it. */
static void test_request_host(void **state)
{
    struct http1_request_options client = {.client_host = true};

    (void)state;
    check_request("GET / HTTP/1.1\r\nX: y\r\nHost: a:1\r\n\r\n", client,
                  "GET / HTTP/1.1\r\nHost: a:1\r\nX: y\r\n\r\n");
    check_request("GET http://b:2/ HTTP/1.1\r\nHost: a:1\r\n\r\n", client,
                  "GET / HTTP/1.1\r\nHost: b:2\r\n\r\n");
    check_request("GET / HTTP/1.0\r\n\r\n", client, "GET / HTTP/1.1\r\nHost: up:8080\r\n\r\n");
}

/* RFC 9110 7.6.1. */
static void test_request_hop_by_hop(void **state)
{
    (void)state;
    check_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x-a\r\nX-A: b\r\n"
                  "Keep-Alive: 5\r\nProxy-Connection: c\r\nTE: trailers\r\nUpgrade: h2c\r\n"
                  "HTTP2-Settings: d\r\nProxy-Authorization: e\r\nAuthorization: f\r\n\r\n",
                  PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nProxy-Authorization: e\r\n"
                  "Authorization: f\r\n\r\n");
}

static void test_request_framing(void **state)
{
    static const char chunked[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:CHUNKED\r\n"
                                  "Trailer: X\r\n\r\n";
    struct http1_request_options known = {.known_length = true, .length = 17};

    (void)state;
    check_request("POST / HTTP/1.0\r\nContent-Length:\t0007\r\nX: y\r\n\r\n", PLAIN,
                  "POST / HTTP/1.1\r\nHost: up:8080\r\nX: y\r\nContent-Length: 7\r\n\r\n");
    check_request("POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n", PLAIN,
                  "POST / HTTP/1.1\r\nHost: up:8080\r\nContent-Length: 0\r\n\r\n");
    check_request("POST / HTTP/1.0\r\nContent-Length: 07\r\nX: y\r\nContent-Length: 07\r\n\r\n",
                  PLAIN, "POST / HTTP/1.1\r\nHost: up:8080\r\nX: y\r\nContent-Length: 7\r\n\r\n");
    check_request("CONNECT b:1 HTTP/1.0\r\nContent-Length: 0\r\n\r\n", PLAIN,
                  "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n");
    check_request(chunked, PLAIN,
                  "POST / HTTP/1.1\r\nHost: up:8080\r\nTrailer: X\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n");
    check_request(chunked, known, "POST / HTTP/1.1\r\nHost: up:8080\r\nContent-Length: 17\r\n\r\n");
}

static void test_request_expect(void **state)
{
    static const char message[] = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                  "Content-Length: 1\r\n\r\n";
    struct http1_request_options pass = {.pass_expect = true};

    (void)state;
    check_request(message, pass,
                  "POST / HTTP/1.1\r\nHost: up:8080\r\nContent-Length: 1\r\n"
                  "Expect: 100-continue\r\n\r\n");
    check_request(message, PLAIN, "POST / HTTP/1.1\r\nHost: up:8080\r\nContent-Length: 1\r\n\r\n");
    check_request("POST / HTTP/1.0\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\n", pass,
                  "POST / HTTP/1.1\r\nHost: up:8080\r\nContent-Length: 1\r\n\r\n");
}

/* RFC 9110 7.8: everything that was properly requested, except h2c. */
static void test_request_upgrade(void **state)
{
    (void)state;
    check_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
                  "Upgrade: h2c, websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
                  PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nSec-WebSocket-Version: 13\r\n"
                  "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    check_request(
        "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: \"a\", SPDY/3.1,, b c\r\nConnection: Upgrade\r\n"
        "Upgrade: H2C/1,Tcp\r\nContent-Length: 5\r\n\r\n",
        PLAIN,
        "POST / HTTP/1.1\r\nHost: up:8080\r\nContent-Length: 5\r\n"
        "Connection: upgrade\r\nUpgrade: SPDY/3.1, Tcp\r\n\r\n");
    assert_out(http1_compose_upgrade(out, sizeof(out), &head, parsed), "SPDY/3.1, Tcp");
    assert_int_equal(http1_compose_upgrade(out, sizeof("SPDY/3.1, Tcp") - 2, &head, parsed), -1);
    check_request("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: tcp\r\n\r\n", PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("GET / HTTP/1.0\r\nUpgrade: tcp\r\nConnection: upgrade\r\n\r\n", PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\n\r\n");
    check_request("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\n\r\n");
}

/* RFC 9110 7.6.2: decremented; for other methods passed on as it arrived. */
static void test_request_max_forwards(void **state)
{
    (void)state;
    check_request("OPTIONS * HTTP/1.0\r\nMax-Forwards: 010\r\nX: y\r\n\r\n", PLAIN,
                  "OPTIONS * HTTP/1.1\r\nHost: up:8080\r\nMax-Forwards: 9\r\nX: y\r\n\r\n");
    check_request("OPTIONS * HTTP/1.0\r\nMax-Forwards: 1235\r\n\r\n", PLAIN,
                  "OPTIONS * HTTP/1.1\r\nHost: up:8080\r\nMax-Forwards: 1234\r\n\r\n");
    check_request("TRACE / HTTP/1.0\r\nMax-Forwards: 99999999999\r\n\r\n", PLAIN,
                  "TRACE / HTTP/1.1\r\nHost: up:8080\r\nMax-Forwards: 2147483646\r\n\r\n");
    check_request("TRACE / HTTP/1.0\r\nMax-Forwards: 1\r\n\r\n", PLAIN,
                  "TRACE / HTTP/1.1\r\nHost: up:8080\r\nMax-Forwards: 0\r\n\r\n");
    check_request("GET / HTTP/1.0\r\nMax-Forwards: 0\r\n\r\n", PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nMax-Forwards: 0\r\n\r\n");
}

static void test_request_x_forwarded_for(void **state)
{
    struct http1_request_options x = {.forwarded = HTTP1_FORWARDED_X, .client = "192.0.2.1"};

    (void)state;
    check_request("GET / HTTP/1.0\r\n\r\n", x,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    check_request("GET / HTTP/1.0\r\nX-Forwarded-For: a\r\nForwarded: for=d\r\n"
                  "x-forwarded-for: b, c\r\nX-Forwarded-For:\r\n\r\n",
                  x,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nForwarded: for=d\r\n"
                  "X-Forwarded-For: a, b, c, 192.0.2.1\r\n\r\n");
    check_request("GET / HTTP/1.0\r\nX-Forwarded-For: a\r\n\r\n", PLAIN,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nX-Forwarded-For: a\r\n\r\n");
    x.client = NULL;
    check_request("GET / HTTP/1.0\r\n\r\n", x,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nX-Forwarded-For: unknown\r\n\r\n");
}

/* RFC 7239. An open quote before our element would make it part of a string. */
static void test_request_forwarded(void **state)
{
    struct http1_request_options f = {.forwarded = HTTP1_FORWARDED_RFC7239, .client = "192.0.2.1"};

    (void)state;
    check_request("GET / HTTP/1.0\r\nForwarded: for=\"a\\\"\"\r\nX-Forwarded-For: b\r\n\r\n", f,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nX-Forwarded-For: b\r\n"
                  "Forwarded: for=\"a\\\"\", for=192.0.2.1\r\n\r\n");
    check_request("GET / HTTP/1.0\r\nForwarded: for=\"a\\\"\r\nForwarded: for=b\r\n\r\n", f,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nForwarded: for=b, for=192.0.2.1\r\n\r\n");
    check_request("GET / HTTP/1.0\r\nForwarded: for=a\\\"\r\n\r\n", f,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nForwarded: for=192.0.2.1\r\n\r\n");
    f.client = "fe80::1%eth0";
    check_request("GET / HTTP/1.0\r\n\r\n", f,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nForwarded: for=\"[fe80::1]\"\r\n\r\n");
    f.client = NULL;
    check_request("GET / HTTP/1.0\r\n\r\n", f,
                  "GET / HTTP/1.1\r\nHost: up:8080\r\nForwarded: for=unknown\r\n\r\n");
}

#define LENGTH ((struct http1_response_options){.framing = HTTP1_LENGTH, .length = 5})

/* Status, reason and fields are passed on, hop-by-hop fields are not; always HTTP/1.1. */
static void test_response_is_passed_on(void **state)
{
    (void)state;
    check_response("HTTP/1.0 299 Very  good\r\nConnection: close, x-a\r\nX-A: b\r\nX:c\r\n"
                   "Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nContent-Length: 005\r\n"
                   "Set-Cookie: d\r\nSet-Cookie: e\r\n\r\n",
                   HTTP1_GET, LENGTH,
                   "HTTP/1.1 299 Very  good\r\nX: c\r\nSet-Cookie: d\r\nSet-Cookie: e\r\n"
                   "Content-Length: 5\r\n\r\n");
    check_response("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n");
}

/* What was repaired is sent as it should have arrived. */
static void test_response_is_repaired(void **state)
{
    (void)state;
    check_response("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n");
    check_response("HTTP/1.1 999 a\nX: b\nContent-Length: 5\n\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 999 a\r\nX: b\r\nContent-Length: 5\r\n\r\n");
    check_response("HTTP/1.1 200 a\r\nX: b\nY:\n c\r\nContent-Length: 5\n\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 200 a\r\nX: b\r\nY: c\r\nContent-Length: 5\r\n\r\n");
    check_response("HTTP/1.1 200 a\r\nX: b\r\n\tc \r\n  d\r\nY:\r\n e\r\nContent-Length: 5\r\n\r\n",
                   HTTP1_GET, LENGTH,
                   "HTTP/1.1 200 a\r\nX: b  \tc     d\r\nY: e\r\nContent-Length: 5\r\n\r\n");
    check_response("HTTP/1.1 200 a\r\nX \t: b\r\nY :\r\nZ :c\r\nContent-Length: 5\r\n\r\n",
                   HTTP1_GET, LENGTH,
                   "HTTP/1.1 200 a\r\nX: b\r\nY: \r\nZ: c\r\nContent-Length: 5\r\n\r\n");
    check_response("HTTP/1.1 200 a\r\nX:\x01\x02"
                   "b\x0b\x7f\x1b[0m\x08\r\nY: \x0c\r\n\x09\x1f"
                   "c\r\n"
                   "Content-Length: 5\r\n\r\n",
                   HTTP1_GET, LENGTH,
                   "HTTP/1.1 200 a\r\nX: b   [0m\r\nY: c\r\nContent-Length: 5\r\n\r\n");
}

/* Chunked as it arrived; decoded for a client that gets its end by close; chunked for one that may
 * stay although the upstream ends by close. */
static void test_response_framing(void **state)
{
    static const char chunked[] = "HTTP/1.1 200 x\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n"
                                  "\r\n";
    struct http1_response_options to_chunked = {.framing = HTTP1_CHUNKED};
    struct http1_response_options to_close = {.framing = HTTP1_UNTIL_CLOSE,
                                              .connection = HTTP1_SAY_CLOSE};

    (void)state;
    check_response(chunked, HTTP1_GET, to_chunked,
                   "HTTP/1.1 200 x\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n");
    check_response(chunked, HTTP1_GET, to_close, "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n");
    check_response("HTTP/1.0 200 x\r\n\r\n", HTTP1_GET, to_chunked,
                   "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/* Without a body the received length is kept if it describes what GET would have had. */
static void test_response_without_body(void **state)
{
    struct http1_response_options to_chunked = {.framing = HTTP1_CHUNKED};

    (void)state;
    check_response("HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n", HTTP1_HEAD, to_chunked,
                   "HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n");
    check_response("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP1_HEAD, to_chunked,
                   "HTTP/1.1 200 x\r\n\r\n");
    check_response("HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n");
    check_response("HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 204 x\r\n\r\n");
    check_response("HTTP/1.1 204 x\r\nContent-Length: 7\r\nX: y\r\n\r\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 204 x\r\nX: y\r\n\r\n");
    check_response("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\nTrailer: y\r\n\r\n", HTTP1_GET,
                   to_chunked, "HTTP/1.1 204 x\r\n\r\n");
    check_response("HTTP/1.1 304 x\r\nContent-Length: 9\r\nContent-Length: 9\r\n\r\n", HTTP1_GET,
                   LENGTH, "HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n");
    check_response("HTTP/1.1 100 x\r\nContent-Length: 0\r\n\r\n", HTTP1_GET, LENGTH,
                   "HTTP/1.1 100 x\r\n\r\n");
    /* RFC 9110 15.5.22: what to upgrade to is the response itself. */
    check_response("HTTP/1.1 426 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
                   "Content-Length: 5\r\n\r\n",
                   HTTP1_GET, LENGTH,
                   "HTTP/1.1 426 x\r\nUpgrade: h2c\r\nContent-Length: 5\r\n"
                   "Connection: upgrade\r\n\r\n");
    check_response("HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n", HTTP1_CONNECT, LENGTH,
                   "HTTP/1.1 200 x\r\n\r\n");
}

static void test_response_connection(void **state)
{
    static const char switched[] = "HTTP/1.1 101 x\r\nConnection: Upgrade, x\r\nX: a\r\n"
                                   "Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";
    struct http1_response_options keep = {.connection = HTTP1_SAY_KEEP_ALIVE};
    struct http1_response_options close = {.connection = HTTP1_SAY_CLOSE};

    (void)state;
    check_response("HTTP/1.1 204 x\r\n\r\n", HTTP1_GET, keep,
                   "HTTP/1.1 204 x\r\nConnection: keep-alive\r\n\r\n");
    check_response("HTTP/1.1 204 x\r\nConnection: a b, x-y, \"c\"\r\nX-Y: z\r\n\r\n", HTTP1_GET,
                   keep, "HTTP/1.1 204 x\r\nConnection: keep-alive\r\n\r\n");
    check_response("HTTP/1.1 204 x\r\nConnection: keep-alive\r\n\r\n", HTTP1_GET, close,
                   "HTTP/1.1 204 x\r\nConnection: close\r\n\r\n");
    check_response("HTTP/1.1 103 x\r\n\r\n", HTTP1_GET, close, "HTTP/1.1 103 x\r\n\r\n");
    check_response("HTTP/1.1 103 x\r\n\r\n", HTTP1_GET, keep, "HTTP/1.1 103 x\r\n\r\n");
    parse_response(switched, HTTP1_GET, "tcp, websocket");
    assert_out(http1_compose_response(out, sizeof(out), &head, parsed, &close),
               "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: y\r\n"
               "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    parse_response("HTTP/1.1 101 x\r\nUpgrade: b/2 ,\r\nConnection: upgrade\r\n"
                   "Upgrade: A\r\nTransfer-Encoding: chunked\r\n\r\n",
                   HTTP1_POST, "a, b/2");
    assert_out(http1_compose_response(out, sizeof(out), &head, parsed, &keep),
               "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: b/2, A\r\n\r\n");
}

/* RFC 9110 6.6.1. */
static void test_response_date(void **state)
{
    struct http1_response_options now = {.now = 784111777};

    (void)state;
    check_response("HTTP/1.1 204 x\r\n\r\n", HTTP1_GET, now,
                   "HTTP/1.1 204 x\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    check_response("HTTP/1.1 204 x\r\nDate: y\r\n\r\n", HTTP1_GET, now,
                   "HTTP/1.1 204 x\r\nDate: y\r\n\r\n");
    check_response("HTTP/1.1 103 x\r\n\r\n", HTTP1_GET, now, "HTTP/1.1 103 x\r\n\r\n");
}

/* Each part of the date with one digit and with two; a year without four digits is left out. */
static void test_dates(void **state)
{
    static const struct {
        time_t now;
        const char *date;
    } dates[] = {
        {1, "Thu, 01 Jan 1970 00:00:01 GMT"},
        {951827696, "Tue, 29 Feb 2000 12:34:56 GMT"},
        {1798761599, "Thu, 31 Dec 2026 23:59:59 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {253402300800, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(dates); i++) {
        char expected[128];

        snprintf(expected, sizeof(expected), "HTTP/1.1 204 x\r\n%s%s%s\r\n",
                 dates[i].date ? "Date: " : "", dates[i].date ? dates[i].date : "",
                 dates[i].date ? "\r\n" : "");
        check_response("HTTP/1.1 204 x\r\n\r\n", HTTP1_GET,
                       (struct http1_response_options){.now = dates[i].now}, expected);
    }
}

/* In both bases, from the smallest to the largest and around each change of length. */
static void test_numbers(void **state)
{
    static const char message[] = "HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\n";
    struct http1_response_options options = {.framing = HTTP1_LENGTH};
    char expected[128];

    (void)state;
    for (uint64_t number = UINT64_MAX;; number /= 2) {
        snprintf(expected, sizeof(expected), "%" PRIx64 "\r\n", number);
        assert_out(http1_compose_chunk_line(out, sizeof(out), number), expected);
        snprintf(expected, sizeof(expected),
                 "HTTP/1.1 200 x\r\nContent-Length: %" PRIu64 "\r\n\r\n", number);
        options.length = number;
        check_response(message, HTTP1_GET, options, expected);
        if (number == 0)
            break;
    }
    for (uint64_t power = 10; power < UINT64_C(10000000000000000000); power *= 10) {
        options.length = power - 1;
        snprintf(expected, sizeof(expected),
                 "HTTP/1.1 200 x\r\nContent-Length: %" PRIu64 "\r\n\r\n", power - 1);
        check_response(message, HTTP1_GET, options, expected);
    }
}

static void test_chunks(void **state)
{
    static char section[] = "X:y\r\nTransfer-Encoding: chunked\r\nHost: z\r\n\r\n";
    struct http1_head trailer;

    (void)state;
    assert_out(http1_compose_chunk_line(out, sizeof(out), 0x1af), "1af\r\n");
    assert_out(http1_compose_chunk_line(out, HTTP1_CHUNK_LINE_MAX, UINT64_MAX),
               "ffffffffffffffff\r\n");
    http1_trailer_begin(&trailer);
    assert_int_equal(http1_head_parse(&trailer, section, sizeof(section) - 1), HTTP1_DONE);
    assert_out(http1_compose_last_chunk(out, sizeof(out), &trailer, section), "0\r\nX: y\r\n\r\n");
}

static void test_answer(void **state)
{
    struct http1_local_reply answer = {.status = 503, .text = "a\r\nb: %s", .retry_after = 2};

    (void)state;
    assert_out(http1_compose_local_reply(out, sizeof(out), &answer),
               "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
               "Content-Length: 33\r\nRetry-After: 2\r\nConnection: close\r\n\r\n"
               "503 Service Unavailable\na??b: %s\n");
    answer.head_only = true;
    answer.retry_after = 0;
    answer.now = 784111777;
    answer.proxy_status = "kaproxy; error=x";
    assert_out(http1_compose_local_reply(out, sizeof(out), &answer),
               "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
               "Content-Type: text/plain\r\nContent-Length: 33\r\n"
               "Proxy-Status: kaproxy; error=x\r\nConnection: close\r\n\r\n");
}

/* Each status we respond with has its phrase. */
static void test_reasons(void **state)
{
    static const unsigned statuses[] = {400, 408, 413, 414, 417, 431, 500, 501, 502, 503, 504, 505};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        assert_string_not_equal(http1_reason(statuses[i]), "Error");
    assert_string_equal(http1_reason(599), "Error");
}

/* No byte is written past a buffer that is too small, whatever its size. */
static void test_no_space(void **state)
{
    static const char message[] =
        "GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\nX-Forwarded-For: z\r\n\r\n";
    struct http1_request_options options = {
        .host = "up", .forwarded = HTTP1_FORWARDED_X, .client = "::1"};
    ssize_t needed;

    (void)state;
    parse_request(message);
    needed = http1_compose_request(out, sizeof(out), &head, parsed, &options);
    assert_true(needed > 0);
    for (size_t size = 0; size < (size_t)needed; size++) {
        char *small = malloc(size + 1);

        assert_non_null(small);
        small[size] = '!';
        errno = 0;
        assert_int_equal(http1_compose_request(small, size, &head, parsed, &options), -1);
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(small[size], '!');
        free(small);
    }
    assert_int_equal(http1_compose_request(out, (size_t)needed, &head, parsed, &options), needed);
}

/* No byte past the buffer, whichever line is the first without room. */
static void test_no_space_for_response(void **state)
{
    static const char message[] =
        "HTTP/1.1 426 x\r\nUpgrade: h2c\r\nX: y\r\nZ:z\r\nContent-Length: 12\r\n\r\n";
    const struct http1_response_options options = {
        .framing = HTTP1_LENGTH, .length = 12, .connection = HTTP1_SAY_CLOSE, .now = 1};

    (void)state;
    parse_response(message, HTTP1_GET, NULL);

    ssize_t needed = http1_compose_response(out, sizeof(out), &head, parsed, &options);

    assert_true(needed > 0);
    for (size_t size = 0; size <= (size_t)needed; size++) {
        memset(out, '!', (size_t)needed + 1);
        errno = 0;

        ssize_t length = http1_compose_response(out, size, &head, parsed, &options);

        assert_int_equal(length, size < (size_t)needed ? -1 : needed);
        assert_int_equal(errno, size < (size_t)needed ? ENOSPC : 0);
        assert_int_equal(out[size], '!');
    }
}

/* The largest headers, with everything that may be added, fit HTTP1_COMPOSE_MAX. */
static void check_largest(const char *line_end)
{
    static char message[HTTP1_HEAD_MAX], host[513];
    struct http1_request_options options = {.host = host,
                                            .forwarded = HTTP1_FORWARDED_RFC7239,
                                            .client = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    size_t end = strlen(line_end);
    char *at = message, *last = message + sizeof(message) - 2 * end;

    memset(host, 'h', sizeof(host) - 1);
    at = stpcpy(stpcpy(at, "GET / HTTP/1.0"), line_end);
    for (unsigned i = 1; i < HTTP1_FIELD_MAX; i++)
        at = stpcpy(stpcpy(at, "x:y"), line_end);
    at = stpcpy(at, "x:");
    memset(at, 'y', (size_t)(last - at));
    memcpy(last, line_end, end);
    memcpy(last + end, line_end, end);
    http1_request_begin(&head);
    assert_int_equal(http1_head_parse(&head, message, sizeof(message)), HTTP1_DONE);
    assert_int_equal(head.length, sizeof(message));
    assert_true(http1_compose_request(out, sizeof(out), &head, message, &options) > 0);
}

static void test_largest(void **state)
{
    (void)state;
    check_largest("\r\n");
    check_largest("\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_is_passed_on),
        cmocka_unit_test(test_field_whitespace),
        cmocka_unit_test(test_request_line_ends),
        cmocka_unit_test(test_request_target),
        cmocka_unit_test(test_request_host),
        cmocka_unit_test(test_request_hop_by_hop),
        cmocka_unit_test(test_request_framing),
        cmocka_unit_test(test_request_expect),
        cmocka_unit_test(test_request_upgrade),
        cmocka_unit_test(test_request_max_forwards),
        cmocka_unit_test(test_request_x_forwarded_for),
        cmocka_unit_test(test_request_forwarded),
        cmocka_unit_test(test_response_is_passed_on),
        cmocka_unit_test(test_response_is_repaired),
        cmocka_unit_test(test_response_framing),
        cmocka_unit_test(test_response_without_body),
        cmocka_unit_test(test_response_connection),
        cmocka_unit_test(test_response_date),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_no_space_for_response),
        cmocka_unit_test(test_largest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
