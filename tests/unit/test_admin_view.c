/* SPDX-License-Identifier: ISC */
/* Goal of this test: what the admin server listens on and what it shows change while it runs,
 * without affecting any connected client; if memory is short nothing has changed. */
#include "support/admin_server.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "support/ini_text.h"
#include "support/shortage.h"

/* libevent's allocations, one of which fails when a test says so. */
static int malloc_in;

static bool fails(void)
{
    return malloc_in > 0 && --malloc_in == 0;
}

static void *event_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *event_realloc(void *memory, size_t size)
{
    return fails() ? NULL : realloc(memory, size);
}

/* A client of a socket is answered, or is left in its backlog. */
static void assert_served(struct server *server, unsigned socket)
{
    int client = server_ask_at(server, socket, SERVER_READY);
    server_wait_for(server, client);
    assert_answer(client, "ready");
}

static void assert_not_served(struct server *server, unsigned socket)
{
    int client = server_ask_at(server, socket, SERVER_READY);
    assert_no_answer(client);
    close(client);
}

static void finish(struct server *server, int client, const char *words)
{
    static const char rest[] = "T /readyz HTTP/1.0\r\n\r\n";
    assert_int_equal(send(client, rest, strlen(rest), 0), strlen(rest));
    server_turn(server);
    assert_answer(client, words);
}

static void test_sockets_are_added_and_taken_away(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    assert_served(&server, 0);
    assert_not_served(&server, 1);
    int kept = server_ask(&server, "GE");
    assert_int_equal(admin_set_sockets(server.admin, server.sockets, 2), 0);
    assert_served(&server, 0);
    assert_served(&server, 1);
    finish(&server, kept, "ready");
    int gone = server_ask(&server, "GE");
    assert_int_equal(admin_set_sockets(server.admin, &server.sockets[1], 1), 0);
    assert_not_served(&server, 0);
    assert_served(&server, 1);
    finish(&server, gone, "ready");
    server_end(&server);
}

/* It begins with those that it has at the end. */
static void test_sockets_before_the_start(void **state)
{
    struct server server;
    (void)state;
    server_prepare(&server, "");
    assert_int_equal(admin_set_sockets(server.admin, &server.sockets[1], 1), 0);
    assert_int_equal(admin_start(server.admin, &server.ops, &server.view), 0);
    assert_served(&server, 1);
    assert_not_served(&server, 0);
    server_end(&server);
}

static void test_never_started(void **state)
{
    struct server server;
    (void)state;
    server_prepare(&server, "");
    admin_accept(server.admin, false);
    server_end(&server);
}

/* What it does each second is for the pages. */
static void test_no_sockets(void **state)
{
    const struct timeval second = {.tv_sec = 1, .tv_usec = 100000};
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, "GE");
    assert_int_equal(admin_set_sockets(server.admin, NULL, 0), 0);
    assert_not_served(&server, 0);
    finish(&server, client, "ready");
    server.pings = 0;
    event_base_loopexit(server.base, &second);
    event_base_dispatch(server.base);
    assert_int_equal(server.pings, 0);
    assert_int_equal(admin_set_sockets(server.admin, server.sockets, 2), 0);
    assert_served(&server, 0);
    assert_served(&server, 1);
    while (server.pings == 0)
        event_base_loop(server.base, EVLOOP_ONCE);
    server_end(&server);
}

/* All places are taken: a client of a new socket waits like any other. */
static void test_sockets_while_crowded(void **state)
{
    struct server server;
    int clients[CONFIG_ADMIN_CONNECTIONS];
    (void)state;
    server_start(&server, "");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = server_ask(&server, "GE");
    assert_int_equal(admin_set_sockets(server.admin, &server.sockets[1], 1), 0);
    int late = server_ask_at(&server, 1, SERVER_READY);
    assert_no_answer(late);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        finish(&server, clients[i], "ready");
    server_turn(&server);
    assert_answer(late, "ready");
    assert_not_served(&server, 0);
    server_end(&server);
}

