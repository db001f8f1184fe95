/* SPDX-License-Identifier: ISC */
/* Two processes share their hosts' max_per_host: both ends in one process, with a pool each; and
 * each end alone, where the test is the other one. */
#include "daemon/places.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/places_channel.h"
#include "support/pool_fixture.h"

#define OLD 0
#define NEW 1

#define MANY_HOSTS 300

struct end {
    struct places_handler handler;
    struct places *places;
    unsigned all, ended;
};

static struct end ends[2];
static int sockets[2];

static void on_all(struct places_handler *handler)
{
    container_of(handler, struct end, handler)->all++;
}

static void on_ended(struct places_handler *handler)
{
    container_of(handler, struct end, handler)->ended++;
}

static void open_end(struct fixture *f, int end)
{
    ends[end] = (struct end){.handler = {.all = on_all, .ended = on_ended}};
    ends[end].places =
        places_new(f->loop, sockets[end], &f->pools[end], 1, end == OLD, &ends[end].handler);
    assert_non_null(ends[end].places);
}

static void close_end(int end)
{
    places_free(ends[end].places);
    ends[end].places = NULL;
}

/* Two pools of one name. */
static void open_pools(struct fixture *f, const struct pool_limits *limits)
{
    for (int end = 0; end < 2; end++)
        pool_set_name(fixture_pool(f, limits), "shared");
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets),
                     0);
}

static struct pool_host *host_of(struct fixture *f, int end, const struct peer *peer)
{
    struct pool_host *host = pool_retain(f->pools[end], &ask_prepare(f, peer)->endpoint, NULL);
    assert_non_null(host);
    return host;
}

static struct pool_places places_of(const struct pool_host *host)
{
    struct pool_places places;
    pool_view_places(host, &places);
    return places;
}

static struct ask *ask_end(struct fixture *f, int end, const struct peer *peer)
{
    struct ask *ask = ask_prepare(f, peer);
    ask->pool = f->pools[end];
    ask_start(ask);
    return ask;
}

static struct ask *get_end(struct fixture *f, int end, const struct peer *peer)
{
    struct ask *ask = ask_end(f, end, peer);
    ask_wait(ask);
    assert_true(ask->succeeded);
    return ask;
}

/* Both share, and the new one knows everything. */
static void begin(struct fixture *f)
{
    open_end(f, OLD);
    open_end(f, NEW);
    assert_int_equal(places_begin(ends[OLD].places), 0);
    fixture_iterate(f);
    assert_int_equal(ends[NEW].all, 1);
}

static void close_both(struct fixture *f)
{
    close_end(OLD);
    close_end(NEW);
    fixture_iterate(f);
}

/* What the old one uses it keeps, and what is idle there is closed; the new one has the rest. */
static void old_keeps_what_it_uses(void **state)
{
    struct fixture *f = *state;
    open_pools(f, &(struct pool_limits){.max_per_host = 3});
    struct pool_host *old = host_of(f, OLD, &f->a), *new = host_of(f, NEW, &f->a);
    struct ask *used = get_end(f, OLD, &f->a);
    ask_release(get_end(f, OLD, &f->a));
    begin(f);
    assert_int_equal(places_of(old).open, 1);
    struct ask *asks[3];
    for (int i = 0; i < 3; i++)
        asks[i] = ask_end(f, NEW, &f->a);
    fixture_iterate(f);
    assert_int_equal(places_of(new).open, 2);
    claim_pending(asks[2]);
    ask_release(used);
    ask_wait(asks[2]);
    assert_int_equal(places_of(new).open, 3);
    assert_int_equal(places_of(old).open, 0);
    close_both(f);
}

