/* SPDX-License-Identifier: ISC */
/* Goal of this test: requests that wait for the loop share one question to it, do not wait for it
 * longer than they should, and leave nothing behind when they end. The loop is the test. */
#include "support/admin_server.h"

#include <signal.h>
#include <unistd.h>

/* All that arrive while it is in progress share it, and so do those after. */
static void test_snapshot_is_shared(void **state)
{
    struct server server;
    int clients[10];
    (void)state;
    server_start(&server, "");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = server_ask(&server, SERVER_GET);
    assert_int_equal(server.snapshots, 1);
    assert_no_answer(clients[0]);
    server_answer_snapshot(&server, 1);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        assert_answer(clients[i], " 200 OK");
    assert_answer(server_ask(&server, SERVER_GET), " 200 OK");
    assert_int_equal(server.snapshots, 1);
    server_end(&server);
}

/* The next request sees what was changed. */
static void test_snapshot_after_a_command(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int first = server_ask(&server, SERVER_GET);
    server_answer_snapshot(&server, 1);
    assert_answer(first, " 200 OK");
    int pause = server_ask(&server, SERVER_POST("pause"));
    server_answer_command(&server, 200);
    assert_answer(pause, "\"result\": \"paused\"");
    int second = server_ask(&server, SERVER_GET);
    assert_int_equal(server.snapshots, 2);
    assert_no_answer(second);
    server_answer_snapshot(&server, 1);
    assert_answer(second, " 200 OK");
    server_end(&server);
}

/* The loop does not answer: the pages respond, immediately from then on, and ask nothing more of
 * it. */
static void test_loop_does_not_answer(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int first = server_ask(&server, SERVER_GET);
    server_wait_for(&server, first);
    assert_answer(first, "loop_stalled");
    assert_answer(server_ask(&server, SERVER_GET), "loop_stalled");
    assert_answer(server_ask(&server, "GET /livez HTTP/1.0\r\n\r\n"), " 200 OK");
    assert_int_equal(server.snapshots, 1);
    server_answer_snapshot(&server, 1);
    server.unanswered = ADMIN_LOOP_DEAD;
    assert_answer(server_ask(&server, "GET /livez HTTP/1.0\r\n\r\n"), " 503 ");
    server_end(&server);
}

/* A loop that has ended reports nothing. */
static void test_worker_has_ended(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, SERVER_GET);
    struct snapshot_request *request = server.snapshot;
    server.snapshot = NULL;
    request->snapshot.taken_at = 0;
    request->snapshot.host_count = request->snapshot.listener_count = 0;
    request->done(request);
    server_turn(&server);
    assert_answer(client, " 200 OK");
    server_end(&server);
}

/* One at a time, in order, and not more than there is room for. */
static void test_commands_queue(void **state)
{
    struct server server;
    int clients[16];
    (void)state;
    server_start(&server, "");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = server_ask(&server, SERVER_POST("pause"));
    assert_answer(server_ask(&server, SERVER_POST("pause")), " 503 ");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        char words[20];
        assert_int_equal(server.commands, i + 1);
        assert_no_answer(clients[i]);
        server_answer_command(&server, i % 2 == 0 ? 202 : 409);
        snprintf(words, sizeof(words), "number %zu", i + 1);
        assert_answer(clients[i], words);
    }
    server_end(&server);
}

/* The server itself closes them here: that a client has left is noticed when it is answered. */
static void test_connections_end_while_they_wait(void **state)
{
    struct server server;
    int clients[4];
    (void)state;
    server_start(&server, "");
    clients[0] = server_ask(&server, SERVER_POST("pause"));
    clients[1] = server_ask(&server, SERVER_POST("pause"));
    clients[2] = server_ask(&server, SERVER_GET);
    clients[3] = server_ask(&server, SERVER_POST("pause"));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    server_turn(&server);
    server_answer_snapshot(&server, 1);
    while (server.command != NULL)
        server_answer_command(&server, 200);
    server_end(&server);
}

/* So many that no more clients are accepted; the sweep makes room. */
static void test_sweep(void **state)
{
    struct server server;
    int clients[CONFIG_ADMIN_CONNECTIONS - 2];
    (void)state;
    server_start(&server, "");
    int order = server_ask(&server, SERVER_POST("pause")),
        queued = server_ask(&server, SERVER_POST("pause"));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = server_ask(&server, "GE");
    int late = server_ask(&server, SERVER_READY);
    assert_no_answer(late);
    server_wait_for(&server, late);
    assert_answer(late, "ready");
    assert_end(clients[0]);
    assert_no_answer(order); /* it has more time */
    /* Those that wait are closed at their maximum age, and what they wait for arrives then. */
    server_ahead = ADMIN_AGE_MAX / USEC_PER_SEC;
    server_wait_for(&server, order);
    assert_end(order);
    server_wait_for(&server, queued);
    assert_end(queued);
    for (size_t i = 1; i < ARRAY_LEN(clients); i++) {
        server_wait_for(&server, clients[i]);
        assert_end(clients[i]);
    }
    assert_int_equal(server.commands, 1);
    server_answer_command(&server, 200);
    assert_int_equal(server.commands, 1); /* the other one was no longer needed */
    server_ahead = 0;
    server_end(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_is_shared),
        cmocka_unit_test(test_snapshot_after_a_command),
        cmocka_unit_test(test_loop_does_not_answer),
        cmocka_unit_test(test_worker_has_ended),
        cmocka_unit_test(test_commands_queue),
        cmocka_unit_test(test_connections_end_while_they_wait),
        cmocka_unit_test(test_sweep),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
