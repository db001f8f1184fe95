/* Listeners that go over to another configuration: which sockets there are, whom they serve, and
 * what goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/listener_internal.h"
#include "support/generations.h"
#include "support/ini_text.h"
#include "support/session_world.h"
#include "support/shortage.h"
#include "support/sockets.h"

/* Where listeners can be: two ports and two unix sockets. */
enum { A, B, C, D, PLACES };
#define FIRST_UNIX C

struct fixture {
    struct world *world;
    struct listeners listeners;
    struct generation *generation;
    struct sockaddr_in ports[FIRST_UNIX];
    int kept[FIRST_UNIX]; /* keep the ports for us */
    char places[PLACES][80];
    char text[4096]; /* of the next configuration */
    unsigned drained, all_left;
};

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

static int setup(void **state)
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

static int teardown(void **state)
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

/* One more listener of the next configuration. */
static void add_of(struct fixture *f, const char *scheme, const char *name, const int *places,
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

#define add(f, name, lines, ...) add_of(f, "tcp", name, (const int[]){__VA_ARGS__, -1}, lines)

/* The next generation, which is not in effect yet. */
static struct generation *next_generation(struct fixture *f)
{
    struct config *config = ini_load(f->text);
    f->text[0] = '\0';
    struct generation *generation = f->generation == NULL
                                        ? generation_of(config, config->max_clients)
                                        : generation_after(f->generation, config);
    config_unref(config);
    return generation;
}

/* What was added is in effect. */
static void apply(struct fixture *f)
{
    struct generation *generation = next_generation(f);
    bool is_first = f->generation == NULL;
    generation_listen(&f->listeners, generation, f->world->pool);
    generation_free(f->generation);
    f->generation = generation;
    if (is_first)
        assert_int_equal(listeners_start(&f->listeners), 0);
}

static struct listener *find(struct fixture *f, const char *name)
{
    struct listener *listener = NULL;
    while ((listener = listener_next(&f->listeners, listener)) != NULL) {
        if (strcmp(listener_get_context(listener)->config->name, name) == 0)
            return listener;
    }
    fail_msg("there is no listener %s", name);
    return NULL;
}

static const struct listener_stats *stats_of(struct fixture *f, const char *name)
{
    return &listener_get_context(find(f, name))->counters->stats;
}

static unsigned accepted(struct fixture *f, const char *name)
{
    return (unsigned)counter_get(&stats_of(f, name)->accepted);
}

/* How many contexts a listener has. */
static unsigned contexts(const struct listener *listener)
{
    const struct listener_context *context = NULL;
    unsigned count = 0;
    while ((context = listener_next_context(listener, context)) != NULL)
        count++;
    return count;
}

/* A client, or -1 with errno. */
static int connect_to(struct fixture *f, int place)
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

static void await_clients(struct fixture *f, unsigned clients)
{
    while (f->listeners.clients != clients)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
}

static void leave(struct fixture *f, int client)
{
    unsigned before = f->listeners.clients;
    close(client);
    await_clients(f, before - 1);
}

static void assert_serves(struct fixture *f, int place, const char *name)
{
    unsigned before = accepted(f, name), clients = f->listeners.clients;
    int client = connect_to(f, place);
    assert_true(client >= 0);
    await_clients(f, clients + 1);
    assert_int_equal(accepted(f, name), before + 1);
    leave(f, client);
}

static void assert_refuses(struct fixture *f, int place)
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

static void set_service(struct fixture *f, const char *name, enum service service)
{
    const char *address;
    assert_int_equal(listener_set_service(find(f, name), service, &address), 0);
}

static void drain(struct fixture *f, const char *name)
{
    set_service(f, name, SERVICE_DRAINING);
    while (!listener_get_context(find(f, name))->draining)
        loop_iterate(f->world->loop, 0);
}

/* Whoever waits in a backlog meanwhile is served by the new configuration; sessions of before keep
 * theirs, until the last one has ended. */
static void test_kept(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "idle_timeout=10\n", A, C);
    apply(f);
    int old = connect_to(f, A);
    await_clients(f, 1);
    const struct listener *listener = find(f, "a");
    int fd = bound_socket_fd(f->generation->sockets[0]);
    int clients[] = {connect_to(f, A), connect_to(f, C)};
    add(f, "a", "idle_timeout=20\n", C, A);
    apply(f);
    assert_ptr_equal(find(f, "a"), listener);
    assert_int_equal(bound_socket_fd(f->generation->sockets[1]), fd);
    await_clients(f, 3);
    assert_int_equal(contexts(listener), 2);
    const struct listener_context *before = listener_next_context(listener, NULL);
    const struct listener_context *now = listener_next_context(listener, before);
    assert_int_equal(before->config->idle_timeout, 10 * USEC_PER_SEC);
    assert_int_equal(now->config->idle_timeout, 20 * USEC_PER_SEC);
    const struct session *session = listener_context_next(before, NULL);
    assert_non_null(session);
    assert_null(listener_context_next(before, session));
    assert_true(before->retiring);
    assert_false(now->retiring);
    assert_int_equal(accepted(f, "a"), 3);
    assert_int_equal(f->all_left, 0);
    leave(f, old);
    world_iterate(f->world);
    assert_int_equal(contexts(listener), 1);
    leave(f, clients[0]);
    leave(f, clients[1]);
    add(f, "a", "", A);
    apply(f);
    world_iterate(f->world);
    assert_int_equal(contexts(listener), 1);
}