/* Until it knows what the old one has the new one opens nothing. */
static void new_waits_for_all(void **state)
{
    struct fixture *f = *state;
    open_pools(f, &(struct pool_limits){.min_idle = 1});
    struct pool_host *new = host_of(f, NEW, &f->a);
    open_end(f, OLD);
    open_end(f, NEW);
    pool_set_preconnected(new, true);
    struct ask *waiting = ask_end(f, NEW, &f->b); /* another host, that arrives later */
    fixture_iterate(f);
    assert_int_equal(places_of(new).open, 0);
    claim_pending(waiting);
    assert_int_equal(places_begin(ends[OLD].places), 0);
    ask_wait(waiting);
    fixture_iterate(f);
    assert_int_equal(places_of(new).open, 1);
    close_both(f);
}

/* With one place: the old one's waiter precedes those of the new one, and none starves. */
static void one_place(void **state)
{
    struct fixture *f = *state;
    open_pools(f, &(struct pool_limits){.max_per_host = 1});
    host_of(f, OLD, &f->a);
    host_of(f, NEW, &f->a);
    begin(f);
    struct ask *first = get_end(f, NEW, &f->a), *second = ask_end(f, NEW, &f->a);
    struct ask *old = ask_end(f, OLD, &f->a);
    fixture_iterate(f);
    claim_pending(old);
    ask_release(first);
    ask_wait(old);
    claim_pending(second);
    ask_release(old);
    ask_wait(second);
    ask_release(second); /* idle: closed for the old one */
    fixture_iterate(f);
    ask_release(get_end(f, OLD, &f->a));
    ask_release(get_end(f, NEW, &f->a));
    close_both(f);
}

/* A host that the old one did not have when it began. */
static void host_that_comes_later(void **state)
{
    struct fixture *f = *state;
    open_pools(f, &(struct pool_limits){.max_per_host = 2});
    struct pool_host *new = host_of(f, NEW, &f->a);
    begin(f);
    struct ask *others[2] = {get_end(f, NEW, &f->a), get_end(f, NEW, &f->a)};
    struct ask *late = ask_end(f, OLD, &f->a), *unknown = ask_end(f, OLD, &f->b);
    ask_wait(unknown); /* the new one has no such host */
    claim_pending(late);
    ask_release(others[0]);
    ask_wait(late);
    assert_int_equal(places_of(new).open, 1);
    struct ask *stranger = ask_end(f, NEW, &f->b); /* now it has: the old one uses one of two */
    ask_wait(stranger);
    struct ask *third = ask_end(f, NEW, &f->b);
    fixture_iterate(f);
    claim_pending(third);
    ask_discard(unknown, false);
    ask_wait(third);
    close_both(f);
}

static void held_ones(void **state)
{
    struct fixture *f = *state;
    open_pools(f, &(struct pool_limits){.max_tunnels = 2});
    host_of(f, OLD, &f->a);
    struct pool_host *new = host_of(f, NEW, &f->a);
    struct ask *tunnel = get_end(f, OLD, &f->a);
    ask_hold(tunnel);
    begin(f);
    ask_hold(get_end(f, NEW, &f->a));
    assert_false(pool_can_hold(new));
    ask_discard(tunnel, false);
    fixture_iterate(f);
    assert_true(pool_can_hold(new));
    close_both(f);
}

static void end_of_the_new_one(void **state)
{
    struct fixture *f = *state;
    open_pools(f, &(struct pool_limits){.max_per_host = 1});
    host_of(f, OLD, &f->a);
    host_of(f, NEW, &f->a);
    begin(f);
    get_end(f, NEW, &f->a);
    struct ask *old = ask_end(f, OLD, &f->a);
    fixture_iterate(f);
    claim_pending(old);
    close_end(NEW);
    ask_wait(old);
    assert_int_equal(ends[OLD].ended, 1);
    get_end(f, OLD, &f->b); /* a future host */
    close_both(f);
    assert_int_equal(ends[OLD].ended, 1);
}

