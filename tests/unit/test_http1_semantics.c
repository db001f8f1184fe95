/* SPDX-License-Identifier: ISC */
/* What a head means: method, target, connection, authentication. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http1_table.h"

static struct http1_head head;

static const struct http1_head *parse(const char *message)
{
    static char parsed[4096];

    assert_true(strlen(message) < sizeof(parsed));
    memcpy(parsed, message, strlen(message));
    assert_int_equal(http1_head_parse(&head, parsed, strlen(message)), HTTP1_DONE);
    return &head;
}

static const struct http1_head *request(const char *message)
{
    http1_request_begin(&head);
    return parse(message);
}

static const struct http1_head *response(const char *message)
{
    http1_response_begin(&head, &(struct http1_request_info){.method = HTTP1_GET});
    return parse(message);
}

static void assert_span(const char *data, struct http1_span span, const char *expected)
{
    assert_int_equal(span.length, strlen(expected));
    assert_memory_equal(data + span.start, expected, span.length);
}

/* RFC 9110 9.2. */
static void test_methods(void **state)
{
    static const struct {
        const char *line;
        enum http1_method method;
        bool safe, idempotent;
    } methods[] = {
        {"GET / HTTP/1.0\r\n\r\n", HTTP1_GET, true, true},
        {"HEAD / HTTP/1.0\r\n\r\n", HTTP1_HEAD, true, true},
        {"OPTIONS / HTTP/1.0\r\n\r\n", HTTP1_OPTIONS, true, true},
        {"TRACE / HTTP/1.0\r\n\r\n", HTTP1_TRACE, true, true},
        {"PUT / HTTP/1.0\r\n\r\n", HTTP1_PUT, false, true},
        {"DELETE / HTTP/1.0\r\n\r\n", HTTP1_DELETE, false, true},
        {"POST / HTTP/1.0\r\n\r\n", HTTP1_POST, false, false},
        {"PATCH / HTTP/1.0\r\n\r\n", HTTP1_PATCH, false, false},
        {"CONNECT a:1 HTTP/1.0\r\n\r\n", HTTP1_CONNECT, false, false},
        {"get / HTTP/1.0\r\n\r\n", HTTP1_OTHER, false, false},
        {"GETS / HTTP/1.0\r\n\r\n", HTTP1_OTHER, false, false},
        {"GE / HTTP/1.0\r\n\r\n", HTTP1_OTHER, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        assert_int_equal(request(methods[i].line)->method, methods[i].method);
        assert_int_equal(http1_method_is_safe(head.method), methods[i].safe);
        assert_int_equal(http1_method_is_idempotent(head.method), methods[i].idempotent);
    }
}

/* RFC 9112 3.2: which host and which path a target means. */
static void test_targets(void **state)
{
    static const struct {
        const char *message;
        enum http1_form form;
        const char *authority, *path;
    } targets[] = {
        {"GET /a?b HTTP/1.1\r\nHost: c:80\r\n\r\n", HTTP1_ORIGIN, "c:80", "/a?b"},
        {"GET /a HTTP/1.0\r\n\r\n", HTTP1_ORIGIN, "", "/a"},
        {"GET http://d/a HTTP/1.1\r\nHost: c\r\n\r\n", HTTP1_ABSOLUTE, "d", "/a"},
        {"GET http://d:81?b/c HTTP/1.1\r\nHost: c\r\n\r\n", HTTP1_ABSOLUTE, "d:81", "?b/c"},
        {"GET http://d HTTP/1.0\r\n\r\n", HTTP1_ABSOLUTE, "d", ""},
        {"OPTIONS * HTTP/1.1\r\nHost: c\r\n\r\n", HTTP1_ASTERISK, "c", ""},
        {"CONNECT d:1 HTTP/1.1\r\nHost: c\r\n\r\n", HTTP1_AUTHORITY, "d:1", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        assert_int_equal(request(targets[i].message)->form, targets[i].form);
        assert_span(targets[i].message, head.authority, targets[i].authority);
        assert_span(targets[i].message, head.path, targets[i].path);
    }
}

/* RFC 9112 9.3. */
static void test_persistence(void **state)
{
    (void)state;
    assert_true(request(GET11 "\r\n")->persistent);
    assert_false(request(GET11 "Connection: x, Close\r\n\r\n")->persistent);
    assert_false(request(GET11 "Connection: keep-alive\r\nConnection: close\r\n\r\n")->persistent);
    assert_false(request("GET / HTTP/1.0\r\n\r\n")->persistent);
    assert_true(request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")->persistent);
    assert_false(request("GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n")->persistent);

    assert_true(response(OK11 "Content-Length: 0\r\n\r\n")->persistent);
    assert_true(response(R_TE)->persistent);
    assert_false(response(OK11 "\r\n")->persistent);
    assert_false(response(OK11 "Connection: close\r\nContent-Length: 0\r\n\r\n")->persistent);
    assert_false(response(OK10 "Content-Length: 0\r\n\r\n")->persistent);
    assert_true(response(OK10 "Connection: keep-alive\r\nContent-Length: 0\r\n\r\n")->persistent);
    assert_true(response("HTTP/1.1 304 x\r\n\r\n")->persistent);

    static const char tunnel[] = OK11 "\r\n";

    http1_response_begin(&head, &(struct http1_request_info){.method = HTTP1_CONNECT});
    assert_false(parse(tunnel)->persistent);

    static const char refused[] = "HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n";

    http1_response_begin(&head, &(struct http1_request_info){.method = HTTP1_CONNECT});
    assert_true(parse(refused)->persistent);
}

#define UPGRADE "Connection: upgrade\r\nUpgrade: "

/* Is some of it passed on, and is some of it not? */
static void check_upgrade(const char *message, bool passed, bool left_out)
{
    request(message);
    assert_int_equal(head.upgrade, passed);
    assert_int_equal(head.upgrade_left_out, left_out);
}

/* RFC 9110 7.8: any protocol, any method, with or without content; h2c is not passed on. */
static void test_upgrade(void **state)
{
    (void)state;
    check_upgrade(GET11 UPGRADE "WebSocket\r\n\r\n", true, false);
    check_upgrade(GET11 UPGRADE "TLS/1.0\r\n\r\n", true, false);
    check_upgrade(GET11 UPGRADE ", ,tcp ,\r\n\r\n", true, false);
    check_upgrade("FROB / HTTP/1.1\r\nHost: a\r\n" UPGRADE "x/y\r\n\r\n", true, false);
    check_upgrade(POST11 UPGRADE "tcp\r\n\r\n", true, false);
    check_upgrade(POST11 UPGRADE "tcp\r\nContent-Length: 1\r\n\r\n", true, false);
    check_upgrade(POST11 UPGRADE "tcp\r\nTransfer-Encoding: chunked\r\n\r\n", true, false);
    check_upgrade(GET11 UPGRADE "h2c, websocket\r\n\r\n", true, true);
    check_upgrade(GET11 UPGRADE "tcp\r\nUpgrade: H2C\r\n\r\n", true, true);
    check_upgrade(GET11 UPGRADE "tcp, a b\r\n\r\n", true, true);
    check_upgrade(GET11 UPGRADE "h2c\r\n\r\n", false, true);
    check_upgrade(GET11 UPGRADE "h2c/1\r\n\r\n", false, true);
    check_upgrade(GET11 UPGRADE "\"tcp\"\r\n\r\n", false, true);
    check_upgrade(GET11 UPGRADE "/1\r\n\r\n", false, true);
    check_upgrade(GET11 UPGRADE "tcp/\r\n\r\n", false, true);
    check_upgrade(GET11 UPGRADE "tcp/1/2\r\n\r\n", false, true);
    check_upgrade(GET11 UPGRADE "tcp:1\r\n\r\n", false, true);
    check_upgrade(GET11 "Upgrade: websocket\r\n\r\n", false, true);
    check_upgrade("GET / HTTP/1.0\r\n" UPGRADE "websocket\r\n\r\n", false, true);
    check_upgrade(GET11 "Connection: upgrade\r\n\r\n", false, false);
    check_upgrade(GET11 UPGRADE "\r\n\r\n", false, false);
}

static void test_switch(void **state)
{
    static const char granted[] = "HTTP/1.1 101 x\r\n" UPGRADE "websocket\r\n\r\n";

    (void)state;
    http1_response_begin(&head, &(struct http1_request_info){HTTP1_GET, "websocket", true});
    assert_true(parse(granted)->upgrade);
    assert_false(head.persistent);
    assert_false(http1_head_is_interim(&head));
    assert_true(http1_head_is_interim(response("HTTP/1.1 100 x\r\n\r\n")));
    assert_false(http1_head_is_interim(response("HTTP/1.1 200 x\r\n\r\n")));
}

/* An unrequested 101, and why that may be. */
static void test_bad_switch(void **state)
{
    static const struct {
        const char *sent;
        bool left_out;
        const char *text;
    } cases[] = {
        {NULL, false, "without an Upgrade"},
        {NULL, true, "was not passed on"},
        {"tcp", false, "a protocol that was not asked for"},
        {"tcp", true, "was not passed on"},
    };
    static char granted[] = "HTTP/1.1 101 x\r\n" UPGRADE "h2c\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        http1_response_begin(
            &head, &(struct http1_request_info){HTTP1_GET, cases[i].sent, cases[i].left_out});
        assert_int_equal(http1_head_parse(&head, granted, sizeof(granted) - 1), HTTP1_BAD);
        assert_non_null(strstr(head.bad_text, cases[i].text));
    }
}

/* RFC 9110 10.1.1. */
static void test_expect(void **state)
{
    (void)state;
    assert_true(
        request(POST11 "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")->expect_continue);
    assert_true(request(POST11 "Expect: 100-CONTINUE,\r\nTransfer-Encoding: chunked\r\n\r\n")
                    ->expect_continue);
    assert_false(
        request(POST11 "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n")->expect_continue);
    assert_false(request(POST11 "Expect: 100-continue\r\n\r\n")->expect_continue);
    assert_false(
        request(POST10 "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")->expect_continue);
}

static void test_connection_auth(void **state)
{
    (void)state;
    assert_true(request(GET11 "Authorization: NTLM TlRM\r\n\r\n")->connection_auth);
    assert_true(request(GET11 "authorization: negotiate YII=\r\n\r\n")->connection_auth);
    assert_true(request(GET11 "Proxy-Authorization: NTLM\r\n\r\n")->connection_auth);
    assert_false(request(GET11 "Authorization: Basic TlRMTQ==\r\n\r\n")->connection_auth);
    assert_false(request(GET11 "Authorization: NTLMx a\r\n\r\n")->connection_auth);
    assert_false(request(GET11 "WWW-Authenticate: NTLM\r\n\r\n")->connection_auth);
    assert_true(response("HTTP/1.1 401 x\r\nWWW-Authenticate: NTLM\r\n\r\n")->connection_auth);
    assert_true(response("HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"a, b\", "
                         "Negotiate\r\n\r\n")
                    ->connection_auth);
    assert_true(response("HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=a\r\n"
                         "Proxy-Authenticate: Negotiate\r\n\r\n")
                    ->connection_auth);
    assert_true(response(OK11 "Authentication-Info: Negotiate YII=\r\n\r\n")->connection_auth);
    assert_true(
        response(OK11 "Proxy-Authentication-Info: Negotiate YII=\r\n\r\n")->connection_auth);
    assert_false(response(OK11 "Authentication-Info: nextnonce=\"NTLM\", qop=auth\r\n\r\n")
                     ->connection_auth);
    assert_false(response(OK11 "Authorization: NTLM\r\n\r\n")->connection_auth);
    assert_false(request(GET11 "Authentication-Info: NTLM\r\n\r\n")->connection_auth);
    assert_false(response("HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"a, NTLM\"\r\n\r\n")
                     ->connection_auth);
    assert_false(response("HTTP/1.1 401 x\r\nWWW-Authenticate: A b=\"c\\\", NTLM, d\"\r\n\r\n")
                     ->connection_auth);
    assert_true(
        response("HTTP/1.1 401 x\r\nWWW-Authenticate: A b\\, NTLM\r\n\r\n")->connection_auth);
    assert_false(
        response("HTTP/1.1 401 x\r\nWWW-Authenticate: A b=\"c, NTLM\\\r\n\r\n")->connection_auth);
}

static void test_keep_alive_timeout(void **state)
{
    (void)state;
    assert_int_equal(response(OK11 "\r\n")->keep_alive_timeout, -1);
    assert_int_equal(response(OK11 "Keep-Alive: timeout=5\r\n\r\n")->keep_alive_timeout, 5);
    assert_int_equal(response(OK11 "Keep-Alive: max=9, Timeout=0\r\n\r\n")->keep_alive_timeout, 0);
    assert_int_equal(response(OK11 "Keep-Alive: timeout=-1\r\n\r\n")->keep_alive_timeout, -1);
    assert_int_equal(response(OK11 "Keep-Alive: timeout=\r\n\r\n")->keep_alive_timeout, -1);
    assert_int_equal(response(OK11 "Keep-Alive: 5\r\n\r\n")->keep_alive_timeout, -1);
    assert_int_equal(response(OK11 "Keep-Alive: timeout=99999999999\r\n\r\n")->keep_alive_timeout,
                     INT32_MAX);
}

/* The fields of the last head that are not passed on, by number. */
static void assert_dropped(const char *expected)
{
    assert_int_equal(head.field_count, strlen(expected));
    for (unsigned i = 0; i < head.field_count; i++)
        assert_int_equal(head.fields[i].drop, expected[i] == 'x');
}

/* RFC 9110 7.6.1, 6.5.1. */
static void test_dropped_fields(void **state)
{
    static const char trailer[] = "X: a\r\nContent-Length: 5\r\nSet-Cookie: a\r\nETag: b\r\n"
                                  "Authentication-Info: c\r\nProxy-Authentication-Info: d\r\n"
                                  "Authorization: e\r\n\r\n";

    (void)state;
    request(GET11 "Connection: X-a, keep-alive\r\nKeep-Alive: 1\r\nProxy-Connection: a\r\n"
                  "TE: trailers\r\nUpgrade: a\r\nHTTP2-Settings: a\r\nx-A: b\r\nX-Ab: c\r\n"
                  "Cookie: d\r\nX-A: e\r\n\r\n");
    assert_dropped("-xxxxxxx--x");
    http1_trailer_begin(&head);
    parse(trailer);
    assert_dropped("-xx---x");
    response(OK11 "Connection: authentication-info\r\nAuthentication-Info: a\r\n\r\n");
    assert_dropped("xx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_persistence),
        cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_switch),
        cmocka_unit_test(test_bad_switch),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_connection_auth),
        cmocka_unit_test(test_keep_alive_timeout),
        cmocka_unit_test(test_dropped_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
