/* SPDX-License-Identifier: ISC */
/* What the admin server asks of the process is kept until the test answers. */
#include "support/admin_server.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/ini_text.h"
#include "support/sockets.h"

time_t server_ahead;

int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    int result = __real_clock_gettime(clock, ts);
    ts->tv_sec += server_ahead;
    return result;
}

static void on_snapshot(void *arg, struct snapshot_request *request)
{
    struct server *server = arg;
    assert_null(server->snapshot);
    server->snapshot = request;
    server->snapshots++;
}

static void on_command(void *arg, struct command *command)
{
    struct server *server = arg;
    assert_null(server->command);
    server->command = command;
    server->commands++;
}

static void on_reload(void *arg, struct admin_reload *reload)
{
    struct server *server = arg;
    TAILQ_INSERT_TAIL(&server->reloads, reload, link);
    server->reload_count++;
}

static void on_ping(void *arg)
{
    struct server *server = arg;
    server->pings++;
}

static usec_t on_unanswered(void *arg)
{
    const struct server *server = arg;
    return server->unanswered;
}

static enum admin_life on_life(void *arg)
{
    (void)arg;
    return ADMIN_SERVING;
}

static void open_sockets(struct server *server)
{
    const struct config_admin *config = &server->config->admin;
    for (size_t i = 0; i < SERVER_SOCKETS; i++) {
        const char *error;
        server->sockets[i] =
            bound_socket_open(&config->addresses.list[i].address, &config->socket.file, &error);
        assert_non_null(server->sockets[i]);
    }
}

void server_prepare(struct server *server, const char *keys)
{
    char text[400];
    *server = (struct server){.descriptors = sockets_count()};
    TAILQ_INIT(&server->reloads);
    for (size_t i = 0; i < SERVER_SOCKETS; i++)
        snprintf(server->paths[i], sizeof(server->paths[i]), "/tmp/kaproxy-test-admin-%d-%zu.sock",
                 getpid(), i);
    snprintf(text, sizeof(text), "[admin]\nlisten = unix:%s unix:%s\n%s\n" LISTENER,
             server->paths[0], server->paths[1], keys);
    server->config = ini_load(text);
    open_sockets(server);
    server->base = event_base_new();
    server->admin = admin_new(server->base);
    assert_non_null(server->admin);
    assert_int_equal(admin_set_sockets(server->admin, server->sockets, 1), 0);
    server->view = (struct admin_view){.config = server->config, .generation = 1};
    server->ops = (struct admin_ops){.arg = server,
                                     .snapshot = on_snapshot,
                                     .command = on_command,
                                     .reload = on_reload,
                                     .ping = on_ping,
                                     .unanswered = on_unanswered,
                                     .life = on_life};
}

void server_start(struct server *server, const char *keys)
{
    server_prepare(server, keys);
    assert_int_equal(admin_start(server->admin, &server->ops, &server->view), 0);
}

void server_end(struct server *server)
{
    assert_null(server->snapshot);
    assert_null(server->command);
    assert_true(TAILQ_EMPTY(&server->reloads));
    admin_free(server->admin);
    event_base_free(server->base);
    config_unref(server->config);
    for (size_t i = 0; i < SERVER_SOCKETS; i++) {
        assert_int_equal(access(server->paths[i], F_OK), 0);
        bound_socket_unref(server->sockets[i]);
        assert_int_equal(access(server->paths[i], F_OK), -1); /* the only reference */
    }
    assert_int_equal(sockets_count(), server->descriptors);
    server_ahead = 0;
}

void server_turn(struct server *server)
{
    for (int i = 0; i < 10; i++)
        event_base_loop(server->base, EVLOOP_NONBLOCK);
}

int server_ask_at(struct server *server, unsigned socket_index, const char *request)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, server->paths[socket_index]);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    server_turn(server);
    return fd;
}

int server_ask(struct server *server, const char *request)
{
    return server_ask_at(server, 0, request);
}

void server_wait_for(struct server *server, int fd)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    char byte;
    for (int i = 0; recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0; i++) {
        assert_true(i < 3000);
        nanosleep(&pause, NULL);
        server_turn(server);
    }
}

void assert_answer(int fd, const char *words)
{
    static char text[65536];
    ssize_t got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    assert_true(got > 0);
    text[got] = '\0';
    if (strstr(text, words) == NULL)
        fail_msg("no \"%s\" in \"%s\"", words, text);
    close(fd);
}

void assert_no_answer(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
}

void assert_end(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
    close(fd);
}

void server_answer_snapshot(struct server *server, uint64_t generation)
{
    struct snapshot_request *request = server->snapshot;
    assert_non_null(request);
    server->snapshot = NULL;
    assert_int_equal(request->snapshot.session_count, SNAPSHOT_SESSIONS_MAX);
    request->snapshot.taken_at = 1;
    request->snapshot.generation = generation;
    request->snapshot.host_count = request->snapshot.listener_count = 0;
    request->snapshot.session_count = 0;
    request->done(request);
    server_turn(server);
}

void server_answer_command(struct server *server, int status)
{
    struct command *command = server->command;
    assert_non_null(command);
    server->command = NULL;
    command->status = status;
    snprintf(command->text, sizeof(command->text), "number %u", server->commands);
    command->done(command);
    server_turn(server);
}

void server_answer_reloads(struct server *server, bool ok, const char *text)
{
    struct admin_reload *reload;
    char *copy = strdup(text); /* it lasts as long as done alone */
    assert_non_null(copy);
    while ((reload = TAILQ_FIRST(&server->reloads)) != NULL) {
        TAILQ_REMOVE(&server->reloads, reload, link);
        reload->ok = ok;
        reload->text = copy;
        reload->done(reload);
    }
    free(copy);
    server_turn(server);
}