/* Sessions need not know of a change that is another listener's. */
static void test_unchanged(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A);
    apply(f);
    int client = connect_to(f, A);
    await_clients(f, 1);
    add(f, "b", "", B);
    add(f, "a", "", A, C);
    apply(f);
    assert_false(listener_next_context(find(f, "a"), NULL)->retiring);
    assert_int_equal(contexts(find(f, "a")), 2);
    leave(f, client);
}

static void test_moved(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B);
    apply(f);
    int clients[] = {connect_to(f, A), connect_to(f, C)};
    add(f, "b", "", B, A);
    add(f, "a", "", C);
    apply(f);
    await_clients(f, 2);
    assert_int_equal(accepted(f, "a"), 1);
    assert_int_equal(accepted(f, "b"), 1);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        leave(f, clients[i]);
    assert_serves(f, A, "b");
    assert_serves(f, B, "b");
    assert_serves(f, C, "a");
}

/* Who waits at an address that goes is served as he would have been before. */
static void test_removed(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B, D);
    apply(f);
    const struct listener_context *gone = listener_get_context(find(f, "b"));
    int clients[] = {connect_to(f, B), connect_to(f, D), connect_to(f, C)};
    add(f, "a", "", A);
    apply(f);
    assert_false(listeners_have_left(&f->listeners));
    await_clients(f, 3);
    while (!listeners_have_left(&f->listeners))
        loop_iterate(f->world->loop, 0);
    assert_int_equal(f->all_left, 1);
    assert_int_equal(counter_get(&gone->counters->stats.accepted), 2);
    assert_int_equal(accepted(f, "a"), 1);
    for (int place = B; place < PLACES; place++)
        assert_int_equal(connect_to(f, place), -1);
    assert_false(TAILQ_EMPTY(&f->listeners.gone));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        leave(f, clients[i]);
    world_iterate(f->world);
    assert_true(TAILQ_EMPTY(&f->listeners.gone));
    assert_int_equal(contexts(find(f, "a")), 1);
    assert_serves(f, A, "a");
}

static void test_renamed(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    apply(f);
    int old = connect_to(f, A);
    await_clients(f, 1);
    int client = connect_to(f, C);
    add(f, "b", "", A, C);
    apply(f);
    assert_true(listeners_have_left(&f->listeners));
    await_clients(f, 2);
    assert_int_equal(accepted(f, "b"), 1);
    leave(f, old);
    world_iterate(f->world);
    assert_true(TAILQ_EMPTY(&f->listeners.gone));
    leave(f, client);
}

/* Its sessions end inside the sweep's own iteration, too. */
static void test_back_again(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    int old = connect_to(f, A);
    await_clients(f, 1);
    add(f, "b", "", B);
    apply(f);
    world_iterate(f->world);
    assert_int_equal(connect_to(f, A), -1);
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    assert_true(TAILQ_EMPTY(&f->listeners.gone));
    assert_int_equal(accepted(f, "a"), 1);
    assert_int_equal(gauge_get(&stats_of(f, "a")->sessions), 1);
    assert_true(listener_next_context(find(f, "a"), NULL)->retiring);
    assert_false(listener_get_context(find(f, "a"))->retiring);
    assert_serves(f, A, "a");
    leave(f, old);
    world_iterate(f->world);
    assert_int_equal(contexts(find(f, "a")), 1);
    assert_int_equal(accepted(f, "a"), 2);
}

