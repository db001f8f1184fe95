/* SPDX-License-Identifier: ISC */
/* What systemd hears while the process serves: the watchdog, which depends on the loop's answers,
 * and the line about the state. There is no worker; the test supplies its pings and its blocks. */
#include "support/log_fixture.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/listener.h"
#include "daemon/supervision.h"
#include "pool/pool_types.h"
#include "support/manager.h"

static usec_t frozen_at;  /* where our clock stands still; 0: it does not */
static unsigned pings;    /* how often the loop was asked */
static usec_t unanswered; /* how long it has not answered; -1: since the first ping */
static usec_t first_ping;
static struct listeners_stats listeners;
static struct host_stats hosts[3];
static const struct metric_block blocks[] = {
    {.set = &listeners_metrics, .block = &listeners},
    {.set = &host_metrics, .block = &hosts[0]},
    {.set = &host_metrics, .block = &hosts[1]},
    {.set = &host_metrics, .block = &hosts[2]},
};

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
void __wrap_worker_ping(struct worker *worker);
usec_t __wrap_worker_unanswered(const struct worker *worker);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    if (frozen_at == 0)
        return __real_clock_gettime(clock, time);
    *time = (struct timespec){.tv_sec = frozen_at / USEC_PER_SEC};
    return 0;
}

void __wrap_worker_ping(struct worker *worker)
{
    (void)worker;
    if (pings++ == 0)
        first_ping = monotonic_time();
}

usec_t __wrap_worker_unanswered(const struct worker *worker)
{
    (void)worker;
    return unanswered < 0 ? monotonic_time() - first_ping : unanswered;
}

/* Nothing has happened yet; systemd listens at the fixture's other name. */
struct world {
    int manager;
    struct event_base *base;
    struct supervision supervision;
    char text[MANAGER_TEXT_MAX];
};

