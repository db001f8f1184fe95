/* Goal of this test: those who wait for the loop share one question to it, do not wait for it any
 * longer than they should, and leave nothing behind when they go. The loop is the test. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/admin.h"
#include "support/ini_text.h"
#include "support/sockets.h"

static time_t ahead; /* how far the clock of those who ask for it is */

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    int result = __real_clock_gettime(clock, ts);
    ts->tv_sec += ahead;
    return result;
}

struct world {
    struct event_base *base;
    struct config *config;
    struct admin *admin;
    char path[64];
    int descriptors;
    /* What the loop was asked, and does not answer before the test has it do so. */
    struct snapshot_request *snapshot;
    struct command *command;
    unsigned snapshots, commands;
    usec_t unanswered;
};

static void on_snapshot(void *arg, struct snapshot_request *request)
{
    struct world *world = arg;
    assert_null(world->snapshot);
    world->snapshot = request;
    world->snapshots++;
}

static void on_command(void *arg, struct command *command)
{
    struct world *world = arg;
    assert_null(world->command);
    world->command = command;
    world->commands++;
}

static void on_ping(void *arg)
{
    (void)arg;
}

static usec_t on_unanswered(void *arg)
{
    const struct world *world = arg;
    return world->unanswered;
}

static enum admin_life on_life(void *arg)
{
    (void)arg;
    return ADMIN_SERVING;
}

static void start(struct world *world)
{
    char text[200];
    *world = (struct world){.descriptors = sockets_count()};
    snprintf(world->path, sizeof(world->path), "/tmp/kaproxy-test-admin-%d.sock", getpid());
    snprintf(text, sizeof(text), "[admin]\nlisten = unix:%s\n" LISTENER, world->path);
    world->config = ini_load(text);
    world->base = event_base_new();
    world->admin = admin_new(world->base, world->config);
    assert_non_null(world->admin);
    const struct admin_ops ops = {.arg = world,
                                  .config = world->config,
                                  .snapshot = on_snapshot,
                                  .command = on_command,
                                  .ping = on_ping,
                                  .unanswered = on_unanswered,
                                  .life = on_life};
    assert_int_equal(admin_start(world->admin, &ops), 0);
}

static void end(struct world *world)
{
    assert_null(world->snapshot);
    assert_null(world->command);
    admin_free(world->admin);
    event_base_free(world->base);
    config_unref(world->config);
    assert_int_equal(access(world->path, F_OK), -1);
    assert_int_equal(sockets_count(), world->descriptors);
}

static void turn(struct world *world)
{
    for (int i = 0; i < 10; i++)
        event_base_loop(world->base, EVLOOP_NONBLOCK);
}

static int ask(struct world *world, const char *request)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, world->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    turn(world);
    return fd;
}

#define GET   "GET /status HTTP/1.1\r\nConnection: close\r\n\r\n"
#define PAUSE "POST /pause HTTP/1.1\r\nKaproxy-Control: yes\r\nConnection: close\r\n\r\n"

static int get(struct world *world)
{
    return ask(world, GET);
}

/* It must be there by now. */
static void assert_answer(int fd, const char *words)
{
    static char text[65536];
    ssize_t got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    text[got] = '\0';
    if (strstr(text, words) == NULL)
        fail_msg("no \"%s\" in \"%s\"", words, text);
    close(fd);
}

static void assert_no_answer(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
}

static void assert_end(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    close(fd);
}

/* Until something, or the end, has come. */
static void wait_for(struct world *world, int fd)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    char byte;
    for (int i = 0; recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0; i++) {
        assert_true(i < 3000);
        nanosleep(&pause, NULL);
        turn(world);
    }
}

static void answer_snapshot(struct world *world)
{
    struct snapshot_request *request = world->snapshot;
    assert_non_null(request);
    world->snapshot = NULL;
    assert_int_equal(request->snapshot.host_count, 1);
    assert_int_equal(request->snapshot.session_count, SNAPSHOT_SESSIONS_MAX);
    request->snapshot.taken_at = 1;
    request->snapshot.host_count = request->snapshot.listener_count = 0;
    request->snapshot.session_count = 0;
    request->done(request);
    turn(world);
}

static void answer_command(struct world *world, int status)
{
    struct command *command = world->command;
    assert_non_null(command);
    world->command = NULL;
    command->status = status;
    snprintf(command->text, sizeof(command->text), "number %u", world->commands);
    command->done(command);
    turn(world);
}

