/* SPDX-License-Identifier: ISC */
/* A worker installs one configuration after the other: all of it or nothing, and what is no longer
 * used is freed. */
#include "support/log_fixture.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/worker_internal.h"
#include "support/generations.h"
#include "support/ini_text.h"
#include "support/shortage.h"
#include "support/sockets.h"

/* A worker, an upstream that accepts connections and does nothing with them, and the control
 * thread's side, which is the test's. */
struct world {
    struct fixture *f;
    int upstream;
    char endpoint[32], other[32]; /* the upstream's, and one where no process listens */
    char text[4096];              /* of the next configuration */
    struct generation *generation;
    struct worker *worker;
    struct worker_view *view;
    struct mailbox mailbox;
    struct message serving, ended;
    struct worker_install install;
    bool has_ended, done;
    int descriptors;
};

static struct world the_world;

static void open_upstream(struct world *world)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    world->upstream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(world->upstream, (struct sockaddr *)&in, length), 0);
    assert_int_equal(getsockname(world->upstream, (struct sockaddr *)&in, &length), 0);
    assert_int_equal(listen(world->upstream, 8), 0);
    snprintf(world->endpoint, sizeof(world->endpoint), "127.0.0.1:%u", ntohs(in.sin_port));
    snprintf(world->other, sizeof(world->other), "127.0.0.2:%u", ntohs(in.sin_port));
}

static PRINTF(2, 3) void add(struct world *world, const char *format, ...)
{
    size_t n = strlen(world->text);
    va_list args;
    va_start(args, format);
    vsnprintf(world->text + n, sizeof(world->text) - n, format, args);
    va_end(args);
}

/* A listener; its socket has its name. */
static void add_listener(struct world *world, const char *name, const char *pool,
                         const char *upstream, const char *lines)
{
    add(world, "[listener %s]\nlisten=unix:%s/%s\nreuse=quiet\nupstream=tcp://%s\npool=%s\n%s",
        name, world->f->folder, name, upstream, pool, lines);
}

static struct generation *next_generation(struct world *world)
{
    struct config *config = ini_load(world->text);
    struct generation *generation = world->generation == NULL
                                        ? generation_of(config, 10)
                                        : generation_after(world->generation, config);
    world->text[0] = '\0';
    config_unref(config);
    return generation;
}

/* What was added, in a worker that has no thread: the test iterates its loop. */
static struct world *start(void **state)
{
    struct world *world = &the_world;
    *world = (struct world){.f = *state, .descriptors = sockets_count()};
    world->mailbox.bell = -1;
    open_upstream(world);
    open_messages(world->f->file, LOG_LEVEL_NOTICE);
    return world;
}

static void begin(struct world *world, int places)
{
    world->generation = next_generation(world);
    world->worker = worker_new(world->generation, places);
    assert_non_null(world->worker);
    world->view = worker_first_view(world->worker);
    if (places < 0)
        assert_int_equal(listeners_start(&world->worker->listeners), 0);
}

/* What was added takes effect; the previous view is the caller's. */
static struct worker_view *take_up(struct world *world)
{
    struct generation *generation = next_generation(world);
    struct worker_view *before = world->view;
    world->view = worker_take_up(world->worker, generation);
    assert_non_null(world->view);
    generation_free(world->generation);
    world->generation = generation;
    return before;
}

static void iterate(struct world *world)
{
    for (int i = 0; i < 6; i++)
        loop_iterate(world->worker->loop, 0);
}

static void change(struct world *world)
{
    worker_release_view(world->worker, take_up(world));
    iterate(world);
}

static void end(struct world *world)
{
    if (world->view != NULL)
        worker_release_view(world->worker, world->view);
    if (!world->has_ended)
        listeners_abort(&world->worker->listeners);
    worker_free(world->worker);
    generation_free(world->generation);
    log_close();
    close(world->upstream);
    mailbox_clear(&world->mailbox);
    assert_int_equal(sockets_count(), world->descriptors);
}

static struct worker_pool *find_pool(struct world *world, const char *name)
{
    struct worker_pool *pool;
    TAILQ_FOREACH (pool, &world->worker->all_pools, link) {
        if (strcmp(pool->name, name) == 0)
            return pool;
    }
    return NULL;
}

