/* SPDX-License-Identifier: ISC */
/* Commands and snapshots, as the control thread requests them from a worker in its own thread. */
#include "support/log_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/worker.h"
#include "support/generations.h"
#include "support/ini_text.h"
#include "support/sockets.h"

/* A worker with two listeners, each with its own pool, an upstream that accepts connections and
 * does nothing with them, and the control thread's side, which is the test's. */
struct world {
    struct fixture *f;
    char second[96]; /* where listener b listens */
    int upstream;
    char endpoint[64]; /* the upstream's */
    struct config *config;
    struct generation *generation;
    struct worker *worker;
    struct mailbox mailbox;
    struct message serving, ended;
    bool serves, has_ended;
    struct command command;
    struct snapshot_request request;
    struct snapshot_host hosts[4];
    struct snapshot_listener listeners[4];
    struct snapshot_session sessions[4];
    bool done;
    int descriptors;
};

static struct world the_world;

static void on_ended(struct message *message)
{
    container_of(message, struct world, ended)->has_ended = true;
}

static void on_serving(struct message *message)
{
    container_of(message, struct world, serving)->serves = true;
}

static void on_command_done(struct command *command)
{
    container_of(command, struct world, command)->done = true;
}

static void on_snapshot_done(struct snapshot_request *request)
{
    container_of(request, struct world, request)->done = true;
}

static void open_upstream(struct world *world)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    world->upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world->upstream, (struct sockaddr *)&in, length), 0);
    assert_int_equal(getsockname(world->upstream, (struct sockaddr *)&in, &length), 0);
    assert_int_equal(listen(world->upstream, 8), 0);
    snprintf(world->endpoint, sizeof(world->endpoint), "tcp://127.0.0.1:%u", ntohs(in.sin_port));
}

static struct world *start(void **state)
{
    struct world *world = &the_world;
    static char text[1 << 15];
    *world = (struct world){.f = *state, .descriptors = sockets_count()};
    world->ended.run = on_ended;
    world->serving.run = on_serving;
    open_upstream(world);
    snprintf(world->second, sizeof(world->second), "%s/second", world->f->folder);
    snprintf(text, sizeof(text),
             "[listener a]\nlisten=unix:%s\nupstream=%s\nreuse=quiet\n"
             "[listener b]\nlisten=unix:%s\nupstream=%s\nreuse=quiet\npool=p\n[pool p]\n",
             world->f->other, world->endpoint, world->second, world->endpoint);
    world->config = ini_load(text);
    open_messages(world->f->file, LOG_LEVEL_NOTICE);
    assert_int_equal(mailbox_init(&world->mailbox), 0);
    world->generation = generation_of(world->config, 10);
    world->worker = worker_new(world->generation, -1);
    assert_non_null(world->worker);
    assert_int_equal(log_start(), 0);
    const struct worker_messages messages = {
        .mailbox = &world->mailbox, .serving = &world->serving, .ended = &world->ended};
    assert_int_equal(worker_start(world->worker, &messages), 0);
    return world;
}

static void await(struct world *world, const bool *done)
{
    struct pollfd pollfd = {.fd = mailbox_descriptor(&world->mailbox), .events = POLLIN};
    while (!*done) {
        assert_int_equal(poll(&pollfd, 1, 60000), 1);
        mailbox_run(&world->mailbox);
    }
}

/* Ends it, and returns everything that was logged. */
static const char *end(struct world *world)
{
    worker_stop(world->worker, "SIGTERM");
    worker_stop(world->worker, "SIGTERM");
    await(world, &world->has_ended);
    worker_join(world->worker);
    worker_free(world->worker);
    generation_free(world->generation);
    mailbox_clear(&world->mailbox);
    config_unref(world->config);
    log_close();
    close(world->upstream);
    assert_int_equal(sockets_count(), world->descriptors);
    return content(world->f, world->f->file);
}

static void ask(struct world *world, enum command_verb verb, const char *pool, const char *host,
                const char *listener)
{
    struct command *command = &world->command;
    *command = (struct command){.verb = verb, .by = "test", .done = on_command_done};
    snprintf(command->pool, sizeof(command->pool), "%s", pool);
    snprintf(command->host, sizeof(command->host), "%s", host);
    snprintf(command->listener, sizeof(command->listener), "%s", listener);
    world->done = false;
    worker_command(world->worker, command);
    assert_false(world->done);
    await(world, &world->done);
}

static void assert_answer(const struct world *world, int status, unsigned matched,
                          const char *format, ...) PRINTF(4, 5);
