/* SPDX-License-Identifier: ISC */
/* Goal of this test: a client that requests a reload waits until it is over and gets its outcome,
 * however long it takes, and one that does not wait leaves nothing behind. The reload is the
 * test. */
#include "support/admin_server.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/shortage.h"

#define RELOAD SERVER_POST("reload")
#define RELOAD_JSON                                                                                \
    "POST /reload HTTP/1.1\r\nKaproxy-Control: yes\r\nAccept: application/json\r\n"                \
    "Connection: close\r\n\r\n"

static void test_success(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, RELOAD);
    assert_no_answer(client);
    assert_int_equal(server.reload_count, 1);
    assert_memory_equal(TAILQ_FIRST(&server.reloads)->by, "unix:uid:", 9);
    server_answer_reloads(&server, true, "listeners: 1 added\nlog_level info");
    assert_answer(client, "{\n \"result\": \"reloaded\",\n \"changes\": [\n"
                          "  \"listeners: 1 added\",\n  \"log_level info\"\n ]\n}\n");
    server_end(&server);
}

/* As text they are lines as kaproxy -t prints them, however many. */
static void test_mistakes(void **state)
{
    static char many[1 << 14];
    struct server server;
    (void)state;
    server_start(&server, "");
    int text = server_ask(&server, RELOAD), json = server_ask(&server, RELOAD_JSON);
    server_answer_reloads(&server, false, "a.ini:1: bad\n\na.ini:2: w\xf6rse\n");
    assert_answer(text, " 409 Conflict\r\n");
    assert_answer(json, "{\n \"error\": \"not reloaded, and nothing has changed\",\n"
                        " \"mistakes\": [\n  \"a.ini:1: bad\",\n  \"a.ini:2: w?rse\"\n ]\n}\n");
    text = server_ask(&server, RELOAD);
    server_answer_reloads(&server, false, "a.ini:1: bad\na.ini:2: worse\n");
    assert_answer(text, "\r\n\r\na.ini:1: bad\na.ini:2: worse\n");
    text = server_ask(&server, RELOAD);
    for (size_t i = 0; i < 1000; i++)
        memcpy(many + 8 * i, "a.ini:1\n", 8);
    strcpy(many + 8000, "the end");
    server_answer_reloads(&server, false, many);
    assert_answer(text, "a.ini:1\nthe end\n");
    text = server_ask(&server, RELOAD);
    server_answer_reloads(&server, false, "");
    assert_answer(text, "\r\n\r\nnot reloaded, and nothing has changed\n");
    server_end(&server);
}

/* Commands and pages do not wait for it, nor does it wait for them. */
static void test_nobody_else_waits(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int order = server_ask(&server, SERVER_POST("pause"));
    int reload = server_ask(&server, RELOAD), page = server_ask(&server, SERVER_GET);
    server_answer_snapshot(&server, 1);
    assert_answer(page, " 200 OK");
    assert_no_answer(reload);
    server_answer_command(&server, 200);
    assert_answer(order, "paused");
    server_answer_reloads(&server, true, "nothing changed");
    assert_answer(reload, "nothing changed");
    page = server_ask(&server, SERVER_GET);
    assert_no_answer(page); /* what the last snapshot said may have changed */
    server_answer_snapshot(&server, 1);
    assert_answer(page, " 200 OK");
    server_end(&server);
}

/* Longer than any other client may stay, and when there is no room; then it may read its answer. */
static void test_takes_long(void **state)
{
    struct server server;
    int clients[CONFIG_ADMIN_CONNECTIONS - 1];
    (void)state;
    server_start(&server, "");
    int reload = server_ask(&server, RELOAD);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = server_ask(&server, "GE");
    server_ahead = 2 * (time_t)(ADMIN_AGE_MAX / USEC_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        server_wait_for(&server, clients[i]);
        assert_end(clients[i]);
    }
    assert_no_answer(reload);
    server_answer_reloads(&server, true, "at last");
    assert_answer(reload, "at last");
    server_end(&server);
}

/* The answer is larger than what the socket takes at once: its reader has 10 s from then on. */
static void test_answer_is_not_cut(void **state)
{
    static char long_text[1 << 20];
    struct server server;
    struct timeval second = {.tv_sec = 1, .tv_usec = 100000};
    (void)state;
    server_start(&server, "");
    int reload = server_ask(&server, RELOAD);
    memset(long_text, 'x', sizeof(long_text) - 1);
    server_ahead = 2 * (time_t)(ADMIN_AGE_MAX / USEC_PER_SEC);
    server_answer_reloads(&server, false, long_text);
    event_base_loopexit(server.base, &second); /* it is swept in this time */
    event_base_dispatch(server.base);
    size_t got = 0;
    ssize_t n;
    do {
        static char part[1 << 16];
        server_wait_for(&server, reload);
        n = read(reload, part, sizeof(part));
        got += (size_t)n;
    } while (n > 0);
    assert_int_equal(n, 0);
    assert_true(got > sizeof(long_text));
    close(reload);
    server_end(&server);
}

/* They share one run, or have one each: that is not for us to decide. */
static void test_several(void **state)
{
    struct server server;
    int clients[16];
    (void)state;
    server_start(&server, "");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = server_ask(&server, RELOAD);
    assert_int_equal(server.reload_count, ARRAY_LEN(clients));
    assert_answer(server_ask(&server, RELOAD), " 503 ");
    server_answer_reloads(&server, true, "done");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        assert_answer(clients[i], "done");
    clients[0] = server_ask(&server, RELOAD);
    server_answer_reloads(&server, true, "again");
    assert_answer(clients[0], "again");
    server_end(&server);
}

static void test_client_leaves(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    close(server_ask(&server, RELOAD));
    int client = server_ask(&server, RELOAD);
    server_turn(&server);
    server_answer_reloads(&server, true, "done");
    assert_answer(client, "done");
    server_end(&server);
}

static void test_refusals(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    assert_answer(server_ask(&server, "POST /reload HTTP/1.0\r\n\r\n"), " 403 ");
    assert_answer(server_ask(&server, "GET /reload HTTP/1.0\r\n\r\n"), "Allow: POST\r\n");
    assert_answer(server_ask(&server, SERVER_POST("reload?file=b")), "takes no parameters");
    assert_answer(server_ask(&server, "POST /reload HTTP/1.1\r\nKaproxy-Control: yes\r\n"
                                      "Connection: close\r\nContent-Length: 1\r\n\r\nx"),
                  "takes no parameters");
    shortage_of_calloc(1);
    assert_end(server_ask(&server, RELOAD));
    shortage_of_calloc(0);
    assert_int_equal(server.reload_count, 0);
    server_end(&server);
    server_start(&server, "control = none");
    assert_answer(server_ask(&server, RELOAD), "control = none");
    assert_int_equal(server.reload_count, 0);
    server_end(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),           cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_nobody_else_waits), cmocka_unit_test(test_takes_long),
        cmocka_unit_test(test_answer_is_not_cut), cmocka_unit_test(test_several),
        cmocka_unit_test(test_client_leaves),     cmocka_unit_test(test_refusals),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