static void assert_counts(struct world *world, size_t pools, size_t hosts)
{
    const struct worker_pool *pool;
    TAILQ_FOREACH (pool, &world->worker->all_pools, link) {
        const struct pool_host *host = NULL;
        while ((host = pool_next_host(pool->pool, host)) != NULL)
            hosts--;
        pools--;
    }
    assert_int_equal(pools, 0);
    assert_int_equal(hosts, 0);
}

static const struct listener_context *find_context(struct world *world, const char *name)
{
    const struct listener_context *context = NULL;
    while ((context = listeners_next(&world->worker->listeners, context)) != NULL) {
        if (strcmp(context->config->name, name) == 0)
            return context;
    }
    return NULL;
}

static int connect_to(const struct world *world, const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof(un.sun_path), "%s/%s", world->f->folder, name);
    assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    return fd;
}

static struct pool_stats stats_of(struct world *world, const char *pool)
{
    struct pool_stats stats;
    pool_get_stats(find_pool(world, pool)->pool, &stats);
    return stats;
}

static void await_busy(struct world *world, const char *pool, unsigned busy)
{
    while (stats_of(world, pool).busy != busy)
        loop_iterate(world->worker->loop, USEC_PER_MSEC);
}

/* Whatever resource is denied, nothing has changed, and nothing is left behind. */
static void test_shortage(void **state)
{
    struct world *world = start(state);
    add_listener(world, "a", "", world->endpoint, "");
    add_listener(world, "b", "p", world->endpoint, "");
    add(world, "[pool p]\n");
    begin(world, -1);
    add(world, "[kaproxy]\nresolver=127.0.0.1:9\n");
    add_listener(world, "b", "q", world->other, "");
    add_listener(world, "c", "p", world->other, "");
    add(world, "[pool p]\nmax_open=5\n[pool q]\n");
    struct generation *generation = next_generation(world);
    const struct worker *worker = world->worker;
    const struct config *config = worker->config;
    const struct listener_context *context = find_context(world, "b");
    struct worker_view *view = NULL;
    int failed = 0, sockets = sockets_count();
    for (; view == NULL; failed++) {
        shortage_of_calloc(failed + 1);
        view = worker_take_up(world->worker, generation);
        bool came = shortage_came();
        shortage_of_calloc(0);
        assert_true(came == (view == NULL));
        if (view != NULL)
            break;
        iterate(world);
        assert_counts(world, 2, 2);
        assert_int_equal(sockets_count(), sockets);
        assert_ptr_equal(worker->config, config);
        assert_int_equal(worker->generation, 1);
        assert_ptr_equal(find_context(world, "b"), context);
        assert_int_not_equal(pool_get_limits(find_pool(world, "p")->pool)->max_open, 5);
        assert_ptr_equal(worker->resolver_config, config);
    }
    assert_true(failed > 20);
    assert_int_equal(pool_get_limits(find_pool(world, "p")->pool)->max_open, 5);
    worker_release_view(world->worker, world->view);
    world->view = view;
    generation_free(world->generation);
    world->generation = generation;
    iterate(world);
    assert_counts(world, 3, 2);
    end(world);
}

/* A pool is freed with its last session, and is the same if it returns before that. */
static void test_pools(void **state)
{
    struct world *world = start(state);
    add_listener(world, "a", "p", world->endpoint, "");
    add(world, "[pool p]\n[pool unused]\n");
    begin(world, -1);
    assert_counts(world, 3, 1); /* the default one is always there */
    int client = connect_to(world, "a");
    await_busy(world, "p", 1);
    const struct worker_pool *pool = find_pool(world, "p");
    add_listener(world, "a", "q", world->endpoint, "");
    add(world, "[pool q]\n");
    change(world);
    assert_null(find_pool(world, "unused"));
    assert_ptr_equal(find_pool(world, "p"), pool);
    assert_true(pool->retired);
    add_listener(world, "a", "p", world->endpoint, "");
    add(world, "[pool p]\n");
    change(world);
    assert_null(find_pool(world, "q"));
    assert_ptr_equal(find_pool(world, "p"), pool);
    close(client);
    await_busy(world, "p", 0);
    assert_int_equal(stats_of(world, "p").idle, 1);
    client = connect_to(world, "a");
    await_busy(world, "p", 1);
    assert_counts(world, 2, 1);
    add_listener(world, "a", "q", world->endpoint, "");
    add(world, "[pool q]\n");
    change(world);
    close(client);
    while (find_pool(world, "p") != NULL)
        loop_iterate(world->worker->loop, USEC_PER_MSEC);
    assert_counts(world, 2, 1);
    end(world);
}