static void assert_answer(const struct world *world, int status, unsigned matched,
                          const char *format, ...)
{
    char text[COMMAND_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert_string_equal(world->command.text, text);
    assert_int_equal(world->command.status, status);
    assert_int_equal(world->command.matched, matched);
}

static const struct snapshot *look(struct world *world, size_t sessions)
{
    struct snapshot *snapshot = &world->request.snapshot;
    *snapshot = (struct snapshot){.hosts = world->hosts,
                                  .host_count = ARRAY_LEN(world->hosts),
                                  .listeners = world->listeners,
                                  .listener_count = ARRAY_LEN(world->listeners),
                                  .sessions = sessions > 0 ? world->sessions : NULL,
                                  .session_count = sessions};
    world->request.done = on_snapshot_done;
    world->done = false;
    worker_snapshot(world->worker, &world->request);
    await(world, &world->done);
    return snapshot;
}

static int connect_client(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
    return client;
}

/* Polls until some session of listener a is in this state. */
static const struct snapshot_session *await_state(struct world *world, const char *state)
{
    for (;;) {
        const struct snapshot *snapshot = look(world, ARRAY_LEN(world->sessions));
        for (size_t i = 0; i < snapshot->session_count; i++) {
            if (strcmp(snapshot->sessions[i].state, state) == 0)
                return &snapshot->sessions[i];
        }
    }
}

static void test_names(void **state)
{
    struct world *world = start(state);
    const char *endpoint = world->endpoint;
    ask(world, COMMAND_PAUSE, "q", "", "");
    assert_answer(world, 404, 0, "there is no pool q; there are: default, p");
    ask(world, COMMAND_PAUSE, "", "tcp://x:1", "");
    assert_answer(world, 404, 0, "kaproxy has no upstream tcp://x:1; there are: %s, %s", endpoint,
                  endpoint);
    ask(world, COMMAND_PAUSE, "p", "x:1", "");
    assert_answer(world, 404, 0, "pool p has no upstream x:1; there are: %s", endpoint);
    ask(world, COMMAND_DRAIN, "", "", "c");
    assert_answer(world, 404, 0, "there is no listener c; there are: a, b");
    ask(world, COMMAND_DRAIN, "p", "", "a");
    assert_answer(world, 404, 0,
                  "a listener is not part of a pool or an upstream: give only its name");
    ask(world, COMMAND_RECONNECT, "", "", "a");
    assert_answer(world, 409, 0, "a listener has no connections of its own: name its upstream");
    ask(world, COMMAND_PAUSE, "p", endpoint + strlen("tcp://"), "");
    assert_answer(world, 200, 1, "%s (pool p) is paused", endpoint);
    ask(world, COMMAND_PAUSE, "p", "", "");
    assert_answer(world, 200, 1, "%s (pool p) is already paused", endpoint);
    ask(world, COMMAND_PAUSE, "", endpoint, "");
    assert_answer(world, 200, 2, "2 upstreams are paused");
    assert_int_equal(look(world, 0)->hosts[1].service, SERVICE_PAUSED);
    ask(world, COMMAND_RESUME, "p", "", "");
    assert_answer(world, 200, 1, "%s (pool p) is open", endpoint);
    const char *text = end(world);
    assert_matches(text, HEAD " notice: admin: pause pool=q by test: there is no pool q; ");
    assert_matches(text, HEAD " notice: admin: drain pool=p listener=a by test: a listener is ");
    assert_matches(text,
                   HEAD " notice: admin: pause host=tcp://[0-9.:]+ by test: 2 upstreams are ");
}

static void test_leases_in_use(void **state)
{
    struct world *world = start(state);
    int client = connect_client(world->f->other);
    assert_int_not_equal(await_state(world, "relaying")->conn, 0);
    ask(world, COMMAND_RECONNECT, "default", "", "");
    assert_answer(world, 202, 1,
                  "%s (pool default) gets new connections; 1 connection of before "
                  "is still in use",
                  world->endpoint);
    ask(world, COMMAND_PAUSE, "", "", "");
    assert_answer(world, 202, 2, "2 upstreams are paused; 1 lease is still in use");
    assert_int_equal(world->command.busy, 1);
    int waiting = connect_client(world->f->other);
    await_state(world, "waiting");
    close(client);
    while (look(world, 4)->session_count > 1)
        continue;
    ask(world, COMMAND_PAUSE, "", "", "");
    assert_answer(world, 200, 2, "2 upstreams are already paused");
    ask(world, COMMAND_RESUME, "", "", "");
    assert_answer(world, 200, 4, "2 upstreams and 2 listeners are open");
    await_state(world, "relaying");
    close(waiting);
    end(world);
}

static void test_listeners(void **state)
{
    struct world *world = start(state);
    assert_int_equal(worker_life(world->worker), ADMIN_SERVING);
    ask(world, COMMAND_PAUSE, "", "", "a");
    assert_answer(world, 200, 1, "listener a is paused");
    int client = connect_client(world->f->other);
    assert_int_equal(await_state(world, "waiting")->conn, 0);
    assert_int_equal(world->listeners[0].service, SERVICE_PAUSED);
    assert_int_equal(world->listeners[1].service, SERVICE_OPEN);
    ask(world, COMMAND_RESUME, "", "", "a");
    assert_answer(world, 200, 1, "listener a is open");
    await_state(world, "relaying");
    ask(world, COMMAND_DRAIN, "", "", "a");
    assert_answer(world, 202, 1, "listener a is draining; 1 session is left");
    assert_int_equal(worker_life(world->worker), ADMIN_SERVING);
    ask(world, COMMAND_DRAIN, "", "", "");
    assert_answer(world, 202, 2, "2 listeners are draining; 1 session is left");
    assert_int_equal(worker_life(world->worker), ADMIN_DRAINING);
    ask(world, COMMAND_RESUME, "", "", "b");
    assert_int_equal(worker_life(world->worker), ADMIN_SERVING);
    worker_stop(world->worker, "SIGTERM");
    ask(world, COMMAND_DRAIN, "", "", "b");
    assert_answer(world, 409, 0, "kaproxy is stopping");
    assert_int_equal(worker_life(world->worker), ADMIN_STOPPING);
    close(client);
    end(world);
}

static void test_snapshot(void **state)
{
    struct world *world = start(state);
    int64_t began = unix_time();
    int clients[] = {connect_client(world->f->other), connect_client(world->f->other),
                     connect_client(world->second)};
    while (look(world, 4)->session_count < ARRAY_LEN(clients) ||
           strcmp(world->sessions[2].state, "relaying") != 0)
        continue;
    const struct snapshot *snapshot = look(world, 2); /* one of each listener */
    assert_true(snapshot->taken_at >= began);
    assert_int_equal(snapshot->host_count, 2);
    assert_string_equal(snapshot->hosts[0].pool, "default");
    assert_string_equal(snapshot->hosts[1].pool, "p");
    assert_string_equal(snapshot->hosts[1].upstream, world->endpoint);
    assert_true(snapshot->hosts[1].last_connected_at >= began);
    assert_int_equal(snapshot->hosts[1].last_error_at, 0);
    assert_int_equal(snapshot->listener_count, 2);
    assert_string_equal(snapshot->listeners[1].name, "b");
    assert_true(snapshot->listeners[0].oldest_session >= snapshot->listeners[1].oldest_session);
    assert_int_equal(snapshot->session_count, 2);
    assert_int_equal(snapshot->sessions_left_out, 1);
    assert_string_equal(snapshot->sessions[0].listener, "a");
    assert_string_equal(snapshot->sessions[1].listener, "b");
    assert_memory_equal(snapshot->sessions[1].client, "unix:uid:", 9);
    snapshot = look(world, 3); /* what one does not need the other one has */
    assert_int_equal(snapshot->session_count, 3);
    assert_int_equal(snapshot->sessions_left_out, 0);
    snapshot = look(world, 0);
    assert_int_equal(snapshot->session_count + snapshot->sessions_left_out, 0);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    end(world);
}

static void test_log_level(void **state)
{
    struct world *world = start(state);
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_ERROR, LOG_LEVEL_NOTICE};
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        world->command = (struct command){
            .verb = COMMAND_LOG_LEVEL, .level = levels[i], .by = "test", .done = on_command_done};
        world->done = false;
        worker_command(world->worker, &world->command);
        await(world, &world->done);
        assert_int_equal(world->command.status, 200);
        assert_true(log_enabled(levels[i]));
        assert_int_equal(log_enabled(LOG_LEVEL_DEBUG), levels[i] == LOG_LEVEL_DEBUG);
    }
    const char *text = end(world);
    assert_matches(text, HEAD " notice: admin: log-level level=debug by test: the log level is "
                              "debug until the next reload or start\n");
    assert_matches(text, HEAD " notice: admin: log-level level=error by test: ");
    assert_matches(text, HEAD " notice: admin: log-level level=notice by test: ");
}

