/* SPDX-License-Identifier: ISC */
/* A worker that waits for its predecessor's word, and what else may arrive before that. */
#include "support/log_fixture.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/worker_internal.h"
#include "support/generations.h"
#include "support/ini_text.h"
#include "support/sockets.h"

/* A worker without a thread, its predecessor's end of the channel, and the control thread's side.
 */
struct world {
    struct fixture *f;
    int places;
    struct generation *generation;
    struct worker *worker;
    struct mailbox mailbox;
    struct message serving;
    bool serves;
    int descriptors;
};

static struct world the_world;

static void on_serving(struct message *message)
{
    container_of(message, struct world, serving)->serves = true;
}

static struct world *start(void **state)
{
    struct world *world = &the_world;
    char text[256];
    int ends[2];
    *world = (struct world){.f = *state, .descriptors = sockets_count()};
    world->serving.run = on_serving;
    open_messages(world->f->file, LOG_LEVEL_NOTICE);
    snprintf(text, sizeof(text), "[listener a]\nlisten=unix:%s\nupstream=http://127.0.0.1:1\n",
             world->f->other);
    struct config *config = ini_load(text);
    world->generation = generation_of(config, 10);
    config_unref(config);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
                     0);
    world->places = ends[0];
    world->worker = worker_new(world->generation, ends[1]);
    assert_non_null(world->worker);
    assert_int_equal(mailbox_init(&world->mailbox), 0);
    world->worker->control = &world->mailbox;
    world->worker->serving = &world->serving;
    return world;
}

static void iterate(struct world *world)
{
    for (int i = 0; i < 6; i++)
        loop_iterate(world->worker->loop, 0);
    mailbox_run(&world->mailbox);
}

static void end(struct world *world)
{
    worker_release_view(world->worker, worker_first_view(world->worker));
    listeners_abort(&world->worker->listeners);
    worker_free(world->worker);
    generation_free(world->generation);
    log_close();
    mailbox_clear(&world->mailbox);
    assert_int_equal(sockets_count(), world->descriptors);
}

static void test_predecessor_ends(void **state)
{
    struct world *world = start(state);
    iterate(world);
    assert_false(world->serves);
    close(world->places);
    iterate(world);
    assert_true(world->serves);
    assert_true(world->worker->listeners.started);
    end(world);
}

/* It must not report that it serves, for then the predecessor would leave. */
static void test_stopped_meanwhile(void **state)
{
    struct world *world = start(state);
    worker_stop(world->worker, "SIGTERM");
    iterate(world);
    close(world->places);
    iterate(world);
    assert_false(world->serves);
    assert_false(world->worker->listeners.started);
    end(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_predecessor_ends),
        LOG_TEST(test_stopped_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