/* A pool without listeners keeps nothing. */
static void test_hosts(void **state)
{
    struct world *world = start(state);
    add_listener(world, "a", "", world->endpoint, "");
    begin(world, -1);
    int client = connect_to(world, "a");
    await_busy(world, "default", 1);
    close(client);
    await_busy(world, "default", 0);
    assert_int_equal(stats_of(world, "default").idle, 1);
    add_listener(world, "a", "", world->endpoint, "idle_timeout=10\n");
    change(world);
    assert_int_equal(stats_of(world, "default").idle, 1);
    client = connect_to(world, "a");
    await_busy(world, "default", 1);
    add_listener(world, "a", "", world->other, "");
    change(world);
    assert_counts(world, 1, 2);
    assert_int_equal(stats_of(world, "default").busy, 1);
    close(client);
    await_busy(world, "default", 0);
    iterate(world);
    assert_int_equal(stats_of(world, "default").idle, 0);
    assert_counts(world, 1, 1);
    end(world);
}

/* All of a view can be read until it is released, whatever was freed by then. */
static void test_late_view(void **state)
{
    struct world *world = start(state);
    add_listener(world, "a", "p", world->endpoint, "");
    add_listener(world, "b", "p", world->other, "");
    add(world, "[pool p]\n");
    begin(world, -1);
    add_listener(world, "a", "", world->other, "");
    struct worker_view *first = take_up(world);
    iterate(world);
    add_listener(world, "c", "", world->endpoint, "");
    struct worker_view *second = take_up(world);
    iterate(world);
    assert_counts(world, 2, 4);
    const struct admin_view *view = worker_view_get(first);
    assert_int_equal(view->generation, 1);
    assert_int_equal(log_start(), 0);
    metric_log(view->blocks, view->block_count);
    worker_release_view(world->worker, first);
    iterate(world);
    assert_null(find_pool(world, "p"));
    worker_release_view(world->worker, second);
    iterate(world);
    assert_counts(world, 1, 1);
    end(world);
}

static void test_limits(void **state)
{
    struct world *world = start(state);
    add_listener(world, "a", "", world->endpoint, "");
    add(world, "[pool]\nunacked_timeout=5\n");
    begin(world, -1);
    assert_int_equal(find_context(world, "a")->unacked_timeout, 5 * USEC_PER_SEC);
    add_listener(world, "a", "", world->endpoint, "");
    add(world, "[pool]\nunacked_timeout=7\n");
    change(world);
    assert_int_equal(find_context(world, "a")->unacked_timeout, 7 * USEC_PER_SEC);
    end(world);
}

/* Is a block of these numbers in the view? */
static bool has_block(const struct worker_view *view, const void *block)
{
    const struct admin_view *admin = worker_view_get(view);
    for (size_t i = 0; i < admin->block_count; i++) {
        if (admin->blocks[i].block == block)
            return true;
    }
    return false;
}

static void add_tls(struct world *world)
{
    add(world, "[listener t]\nlisten=unix:%s/t\nreuse=quiet\nupstream=tls://%s\n", world->f->folder,
        world->endpoint);
    add(world, "tls_server_name=x\n");
}

/* An existing host keeps its TLS client, whichever the new configuration has made: the one shown is
 * the one that dials. */