/* Commands that arrive when the thread has ended, or is about to, are answered as well. */
static void test_too_late(void **state)
{
    struct world *world = start(state);
    worker_stop(world->worker, "SIGTERM");
    worker_stop(world->worker, "SIGTERM");
    await(world, &world->has_ended);
    world->command = (struct command){.verb = COMMAND_PAUSE, .by = "test", .done = on_command_done};
    world->request.snapshot = (struct snapshot){
        .taken_at = 1, .hosts = world->hosts, .host_count = ARRAY_LEN(world->hosts)};
    world->request.done = on_snapshot_done;
    worker_command(world->worker, &world->command);
    worker_snapshot(world->worker, &world->request);
    world->done = false;
    worker_join(world->worker);
    assert_true(world->done);
    assert_answer(world, 409, 0, "kaproxy is stopping");
    assert_int_equal(world->request.snapshot.taken_at, 0);
    assert_int_equal(world->request.snapshot.host_count, 0);
    worker_free(world->worker);
    generation_free(world->generation);
    mailbox_clear(&world->mailbox);
    config_unref(world->config);
    log_close();
    close(world->upstream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_names),    LOG_TEST(test_leases_in_use), LOG_TEST(test_listeners),
        LOG_TEST(test_snapshot), LOG_TEST(test_log_level),     LOG_TEST(test_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