static void end_of_the_old_one(void **state)
{
    struct fixture *f = *state;
    open_pools(f, &(struct pool_limits){.max_per_host = 1});
    host_of(f, OLD, &f->a);
    host_of(f, NEW, &f->a);
    struct ask *old = get_end(f, OLD, &f->a);
    begin(f);
    struct ask *new = ask_end(f, NEW, &f->a);
    fixture_iterate(f);
    claim_pending(new);
    ask_discard(old, false);
    close_end(OLD);
    ask_wait(new);
    fixture_iterate(f);
    assert_int_equal(ends[NEW].ended, 1);
    get_end(f, NEW, &f->b);
    close_both(f);
}

/* The other end ends before anything was said, and its end is freed from inside. */
static void free_inside(struct places_handler *handler)
{
    on_ended(handler);
    close_end(NEW);
}

static void end_at_once(void **state)
{
    struct fixture *f = *state;
    open_pools(f, NULL);
    host_of(f, NEW, &f->a);
    open_end(f, NEW);
    ends[NEW].handler.ended = free_inside;
    close(sockets[OLD]);
    ask_wait(ask_end(f, NEW, &f->a));
    assert_int_equal(ends[NEW].ended, 1);
    assert_int_equal(ends[NEW].all, 0);
    assert_null(ends[NEW].places);
}

/* One end alone. */

static void key_of(const struct ask *ask, char key[PLACES_KEY_MAX])
{
    places_format_key(ask->fixture->pool, &ask->endpoint, key);
}

static void say(int end, const char *text, const char *key)
{
    char message[1024];
    int length = snprintf(message, sizeof(message), "%s%s", text, key);
    assert_int_equal(send(sockets[end], message, (size_t)length, 0), length);
}

/* The next message, without its key. */
static void claim_said(int end, const char *text)
{
    char message[1024];
    ssize_t length = recv(sockets[end], message, sizeof(message) - 1, 0);
    assert_true(length > 0);
    message[length] = '\0';
    char *key = strstr(message, "shared\t");
    if (key != NULL)
        *key = '\0';
    assert_string_equal(message, text);
}

static void claim_silent(int end)
{
    char byte;
    assert_int_equal(recv(sockets[end], &byte, sizeof(byte), 0), -1);
}

static void stale_grants(void **state)
{
    struct fixture *f = *state;
    char key[PLACES_KEY_MAX];
    open_pools(f, &(struct pool_limits){.max_per_host = 3});
    struct pool_host *old = host_of(f, OLD, &f->a);
    struct ask *used = get_end(f, OLD, &f->a);
    key_of(used, key);
    open_end(f, OLD);
    assert_int_equal(places_begin(ends[OLD].places), 0);
    fixture_iterate(f);
    claim_said(NEW, "host 1 1 0 0 ");
    claim_said(NEW, "all");
    struct ask *waiting = ask_end(f, OLD, &f->a), *last = ask_end(f, OLD, &f->a);
    fixture_iterate(f);
    claim_said(NEW, "host 2 1 2 0 ");
    say(NEW, "grant 1 3 ", key);
    say(NEW, "grant 3 3 ", key);
    fixture_iterate(f);
    claim_pending(waiting);
    claim_silent(NEW);
    say(NEW, "grant 2 2 ", key); /* a part */
    ask_wait(waiting);
    claim_said(NEW, "host 3 2 1 0 ");
    say(NEW, "grant 2 3 ", key);
    fixture_iterate(f);
    claim_pending(last);
    say(NEW, "grant 3 1000 ", key); /* max_per_host holds */
    ask_wait(last);
    claim_said(NEW, "host 4 3 0 0 ");
    ask_discard(used, false);
    fixture_iterate(f);
    claim_said(NEW, "host 5 2 0 0 ");
    assert_int_equal(places_of(old).open, 2);
    close_end(OLD);
    close(sockets[NEW]);
}