static void test_tls(void **state)
{
    struct world *world = start(state);
    add_tls(world);
    begin(world, -1);
    struct tls_client *client = find_context(world, "t")->tls;
    assert_non_null(client);
    assert_true(has_block(world->view, tls_client_stats(client)));
    add_listener(world, "a", "", world->endpoint, "");
    struct worker_view *first = take_up(world);
    iterate(world);
    add_tls(world);
    change(world);
    assert_ptr_not_equal(world->generation->tls_clients.list[0].client, client);
    assert_ptr_equal(find_context(world, "t")->tls, client);
    assert_true(has_block(world->view, tls_client_stats(client)));
    worker_release_view(world->worker, first);
    end(world);
}

/* Blocks that several listeners have in common are there once, with the first one's labels; hosts
 * that differ only by TLS are distinguished. */
static void test_blocks(void **state)
{
    struct world *world = start(state);
    add_listener(world, "b", "", world->endpoint, "");
    add_listener(world, "a", "", world->endpoint, "");
    add_tls(world);
    add(world,
        "[listener u]\nlisten=unix:%s/u\nreuse=quiet\nupstream=tls://%s\npool=p\n"
        "tls_server_name=x\n[listener v]\nlisten=unix:%s/v\nreuse=quiet\n"
        "upstream=tls://%s\ntls_server_name=y\n[pool p]\n",
        world->f->folder, world->endpoint, world->f->folder, world->endpoint);
    begin(world, -1);
    static const char *const labels[] = {"", "t", "", "v"};
    const struct admin_view *view = worker_view_get(world->view);
    size_t hosts = 0, clients = 0;
    for (size_t i = 0; i < view->block_count; i++) {
        const struct metric_block *block = &view->blocks[i];
        if (block->set == &host_metrics) {
            const char *label = block->labels.tls;
            assert_string_equal(label == NULL ? "" : label, labels[hosts++]);
        }
        if (block->set == &tls_metrics)
            assert_string_equal(block->labels.tls, clients++ == 0 ? "t" : "v");
    }
    assert_int_equal(hosts, ARRAY_LEN(labels));
    for (const struct listener_context *context = NULL;
         (context = listeners_next(&world->worker->listeners, context)) != NULL;)
        assert_true(worker_view_has_host(world->view, context->pool_host));
    assert_int_equal(clients, 2);
    end(world);
}

/* A reload while places are shared with the previous process: what is shared stays. */
static void test_places(void **state)
{
    struct world *world = start(state);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
                     0);
    add_listener(world, "a", "p", world->endpoint, "");
    add(world, "[pool p]\n[pool unused]\n");
    begin(world, ends[0]);
    world->worker->control = &world->mailbox;
    world->worker->serving = &world->serving;
    assert_int_equal(mailbox_init(&world->mailbox), 0);
    add_listener(world, "a", "", world->endpoint, "");
    change(world);
    assert_counts(world, 3, 2);
    assert_false(world->worker->listeners.started);
    close(ends[1]);
    while (!world->worker->listeners.started)
        loop_iterate(world->worker->loop, USEC_PER_MSEC);
    iterate(world);
    assert_counts(world, 1, 1);
    end(world);
}

/* With a thread. */

static void on_ended(struct message *message)
{
    container_of(message, struct world, ended)->has_ended = true;
}

static void on_serving(struct message *message)
{
    (void)message;
}

static void on_installed(struct worker_install *install)
{
    container_of(install, struct world, install)->done = true;
}

static void start_thread(struct world *world)
{
    world->ended.run = on_ended;
    world->serving.run = on_serving;
    assert_int_equal(mailbox_init(&world->mailbox), 0);
    const struct worker_messages messages = {
        .mailbox = &world->mailbox, .serving = &world->serving, .ended = &world->ended};
    assert_int_equal(log_start(), 0);
    assert_int_equal(worker_start(world->worker, &messages), 0);
}

static void run(struct world *world)
{
    world->generation = next_generation(world);
    world->worker = worker_new(world->generation, -1);
    assert_non_null(world->worker);
    world->view = worker_first_view(world->worker);
    start_thread(world);
}

static void await(struct world *world, const bool *done)
{
    struct pollfd pollfd = {.fd = mailbox_descriptor(&world->mailbox), .events = POLLIN};
    while (!*done) {
        assert_int_equal(poll(&pollfd, 1, 60000), 1);
        mailbox_run(&world->mailbox);
    }
}