/* All who come while it is on its way have the same one, and so have those after. */
static void test_snapshot_is_shared(void **state)
{
    struct world world;
    int clients[10];
    (void)state;
    start(&world);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = get(&world);
    assert_int_equal(world.snapshots, 1);
    assert_no_answer(clients[0]);
    answer_snapshot(&world);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        assert_answer(clients[i], " 200 OK");
    assert_answer(get(&world), " 200 OK");
    assert_int_equal(world.snapshots, 1);
    end(&world);
}

/* What was changed is seen by whoever asks next. */
static void test_snapshot_after_a_command(void **state)
{
    struct world world;
    (void)state;
    start(&world);
    int first = get(&world);
    answer_snapshot(&world);
    assert_answer(first, " 200 OK");
    int pause = ask(&world, PAUSE);
    answer_command(&world, 200);
    assert_answer(pause, "\"result\": \"paused\"");
    int second = get(&world);
    assert_int_equal(world.snapshots, 2);
    assert_no_answer(second);
    answer_snapshot(&world);
    assert_answer(second, " 200 OK");
    end(&world);
}

/* The loop does not answer: the pages do, at once from then on, and ask nothing more of it. */
static void test_loop_does_not_answer(void **state)
{
    struct world world;
    (void)state;
    start(&world);
    int first = get(&world);
    wait_for(&world, first);
    assert_answer(first, "loop_stalled");
    assert_answer(get(&world), "loop_stalled");
    assert_answer(ask(&world, "GET /livez HTTP/1.0\r\n\r\n"), " 200 OK");
    assert_int_equal(world.snapshots, 1);
    answer_snapshot(&world);
    world.unanswered = ADMIN_LOOP_DEAD;
    assert_answer(ask(&world, "GET /livez HTTP/1.0\r\n\r\n"), " 503 ");
    end(&world);
}

/* A loop that has ended tells nothing. */
static void test_worker_has_ended(void **state)
{
    struct world world;
    (void)state;
    start(&world);
    int client = get(&world);
    struct snapshot_request *request = world.snapshot;
    world.snapshot = NULL;
    request->snapshot.taken_at = 0;
    request->snapshot.host_count = request->snapshot.listener_count = 0;
    request->done(request);
    turn(&world);
    assert_answer(client, " 200 OK");
    end(&world);
}

/* One at a time, in order, and not more than there is room for. */
static void test_commands_queue(void **state)
{
    struct world world;
    int clients[16];
    (void)state;
    start(&world);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = ask(&world, PAUSE);
    assert_answer(ask(&world, PAUSE), " 503 ");
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        char words[20];
        assert_int_equal(world.commands, i + 1);
        assert_no_answer(clients[i]);
        answer_command(&world, i % 2 == 0 ? 202 : 409);
        snprintf(words, sizeof(words), "number %zu", i + 1);
        assert_answer(clients[i], words);
    }
    end(&world);
}

/* The server itself closes them here: a client that leaves is seen when he is answered. */
static void test_connections_end_while_they_wait(void **state)
{
    struct world world;
    int clients[4];
    (void)state;
    start(&world);
    clients[0] = ask(&world, PAUSE);
    clients[1] = ask(&world, PAUSE);
    clients[2] = get(&world);
    clients[3] = ask(&world, PAUSE);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    turn(&world);
    answer_snapshot(&world);
    while (world.command != NULL)
        answer_command(&world, 200);
    end(&world);
}

/* So many that nobody else is accepted; the sweep makes room. */
static void test_sweep(void **state)
{
    struct world world;
    int clients[CONFIG_ADMIN_CONNECTIONS - 2];
    (void)state;
    start(&world);
    int order = ask(&world, PAUSE), queued = ask(&world, PAUSE);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = ask(&world, "GE");
    int late = ask(&world, "GET /readyz HTTP/1.0\r\n\r\n");
    assert_no_answer(late);
    wait_for(&world, late);
    assert_answer(late, "ready");
    assert_end(clients[0]);
    assert_no_answer(order); /* it has more time */
    /* Those that wait are closed at their age, and what they wait for comes then. */
    ahead = ADMIN_AGE_MAX / USEC_PER_SEC;
    wait_for(&world, order);
    assert_end(order);
    wait_for(&world, queued);
    assert_end(queued);
    for (size_t i = 1; i < ARRAY_LEN(clients); i++) {
        wait_for(&world, clients[i]);
        assert_end(clients[i]);
    }
    assert_int_equal(world.commands, 1);
    answer_command(&world, 200);
    assert_int_equal(world.commands, 1); /* nobody wanted the other one any more */
    ahead = 0;
    end(&world);
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