/* New sockets of one that drains, and such as were another one's, accept nobody either, after those
 * who wait there. */
static void test_draining(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B);
    apply(f);
    drain(f, "a");
    for (int i = 0; i < 2; i++) {
        add(f, "a", i == 0 ? "idle_timeout=10\n" : "", A, C);
        add(f, "b", "", B);
        apply(f);
        world_iterate(f->world);
        assert_refuses(f, A);
        assert_refuses(f, C);
        assert_int_equal(counter_get(&f->listeners.stats.pauses), 0);
        assert_true(listener_get_context(find(f, "a"))->draining);
        assert_serves(f, B, "b");
    }
    int client = connect_to(f, B);
    add(f, "a", "", A, B, C, D);
    apply(f);
    await_clients(f, 1);
    assert_int_equal(accepted(f, "a"), 1);
    while (find(f, "a")->emptying)
        loop_iterate(f->world->loop, 0);
    for (int place = 0; place < PLACES; place++)
        assert_refuses(f, place);
    leave(f, client);
    add(f, "a", "", B, C, D);
    add(f, "b", "", A); /* which an operator has not drained */
    apply(f);
    world_iterate(f->world);
    assert_refuses(f, B);
    assert_serves(f, A, "b");
    set_service(f, "a", SERVICE_OPEN);
    for (int place = B; place < PLACES; place++)
        assert_serves(f, place, "a");
    assert_int_equal(counter_get(&f->listeners.stats.pauses), 0);
}

/* A change, or its listener's end, meets a drain that has not come to the backlogs yet. */
static void test_drain_begins(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B);
    apply(f);
    int client = connect_to(f, A);
    set_service(f, "a", SERVICE_DRAINING);
    add(f, "a", "idle_timeout=10\n", A, C);
    add(f, "b", "", B);
    apply(f);
    await_clients(f, 1);
    while (find(f, "a")->emptying)
        loop_iterate(f->world->loop, 0);
    assert_true(listener_get_context(find(f, "a"))->draining);
    assert_refuses(f, A);
    set_service(f, "a", SERVICE_OPEN);
    set_service(f, "a", SERVICE_DRAINING);
    add(f, "b", "", B);
    apply(f);
    assert_true(TAILQ_FIRST(&TAILQ_FIRST(&f->listeners.gone)->parts)->context.draining);
    add(f, "b", "", B);
    add(f, "a", "", C); /* what was wanted of it is forgotten */
    world_iterate(f->world);
    apply(f);
    assert_int_equal(listener_get_service(find(f, "a")), SERVICE_OPEN);
    assert_int_equal(gauge_get(&stats_of(f, "a")->draining), 0);
    assert_serves(f, C, "a");
    leave(f, client);
}

static void test_paused(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    set_service(f, "a", SERVICE_PAUSED);
    int old = connect_to(f, A);
    await_clients(f, 1);
    add(f, "a", "idle_timeout=10\n", A, B);
    apply(f);
    int clients[] = {connect_to(f, A), connect_to(f, B)};
    await_clients(f, 3);
    const struct listener *listener = find(f, "a");
    assert_int_equal(listener_next_context(listener, NULL)->paused_count, 1);
    assert_int_equal(listener_get_context(find(f, "a"))->paused_count, 2);
    assert_int_equal(gauge_get(&stats_of(f, "a")->paused), 1);
    add(f, "b", "", B);
    apply(f); /* nobody could resume it any more */
    listener = TAILQ_FIRST(&f->listeners.gone);
    world_iterate(f->world);
    const struct listener_context *context = NULL;
    while ((context = listener_next_context(listener, context)) != NULL)
        assert_int_equal(context->paused_count, 0);
    leave(f, old);
    leave(f, clients[0]);
    leave(f, clients[1]);
    assert_serves(f, B, "b");
}