/* No descriptor is left for another connection: it is tried again later, with a new socket too. */
static void test_sockets_while_starved(void **state)
{
    struct server server;
    struct rlimit usual, none;
    (void)state;
    server_start(&server, "");
    assert_served(&server, 0);
    int first = server_ask(&server, "GE");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = usual;
    none.rlim_cur = 0;
    int second = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    close(second); /* the lowest that is free */
    int client = server_ask_at(&server, 1, SERVER_READY);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(admin_set_sockets(server.admin, &server.sockets[1], 1), 0);
    server_turn(&server);
    assert_no_answer(client);
    assert_int_equal(admin_set_sockets(server.admin, server.sockets, 2), 0);
    server_turn(&server);
    assert_no_answer(client);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    server_wait_for(&server, client);
    assert_answer(client, "ready");
    finish(&server, first, "ready");
    assert_served(&server, 0);
    server_end(&server);
}

static void test_accepts_when_it_may(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int open = server_ask(&server, "GE");
    admin_accept(server.admin, false);
    int client = server_ask(&server, SERVER_READY), other = server_ask_at(&server, 1, SERVER_READY);
    assert_int_equal(admin_set_sockets(server.admin, server.sockets, 2), 0);
    finish(&server, open, "ready");
    assert_no_answer(client);
    assert_no_answer(other);
    admin_accept(server.admin, true);
    server_turn(&server);
    assert_answer(client, "ready");
    assert_answer(other, "ready");
    server_end(&server);
}

static void test_no_memory_for_sockets(void **state)
{
    struct server server;
    int done = -1;
    (void)state;
    server_start(&server, "");
    for (int nth = 1; done < 0; nth++) {
        malloc_in = nth;
        done = admin_set_sockets(server.admin, server.sockets, 2);
        malloc_in = 0;
        if (done < 0)
            assert_not_served(&server, 1);
        assert_served(&server, 0);
        assert_true(done < 0 || nth > 2);
    }
    assert_served(&server, 1);
    shortage_of_calloc(1);
    assert_int_equal(admin_set_sockets(server.admin, server.sockets, 1), -1);
    assert_served(&server, 1);
    server_end(&server);
}

/* Another generation, whose snapshot has other strings. */
static void set_view(struct server *server, uint64_t generation)
{
    server->view.generation = generation;
    assert_int_equal(admin_set_view(server->admin, &server->view), 0);
}

static void answer_dangling(struct server *server, uint64_t generation)
{
    char *name = strdup("gone");
    assert_non_null(server->snapshot);
    struct snapshot_request *request = server->snapshot;
    struct snapshot *snapshot = &request->snapshot;
    server->snapshot = NULL;
    snapshot->taken_at = 1;
    snapshot->generation = generation;
    snapshot->host_count = snapshot->session_count = 0;
    snapshot->listener_count = 1;
    snapshot->listeners[0] = (struct snapshot_listener){.name = name, .service = SERVICE_PAUSED};
    free(name);
    request->done(request);
    server_turn(server);
}

/* The worker was faster than the report of it. */
static void test_snapshot_of_another_generation(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, SERVER_GET);
    answer_dangling(&server, 2);
    assert_no_answer(client);
    assert_int_equal(server.snapshots, 2);
    server_answer_snapshot(&server, 1);
    assert_answer(client, " 200 OK");
    server_end(&server);
}

/* It is requested a few times and no more; nor does that make the wait longer. */
static void test_snapshots_of_another_generation_only(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, SERVER_GET);
    while (server.snapshot != NULL)
        answer_dangling(&server, 2);
    assert_answer(client, " 200 OK");
    assert_int_equal(server.snapshots, 3);
    client = server_ask(&server, SERVER_GET);
    assert_int_equal(server.snapshots, 4);
    answer_dangling(&server, 2);
    server_wait_for(&server, client);
    assert_answer(client, "loop_stalled");
    answer_dangling(&server, 2);
    assert_int_equal(server.snapshots, 5); /* no client waits */
    server_end(&server);
}

/* What was requested before is not shown after, even if it is of that generation: there may have
 * been no room for it. */