static void start(struct world *world, struct fixture *f, const char *watchdog)
{
    char pid[32];
    memset(world, 0, sizeof(*world));
    memset(&listeners, 0, sizeof(listeners));
    memset(hosts, 0, sizeof(hosts));
    pings = 0;
    unanswered = frozen_at = 0;
    snprintf(pid, sizeof(pid), "%jd", (intmax_t)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    setenv("WATCHDOG_USEC", watchdog, 1);
    world->manager = manager_open(f->other);
    world->base = event_base_new();
    assert_int_equal(supervision_start(&world->supervision, world->base, NULL), 0);
    supervision_set_blocks(&world->supervision, blocks, ARRAY_LEN(blocks));
}

static void end(struct world *world, struct fixture *f)
{
    supervision_end(&world->supervision);
    supervision_end(&world->supervision);
    event_base_free(world->base);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    manager_close(world->manager, f->other);
}

static void turn(struct world *world)
{
    assert_int_equal(event_base_loop(world->base, EVLOOP_ONCE), 0);
}

static void expect(struct world *world, const char *message)
{
    for (int i = 0; i < 20 && manager_is_empty(world->manager); i++)
        turn(world);
    assert_false(manager_is_empty(world->manager));
    assert_string_equal(manager_read(world->manager, world->text), message);
}

static void expect_nothing(const struct world *world)
{
    assert_true(manager_is_empty(world->manager));
}

/* Waits until the loop was asked that many times more. */
static void await_pings(struct world *world, unsigned more)
{
    more += pings;
    while (pings < more)
        turn(world);
}

static void become_ready(struct world *world)
{
    supervision_ready(&world->supervision);
    expect(world, "READY=1");
    expect(world, "STATUS=0 clients, 0 connections");
}

#define SELDOM "3600000000"
#define OFTEN  "30000"

static void test_silent_until_ready(void **state)
{
    struct world world;
    if (!manager_is_told())
        return;
    start(&world, *state, OFTEN);
    supervision_stopping(&world.supervision);
    for (int i = 0; i < 5; i++)
        turn(&world);
    expect_nothing(&world);
    assert_int_equal(pings, 0);
    become_ready(&world);
    expect(&world, "WATCHDOG=1");
    end(&world, *state);
}

static void test_watchdog_while_the_loop_answers(void **state)
{
    struct world world;
    if (!manager_is_told())
        return;
    start(&world, *state, OFTEN);
    become_ready(&world);
    for (int i = 0; i < 3; i++)
        expect(&world, "WATCHDOG=1");
    /* Others ask all the while. */
    unanswered = 1;
    for (int i = 0; i < 3; i++)
        expect(&world, "WATCHDOG=1");
    end(&world, *state);
}

static void test_no_watchdog_when_the_loop_hangs(void **state)
{
    struct world world;
    if (!manager_is_told())
        return;
    start(&world, *state, OFTEN);
    unanswered = -1;
    become_ready(&world);
    await_pings(&world, 5);
    expect_nothing(&world);
    unanswered = 0;
    expect(&world, "WATCHDOG=1");
    end(&world, *state);
}

static void test_no_watchdog_is_asked_for(void **state)
{
    struct world world;
    if (!manager_is_told())
        return;
    start(&world, *state, "0");
    become_ready(&world);
    gauge_set(&hosts[0].down, 1);
    expect(&world, "STATUS=0 clients, 0 connections, 1 of 3 upstreams down");
    assert_int_equal(pings, 0);
    end(&world, *state);
}

static void test_state(void **state)
{
    struct world world;
    if (!manager_is_told())
        return;
    start(&world, *state, SELDOM);
    frozen_at = 100 * USEC_PER_SEC;
    become_ready(&world);
    gauge_set(&listeners.clients, 1);
    gauge_set(&hosts[0].conns[HOST_BUSY], 1);
    gauge_set(&hosts[1].conns[HOST_IDLE], 12);
    gauge_set(&hosts[2].down, 1);
    expect(&world, "STATUS=1 client, 13 connections, 1 of 3 upstreams down");
    /* A few more clients do not cause a line of their own. */
    gauge_set(&listeners.clients, 2);
    frozen_at += 9 * USEC_PER_SEC;
    turn(&world);
    expect_nothing(&world);
    gauge_set(&hosts[1].conns[HOST_IDLE], 0);
    gauge_set(&hosts[2].down, 0);
    supervision_stopping(&world.supervision);
    supervision_stopping(&world.supervision);
    expect(&world, "STOPPING=1");
    expect(&world, "STATUS=stopping: 2 clients, 1 connection");
    gauge_set(&listeners.clients, 1);
    frozen_at += 10 * USEC_PER_SEC;
    expect(&world, "STATUS=stopping: 1 client, 1 connection");
    supervision_end(&world.supervision);
    assert_int_equal(event_base_loop(world.base, 0), 1); /* nothing is left to wait for */
    expect_nothing(&world);
    end(&world, *state);
}

static void test_other_blocks(void **state)
{
    struct world world;
    if (!manager_is_told())
        return;
    start(&world, *state, SELDOM);
    become_ready(&world);
    gauge_set(&hosts[2].down, 1);
    supervision_set_blocks(&world.supervision, blocks, 2);
    gauge_set(&listeners.clients, 3);
    supervision_stopping(&world.supervision);
    expect(&world, "STOPPING=1");
    expect(&world, "STATUS=stopping: 3 clients, 0 connections");
    end(&world, *state);
}

static void test_what_differs(void **state)
{
    const struct supervision_state none = {.clients = 0};
    static const struct {
        struct supervision_state state;
        bool differs;
    } cases[] = {
        {{.clients = 9, .connections = 9}, false},
        {{.clients = 10}, true},
        {{.connections = 10}, true},
        {{.upstreams = 1}, true},
        {{.down = 1}, true},
        {{.stopping = true}, true},
    };
    const struct supervision_state many = {.clients = 100}, more = {.clients = 199},
                                   twice = {.clients = 200};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(supervision_differs(&cases[i].state, &none), cases[i].differs);
        assert_int_equal(supervision_differs(&none, &cases[i].state), cases[i].differs);
    }
    assert_false(supervision_differs(&many, &more));
    assert_true(supervision_differs(&many, &twice));
    assert_true(supervision_differs(&twice, &many));
}

static void test_nobody_listens(void **state)
{
    struct supervision supervision = {.worker = NULL};
    struct event_base *base = event_base_new();
    (void)state;
    pings = 0;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(supervision_start(&supervision, base, NULL), 0);
    supervision_ready(&supervision);
    assert_int_equal(event_base_loop(base, 0), 1); /* there is no timer */
    assert_int_equal(pings, 0);
    supervision_end(&supervision);
    event_base_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_silent_until_ready),
        LOG_TEST(test_watchdog_while_the_loop_answers),
        LOG_TEST(test_no_watchdog_when_the_loop_hangs),
        LOG_TEST(test_no_watchdog_is_asked_for),
        LOG_TEST(test_state),
        LOG_TEST(test_other_blocks),
        LOG_TEST(test_what_differs),
        LOG_TEST(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
