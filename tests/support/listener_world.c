/* SPDX-License-Identifier: ISC */
/* Successive configurations, and clients at their listeners' addresses. */
#include "support/listener_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/ini_text.h"

static void on_drained(struct listeners *listeners)
{
    container_of(listeners, struct fixture, listeners)->drained++;
}

static void on_all_left(struct listeners *listeners)
{
    container_of(listeners, struct fixture, listeners)->all_left++;
}

static void keep_port(struct fixture *f, int place)
{
    struct sockaddr_in *in = &f->ports[place];
    socklen_t length = sizeof(*in);
    int on = 1;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    f->kept[place] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(f->kept[place], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(f->kept[place], (struct sockaddr *)in, length), 0);
    assert_int_equal(getsockname(f->kept[place], (struct sockaddr *)in, &length), 0);
    snprintf(f->places[place], sizeof(f->places[place]), "127.0.0.1:%u", ntohs(in->sin_port));
}

int listener_world_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    session_world_setup((void **)&f->world);
    for (int i = 0; i < FIRST_UNIX; i++)
        keep_port(f, i);
    for (int i = FIRST_UNIX; i < PLACES; i++)
        snprintf(f->places[i], sizeof(f->places[i]), "unix:%s/%d", f->world->folder, i);
    f->listeners.worker.loop = f->world->loop;
    f->listeners.worker.scratch = f->world->scratch;
    f->listeners.worker.compose = f->world->compose;
    f->listeners.worker.pipes = &f->world->pipes;
    f->listeners.drained = on_drained;
    f->listeners.all_left = on_all_left;
    listeners_init(&f->listeners);
    *state = f;
    return 0;
}

int listener_world_teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < FIRST_UNIX; i++)
        close(f->kept[i]);
    listeners_abort(&f->listeners);
    listeners_clear(&f->listeners);
    generation_free(f->generation);
    session_world_teardown((void **)&f->world);
    free(f);
    return 0;
}

void add_of(struct fixture *f, const char *scheme, const char *name, const int *places,
            const char *lines)
{
    size_t n = strlen(f->text);
    n += (size_t)snprintf(f->text + n, sizeof(f->text) - n, "[listener %s]\n%slisten=", name,
                          strcmp(scheme, "tcp") == 0 ? "reuse=quiet\n" : "");
    for (; *places >= 0; places++)
        n += (size_t)snprintf(f->text + n, sizeof(f->text) - n, "%s ", f->places[*places]);
    snprintf(f->text + n, sizeof(f->text) - n, "\nupstream=%s://127.0.0.1:%u\n%s", scheme,
             (unsigned)ntohs(f->world->upstream.address.sin_port), lines);
}

struct generation *next_generation(struct fixture *f)
{
    struct config *config = ini_load(f->text);
    f->text[0] = '\0';
    struct generation *generation = f->generation == NULL
                                        ? generation_of(config, config->max_clients)
                                        : generation_after(f->generation, config);
    config_unref(config);
    return generation;
}

void apply(struct fixture *f)
{
    struct generation *generation = next_generation(f);
    bool is_first = f->generation == NULL;
    generation_listen(&f->listeners, generation, f->world->pool);
    generation_free(f->generation);
    f->generation = generation;
    if (is_first)
        assert_int_equal(listeners_start(&f->listeners), 0);
}

struct listener *find(struct fixture *f, const char *name)
{
    struct listener *listener = NULL;
    while ((listener = listener_next(&f->listeners, listener)) != NULL) {
        if (strcmp(listener_get_context(listener)->config->name, name) == 0)
            return listener;
    }
    fail_msg("there is no listener %s", name);
    return NULL;
}

const struct listener_stats *stats_of(struct fixture *f, const char *name)
{
    return &listener_get_context(find(f, name))->counters->stats;
}

unsigned accepted(struct fixture *f, const char *name)
{
    return (unsigned)counter_get(&stats_of(f, name)->accepted);
}

unsigned contexts(const struct listener *listener)
{
    const struct listener_context *context = NULL;
    unsigned count = 0;
    while ((context = listener_next_context(listener, context)) != NULL)
        count++;
    return count;
}

int connect_to(struct fixture *f, int place)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    bool is_unix = place >= FIRST_UNIX;
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (is_unix)
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", f->places[place] + strlen("unix:"));
    const struct sockaddr *sa =
        is_unix ? (struct sockaddr *)&un : (struct sockaddr *)&f->ports[place];
    if (connect(fd, sa, is_unix ? sizeof(un) : sizeof(f->ports[place])) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

void await_clients(struct fixture *f, unsigned clients)
{
    while (f->listeners.clients != clients)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
}

void leave(struct fixture *f, int client)
{
    unsigned before = f->listeners.clients;
    close(client);
    await_clients(f, before - 1);
}

void assert_serves(struct fixture *f, int place, const char *name)
{
    unsigned before = accepted(f, name), clients = f->listeners.clients;
    int client = connect_to(f, place);
    assert_true(client >= 0);
    await_clients(f, clients + 1);
    assert_int_equal(accepted(f, name), before + 1);
    leave(f, client);
}

void assert_refuses(struct fixture *f, int place)
{
    unsigned before = f->listeners.clients;
    char text[8];
    int client = connect_to(f, place);
    if (place < FIRST_UNIX) {
        assert_int_equal(client, -1);
        assert_int_equal(errno, ECONNREFUSED);
        return;
    }
    assert_true(client >= 0);
    assert_true(world_receive(f->world, client, text, sizeof(text)));
    assert_string_equal(text, "");
    close(client);
    assert_int_equal(f->listeners.clients, before);
}