static void test_view_while_a_snapshot_is_under_way(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, SERVER_GET);
    set_view(&server, 2);
    assert_no_answer(client);
    answer_dangling(&server, 2);
    assert_no_answer(client);
    assert_int_equal(server.snapshots, 2);
    set_view(&server, 3);
    set_view(&server, 4);
    answer_dangling(&server, 3);
    server_answer_snapshot(&server, 4);
    assert_answer(client, " 200 OK");
    assert_int_equal(server.snapshots, 3);
    server_end(&server);
}

/* The same, when the loop ends instead. */
static void test_view_before_the_end(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, SERVER_GET);
    set_view(&server, 2);
    struct snapshot_request *request = server.snapshot;
    server.snapshot = NULL;
    request->snapshot.taken_at = 0;
    request->done(request);
    server_turn(&server);
    assert_answer(client, " 200 OK");
    assert_int_equal(server.snapshots, 1);
    server_end(&server);
}

/* Strings of the old one may be gone. */
static void test_view_drops_snapshots(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    int client = server_ask(&server, SERVER_GET);
    answer_dangling(&server, 1 + 1);
    server_answer_snapshot(&server, 1);
    assert_answer(client, " 200 OK");
    set_view(&server, 2);
    client = server_ask(&server, SERVER_GET);
    assert_no_answer(client); /* fresh as the old one is */
    server_wait_for(&server, client);
    assert_answer(client, "\"snapshot_age\": null");
    server_answer_snapshot(&server, 2);
    server_end(&server);
}

/* All that the configuration governs: what is shown, and who may do what. */
static void test_view_has_another_configuration(void **state)
{
    struct server server;
    (void)state;
    server_start(&server, "");
    struct config *other = ini_load("[admin]\nlisten=unix:/x\ncontrol=none\n"
                                    "[listener b]\nlisten=127.0.0.1:80\nupstream=http://b\n"
                                    "[listener c]\nlisten=127.0.0.1:81\nupstream=http://b\n");
    const struct admin_view view = {.config = other, .generation = 2};
    assert_int_equal(admin_set_view(server.admin, &view), 0);
    config_unref(server.config);
    server.config = other;
    assert_answer(server_ask(&server, SERVER_POST("pause")), "control = none");
    int client = server_ask(&server, SERVER_GET);
    assert_int_equal(server.snapshot->snapshot.listener_count, 2);
    server_answer_snapshot(&server, 2);
    assert_answer(client, "\"name\": \"c\"");
    assert_answer(server_ask(&server, "GET /metrics HTTP/1.0\r\n\r\n"), "listener=\"b\"");
    server_end(&server);
}

static void test_no_memory_for_a_view(void **state)
{
    struct server server;
    struct config *other = ini_load("[listener b]\nlisten=127.0.0.1:80\nupstream=http://b\n");
    const struct admin_view view = {.config = other, .generation = 2};
    int done = -1, nth = 0;
    (void)state;
    server_start(&server, "");
    while (done < 0) {
        shortage_of_calloc(++nth);
        done = admin_set_view(server.admin, &view);
        if (shortage_came() && nth > 0)
            assert_true(done < 0 || nth > 10);
        shortage_of_calloc(0);
        assert_answer(server_ask(&server, "GET /metrics HTTP/1.0\r\n\r\n"),
                      done < 0 ? "listener=\"a\"" : "listener=\"b\"");
    }
    server_end(&server);
    config_unref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets_are_added_and_taken_away),
        cmocka_unit_test(test_sockets_before_the_start),
        cmocka_unit_test(test_never_started),
        cmocka_unit_test(test_no_sockets),
        cmocka_unit_test(test_sockets_while_crowded),
        cmocka_unit_test(test_sockets_while_starved),
        cmocka_unit_test(test_accepts_when_it_may),
        cmocka_unit_test(test_no_memory_for_sockets),
        cmocka_unit_test(test_snapshot_of_another_generation),
        cmocka_unit_test(test_snapshots_of_another_generation_only),
        cmocka_unit_test(test_view_while_a_snapshot_is_under_way),
        cmocka_unit_test(test_view_before_the_end),
        cmocka_unit_test(test_view_drops_snapshots),
        cmocka_unit_test(test_view_has_another_configuration),
        cmocka_unit_test(test_no_memory_for_a_view),
    };
    signal(SIGPIPE, SIG_IGN);
    event_set_mem_functions(event_malloc, event_realloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