/* A part is granted as soon as there is room for it, and the rest when there is room for that. */
static void parts_are_granted(void **state)
{
    struct fixture *f = *state;
    char key[PLACES_KEY_MAX];
    open_pools(f, &(struct pool_limits){.max_per_host = 2});
    struct pool_host *new = host_of(f, NEW, &f->a);
    open_end(f, NEW);
    say(OLD, "all", "");
    struct ask *one = get_end(f, NEW, &f->a), *other = get_end(f, NEW, &f->a);
    key_of(one, key);
    say(OLD, "host 1 0 2 0 ", key);
    fixture_iterate(f);
    claim_silent(OLD);
    ask_release(one);
    fixture_iterate(f);
    claim_said(OLD, "grant 1 1 ");
    claim_silent(OLD);
    ask_release(other);
    fixture_iterate(f);
    claim_said(OLD, "grant 1 2 ");
    say(OLD, "host 1 0 0 0 ", key); /* it was sent before */
    ask_end(f, NEW, &f->a);
    fixture_iterate(f);
    assert_int_equal(places_of(new).open, 0);
    close_end(NEW);
    close(sockets[OLD]);
}

static void nonsense_is_ignored(void **state)
{
    static const char *const nonsense[] = {
        "x",
        "all ",
        "host",
        "host 1 0 9 ",
        "host 0 0 9 0 ",
        "host -1 0 9 0 ",
        "host 1 0 1000001 0 ",
        "host 99999999999999999999999 0 9 0 ",
        "host 1 0 9 0",
        "host 1  0 9 0 ",
        "host 1 0 9 0 \t",
        "host 1 0 9 0 \x01",
        "grant 1 9 ",
    };
    struct fixture *f = *state;
    char key[PLACES_KEY_MAX], longest[3000];
    open_pools(f, &(struct pool_limits){.max_per_host = 1});
    host_of(f, NEW, &f->a);
    key_of(ask_prepare(f, &f->a), key);
    open_end(f, NEW);
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
        say(OLD, nonsense[i], key);
    say(OLD, "host 1 0 9 0 shared\ttcp://x:1\t", "00");
    say(OLD, "host 1 0 9 0 ", "");
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(send(sockets[OLD], longest, sizeof(longest), 0), sizeof(longest));
    assert_int_equal(send(sockets[OLD], "all\0", 4, 0), 4);
    fixture_iterate(f);
    claim_silent(OLD);
    assert_int_equal(ends[NEW].all, 0);
    say(OLD, "all", "");
    get_end(f, NEW, &f->a);
    close_end(NEW);
    close(sockets[OLD]);
}