static void test_max_clients(void **state)
{
    struct fixture *f = *state;
    int clients[3];
    for (unsigned limit = 1; limit <= 2; limit++) {
        snprintf(f->text, sizeof(f->text), "[kaproxy]\nmax_clients=%u\n", limit);
        add(f, "a", "", A);
        apply(f);
        if (limit == 1) {
            for (size_t i = 0; i < ARRAY_LEN(clients); i++)
                clients[i] = connect_to(f, A);
        }
        await_clients(f, limit);
        world_iterate(f->world);
        assert_int_equal(f->listeners.clients, limit);
        assert_int_equal(gauge_get(&f->listeners.stats.max_clients), limit);
    }
    snprintf(f->text, sizeof(f->text), "[kaproxy]\nmax_clients=1\n");
    add(f, "a", "", A);
    apply(f);
    leave(f, clients[0]);
    world_iterate(f->world);
    assert_int_equal(f->listeners.clients, 1);
    close(clients[1]);
    while (accepted(f, "a") < 3)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    leave(f, clients[2]);
    assert_serves(f, A, "a");
}

/* Without memory nothing changes, and nothing is left of what was made. */
static void test_shortage(void **state)
{
    struct fixture *f = *state;
    struct listeners_change *change = NULL;
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    add(f, "c", "", A, C);
    add(f, "b", "idle_timeout=10\n", D);
    struct generation *generation = next_generation(f);
    int failed = 0, sockets = sockets_count();
    for (; change == NULL; failed++) {
        shortage_of_calloc(failed + 1);
        change = generation_prepare(&f->listeners, generation, f->world->pool);
        bool came = shortage_came();
        shortage_of_calloc(0);
        assert_true(came == (change == NULL));
        assert_int_equal(sockets_count(), sockets);
        assert_int_equal(contexts(find(f, "a")) + contexts(find(f, "b")), 2);
        assert_null(listener_next(&f->listeners, find(f, "b")));
    }
    assert_true(failed > 10);
    listeners_drop(&f->listeners, change);
    generation_free(generation);
    world_iterate(f->world);
    assert_int_equal(connect_to(f, D), -1);
    assert_serves(f, A, "a");
    assert_serves(f, B, "b");
}

/* A stop meets sockets that are leaving. */
static void test_stop(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, B);
    apply(f);
    int clients[] = {connect_to(f, A), connect_to(f, B)};
    add(f, "a", "", A);
    apply(f);
    listeners_stop(&f->listeners);
    await_clients(f, 2);
    while (!f->listeners.closed)
        loop_iterate(f->world->loop, 0);
    assert_int_equal(f->all_left, 1);
    assert_int_equal(connect_to(f, A), -1);
    leave(f, clients[0]);
    assert_int_equal(f->drained, 0);
    leave(f, clients[1]);
    world_iterate(f->world);
    assert_int_equal(f->drained, 1);
}

/* What an operator drains meanwhile is not shut for the successor, which has the same sockets. */
static void test_yield(void **state)
{
    struct fixture *f = *state;
    for (int resumes = 0; resumes < 2; resumes++) {
        add(f, "a", "", A);
        add(f, "b", "", B);
        apply(f);
        drain(f, "b");
        assert_int_equal(listeners_yield(&f->listeners), 0);
        int clients[] = {connect_to(f, A), connect_to(f, B)};
        assert_true(clients[0] >= 0 && clients[1] >= 0);
        set_service(f, "a", SERVICE_DRAINING);
        world_iterate(f->world);
        assert_int_equal(f->listeners.clients, 0);
        close(clients[0]);
        close(clients[1]);
        if (resumes == 1)
            break;
        listeners_resume(&f->listeners);
        while (find(f, "a")->emptying)
            loop_iterate(f->world->loop, 0);
        assert_refuses(f, A);
        assert_refuses(f, B);
        set_service(f, "a", SERVICE_OPEN);
        await_clients(f, 0);
        assert_serves(f, A, "a");
        set_service(f, "b", SERVICE_OPEN);
        assert_serves(f, B, "b");
    }
    int fd = dup(bound_socket_fd(f->generation->sockets[0])); /* the successor's */
    listeners_leave(&f->listeners);
    world_iterate(f->world);
    int client = connect_to(f, A);
    assert_true(client >= 0);
    assert_int_equal(f->drained, 1);
    close(client);
    close(fd);
}

#define CHANGE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANGE_TEST(test_kept),        CHANGE_TEST(test_unchanged),    CHANGE_TEST(test_moved),
        CHANGE_TEST(test_removed),     CHANGE_TEST(test_renamed),      CHANGE_TEST(test_back_again),
        CHANGE_TEST(test_draining),    CHANGE_TEST(test_drain_begins), CHANGE_TEST(test_paused),
        CHANGE_TEST(test_max_clients), CHANGE_TEST(test_shortage),     CHANGE_TEST(test_stop),
        CHANGE_TEST(test_yield),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