/* Asks for what was added. */
static struct generation *ask(struct world *world)
{
    struct generation *generation = next_generation(world);
    world->done = false;
    world->install = (struct worker_install){.generation = generation, .done = on_installed};
    worker_install(world->worker, &world->install);
    assert_false(world->done);
    return generation;
}

/* What became of it. */
static void answered(struct world *world, struct generation *generation)
{
    assert_true(world->done);
    assert_true(world->install.ok == (world->install.view != NULL));
    if (!world->install.ok) {
        generation_undo(generation, world->generation);
        return;
    }
    generation_free(world->generation);
    world->generation = generation;
    worker_release_view(world->worker, world->view);
    world->view = world->install.view;
}

static void join(struct world *world)
{
    await(world, &world->has_ended);
    worker_join(world->worker);
}

/* The control thread reads all the while. */
static void test_reading(void **state)
{
    struct world *world = start(state);
    for (int i = 0; i < 20; i++) {
        add_listener(world, "a", i % 3 == 0 ? "p" : "", world->endpoint,
                     i % 2 == 0 ? "idle_timeout=10\n" : "");
        if (i % 4 > 1)
            add_listener(world, "b", "", world->other, "");
        add(world, i % 3 == 0 ? "[pool p]\n" : "");
        if (i == 0) {
            run(world);
            continue;
        }
        int client = connect_to(world, "a");
        struct generation *generation = ask(world);
        const struct admin_view *view = worker_view_get(world->view);
        for (int k = 0; k < 3; k++)
            metric_log(view->blocks, view->block_count);
        close(client);
        await(world, &world->done);
        assert_true(world->install.ok);
        answered(world, generation);
    }
    worker_stop(world->worker, "SIGTERM");
    worker_stop(world->worker, "SIGTERM");
    join(world);
    end(world);
}

/* However far it has got, an install is answered, and a view that is on its way back is freed. */
static void test_stop(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct world *world = start(state);
        add_listener(world, "a", "", world->endpoint, "");
        add_listener(world, "b", "", world->endpoint, "");
        run(world);
        int client = connect_to(world, "b");
        for (int k = 0; k < i; k++)
            worker_stop(world->worker, "SIGTERM");
        add_listener(world, "a", "p", world->endpoint, "");
        add(world, "[pool p]\n");
        struct generation *generation = ask(world);
        for (int k = i; k < 2; k++)
            worker_stop(world->worker, "SIGTERM");
        join(world);
        if (i > 0) {
            assert_false(world->install.ok);
            assert_string_equal(world->install.error, "kaproxy is stopping");
        }
        answered(world, generation);
        close(client);
        end(world);
    }
}

/* The order to stop, and the end of the previous process, are seen at the same time. */
static void test_stop_while_it_may_serve(void **state)
{
    struct world *world = start(state);
    int places[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, places),
                     0);
    add_listener(world, "a", "", world->endpoint, "");
    begin(world, places[0]);
    worker_stop(world->worker, "SIGTERM");
    close(places[1]);
    start_thread(world);
    join(world);
    assert_false(world->worker->listeners.started);
    end(world);
    char path[300];
    snprintf(path, sizeof(path), "%s/a", world->f->folder);
    assert_int_equal(unlink(path), 0); /* it is left to the previous process */
}

static void test_released_late(void **state)
{
    struct world *world = start(state);
    add_listener(world, "a", "", world->endpoint, "");
    run(world);
    worker_stop(world->worker, "SIGTERM");
    worker_stop(world->worker, "SIGTERM");
    await(world, &world->has_ended);
    worker_release_view(world->worker, world->view); /* its loop no longer runs */
    worker_join(world->worker);
    assert_true(TAILQ_EMPTY(&world->worker->views));
    world->view = NULL;
    end(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_shortage),      LOG_TEST(test_pools),
        LOG_TEST(test_hosts),         LOG_TEST(test_late_view),
        LOG_TEST(test_limits),        LOG_TEST(test_tls),
        LOG_TEST(test_blocks),        LOG_TEST(test_places),
        LOG_TEST(test_reading),       LOG_TEST(test_stop),
        LOG_TEST(test_released_late), LOG_TEST(test_stop_while_it_may_serve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