/* Messages that do not fit wait: one for each host, and "all" after them. */
static void full_channel(void **state)
{
    struct fixture *f = *state;
    int size = 1;
    open_pools(f, NULL);
    for (unsigned i = 0; i < MANY_HOSTS; i++) {
        struct endpoint endpoint = {.scheme = "tcp", .port = 1};
        snprintf(endpoint.addr, sizeof(endpoint.addr), "127.0.%u.%u", i / 256, i % 256);
        assert_non_null(pool_retain(f->pools[OLD], &endpoint, NULL));
    }
    struct pool_host *last = host_of(f, OLD, &f->a);
    assert_int_equal(setsockopt(sockets[OLD], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    open_end(f, OLD);
    assert_int_equal(places_begin(ends[OLD].places), 0);
    fixture_iterate(f);
    struct ask *first = ask_end(f, OLD, &f->a), *second = ask_end(f, OLD, &f->a);
    fixture_iterate(f);
    ask_cancel(second);
    fixture_iterate(f);
    for (unsigned i = 0; i < MANY_HOSTS; i++) {
        claim_said(NEW, "host 1 0 0 0 ");
        fixture_begin(f);
    }
    claim_said(NEW, "host 1 0 1 0 "); /* as it is now */
    fixture_begin(f);
    claim_said(NEW, "all");
    claim_silent(NEW);
    claim_pending(first);
    assert_int_equal(places_of(last).queued, 1);
    close_end(OLD);
    ask_wait(first);
    close(sockets[NEW]);
}

/* Anything in any order. */

#define STEPS   4000
#define AT_WORK 12

static uint64_t seed;

static unsigned below(unsigned limit)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (unsigned)((z ^ (z >> 31)) % limit);
}

static void claim_most(struct pool_host *const hosts[2], unsigned most)
{
    unsigned old = places_of(hosts[OLD]).open, new = places_of(hosts[NEW]).open;
    if (old + new > most)
        fail_msg("seed %llu: %u and %u are open, of %u", (unsigned long long)seed, old, new, most);
}

static void take_step(struct fixture *f, struct ask *ask)
{
    if (ask->held) {
        if (below(3) > 0)
            ask_release(ask);
        else
            ask_discard(ask, false);
        return;
    }
    if (ask->answers == 0 && ask->pool != NULL && pool_is_waiting(&ask->allocation)) {
        if (below(10) == 0) {
            ask_cancel(ask);
            ask->pool = NULL;
        }
        return;
    }
    if (ask->answers == 0 && ask->pool != NULL) /* in flight */
        return;
    ask->answers = 0;
    ask->pool = f->pools[below(2)];
    ask_start(ask);
}

static void one_round(struct fixture *f, unsigned most)
{
    const struct pool_limits limits = {.max_per_host = most};
    struct pool_host *hosts[2] = {host_of(f, OLD, &f->a), host_of(f, NEW, &f->a)};
    struct ask *asks[AT_WORK];
    unsigned answers[2] = {0};
    for (int i = 0; i < AT_WORK; i++) {
        asks[i] = ask_prepare(f, &f->a);
        asks[i]->pool = NULL;
    }
    pool_set_limits(f->pools[OLD], &limits);
    pool_set_limits(f->pools[NEW], &limits);
    begin(f);
    for (int step = 0; step < STEPS; step++) {
        struct ask *ask = asks[below(AT_WORK)];
        answers[ask->held && ask->pool == f->pools[NEW]] += ask->held;
        take_step(f, ask);
        claim_most(hosts, most);
        if (below(2) > 0)
            fixture_begin(f);
        claim_most(hosts, most);
    }
    for (int turn = 0; turn < 1000; turn++) { /* none starves */
        struct ask *ask = asks[turn % AT_WORK];
        if (ask->held)
            ask_release(ask);
        fixture_iterate(f);
        claim_most(hosts, most);
    }
    for (int i = 0; i < AT_WORK; i++)
        assert_true(asks[i]->pool == NULL || asks[i]->answers == 1);
    print_message("# max_per_host %u: granted %u, %u\n", most, answers[OLD], answers[NEW]);
    assert_true(answers[OLD] > 0 && answers[NEW] > 0);
    close_both(f);
    pool_unretain(hosts[OLD]);
    pool_unretain(hosts[NEW]);
}

static void random_steps(void **state)
{
    struct fixture *f = *state;
    const char *text = getenv("KAPROXY_SEED");
    seed = text != NULL ? strtoull(text, NULL, 0) : (unsigned long long)time(NULL);
    print_message("# seed %llu\n", (unsigned long long)seed);
    open_pools(f, NULL);
    for (unsigned most = 1; most <= 4; most++) {
        if (most > 1)
            assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sockets), 0);
        one_round(f, most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(old_keeps_what_it_uses),
        FIXTURE_TEST(new_waits_for_all),
        FIXTURE_TEST(one_place),
        FIXTURE_TEST(host_that_comes_later),
        FIXTURE_TEST(held_ones),
        FIXTURE_TEST(end_of_the_new_one),
        FIXTURE_TEST(end_of_the_old_one),
        FIXTURE_TEST(end_at_once),
        FIXTURE_TEST(stale_grants),
        FIXTURE_TEST(parts_are_granted),
        FIXTURE_TEST(nonsense_is_ignored),
        FIXTURE_TEST(full_channel),
        FIXTURE_TEST(random_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
