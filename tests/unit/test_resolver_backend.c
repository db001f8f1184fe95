/* SPDX-License-Identifier: ISC */
/* Another back end while names are kept, watched and looked up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/resolver.h"

/* A back end whose queries are answered by the test itself. */
struct manual {
    struct resolver_backend base;
    struct query *queries[16];
    const char *names[16];
    size_t started;
    unsigned stopped;
    bool refuses;
};

static int manual_start(struct resolver_backend *base, struct query *query, const char *name)
{
    struct manual *manual = container_of(base, struct manual, base);
    assert_int_equal(manual->stopped, 0);
    if (manual->refuses) {
        errno = ENOMEM;
        return -1;
    }
    assert_true(manual->started < ARRAY_LEN(manual->queries));
    manual->names[manual->started] = name;
    manual->queries[manual->started++] = query;
    return 0;
}

static void manual_stop(struct resolver_backend *base)
{
    container_of(base, struct manual, base)->stopped++;
}

struct world {
    struct loop *loop;
    struct manual first, second, third;
    struct resolver *resolver;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct manual *const manuals[] = {&world->first, &world->second, &world->third};
    for (size_t i = 0; i < ARRAY_LEN(manuals); i++)
        manuals[i]->base = (struct resolver_backend){.start = manual_start, .stop = manual_stop};
    world->loop = loop_new();
    world->resolver = resolver_new(world->loop, &world->first.base);
    *state = world;
    return world->loop != NULL && world->resolver != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct world *world = *state;
    resolver_free(world->resolver);
    loop_iterate(world->loop, 0); /* what was posted is gone */
    assert_in_range(world->first.stopped + world->second.stopped + world->third.stopped, 1, 3);
    loop_free(world->loop);
    free(world);
    return 0;
}

static void iterate(struct world *world)
{
    for (int i = 0; i < 4; i++)
        loop_iterate(world->loop, 0);
}

static unsigned queries(const struct world *world)
{
    return (unsigned)counter_get(&resolver_stats(world->resolver)->queries);
}

struct asker {
    struct lookup lookup;
    unsigned answers;
    size_t count;
    char error[80];
};

static void on_done(struct lookup *lookup, const union address *addresses, size_t count,
                    const char *error)
{
    struct asker *asker = container_of(lookup, struct asker, lookup);
    (void)addresses;
    asker->answers++;
    asker->count = count;
    snprintf(asker->error, sizeof(asker->error), "%s", error == NULL ? "" : error);
}

static void ask(struct world *world, struct asker *asker, const char *name)
{
    *asker = (struct asker){.lookup.done = on_done};
    assert_int_equal(resolver_lookup(world->resolver, &asker->lookup, name), 0);
}

static union address numeric(const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    return address;
}

static void answer(struct query *query, usec_t ttl)
{
    union address address = numeric("192.0.2.1");
    resolver_query_answer_kept(query, &address, 1, ttl);
}

static void test_queries_under_way_are_asked_again(void **state)
{
    struct world *world = *state;
    struct asker a, b, c;
    ask(world, &a, "a.test");
    ask(world, &b, "b.test");
    ask(world, &c, "a.test");
    resolver_set_backend(world->resolver, &world->second.base);
    assert_int_equal(world->first.stopped, 1);
    assert_int_equal(world->second.started, 2);
    assert_string_equal(world->second.names[0], "a.test");
    assert_string_equal(world->second.names[1], "b.test");
    assert_int_equal(queries(world), 4);
    iterate(world);
    assert_int_equal(a.answers + b.answers + c.answers, 0);
    answer(world->second.queries[0], USEC_PER_SEC);
    resolver_query_answer(world->second.queries[1], NULL, 0, "no such name");
    iterate(world);
    assert_int_equal(a.answers, 1);
    assert_int_equal(a.count, 1);
    assert_int_equal(c.answers, 1);
    assert_int_equal(b.answers, 1);
    assert_string_equal(b.error, "no such name");
}

/* An abandoned query is retried too: another asker may join it. */
static void test_kept_answers_stay(void **state)
{
    struct world *world = *state;
    struct asker a, b, given_up;
    ask(world, &a, "a.test");
    ask(world, &given_up, "b.test");
    resolver_cancel(world->resolver, &given_up.lookup);
    answer(world->first.queries[0], 60 * USEC_PER_SEC);
    resolver_set_backend(world->resolver, &world->second.base);
    assert_int_equal(world->second.started, 1);
    ask(world, &b, "a.test");
    iterate(world);
    assert_int_equal(b.answers, 1);
    assert_int_equal(b.count, 1);
    answer(world->second.queries[0], USEC_PER_SEC);
    assert_int_equal(given_up.answers, 0);
}

/* What one family has brought is given out when the other one takes its time, also if that one, and
 * the first one again, are now another back end's. */
static void test_one_family_has_come(void **state)
{
    struct world *world = *state;
    struct asker a, b;
    union address in4 = numeric("192.0.2.1"), in6 = numeric("2001:db8::1");
    ask(world, &a, "a.test");
    resolver_query_answer_family(world->first.queries[0], AF_INET, &in4, 1, USEC_PER_SEC);
    assert_int_equal(a.answers, 0);
    loop_warp(world->loop, RESOLVER_DELAY / 2);
    iterate(world);
    resolver_set_backend(world->resolver, &world->second.base);
    resolver_query_answer_family(world->second.queries[0], AF_INET, &in4, 1, USEC_PER_SEC);
    iterate(world);
    assert_int_equal(a.answers, 0);
    loop_warp(world->loop, RESOLVER_DELAY / 2);
    iterate(world);
    assert_int_equal(a.answers, 1);
    assert_int_equal(a.count, 1);
    resolver_query_answer_family(world->second.queries[0], AF_INET6, &in6, 1, USEC_PER_SEC);
    ask(world, &b, "a.test");
    iterate(world);
    assert_int_equal(a.answers, 1);
    assert_int_equal(b.count, 2);
}

/* The text of a family's failure was the old one's. */
static void test_one_family_has_failed(void **state)
{
    struct world *world = *state;
    struct asker a;
    char *error = strdup("lost");
    ask(world, &a, "a.test");
    resolver_query_fail_family(world->first.queries[0], AF_INET, error);
    resolver_set_backend(world->resolver, &world->second.base);
    free(error);
    resolver_query_fail_family(world->second.queries[0], AF_INET6, "lost again");
    assert_int_equal(a.answers, 0);
    resolver_query_answer_family(world->second.queries[0], AF_INET, NULL, 0, 0);
    assert_int_equal(a.answers, 1);
    assert_string_equal(a.error, "lost again");
}

static void test_new_one_refuses(void **state)
{
    struct world *world = *state;
    struct asker a, b, c, again;
    ask(world, &a, "a.test");
    ask(world, &b, "b.test");
    ask(world, &c, "c.test");
    world->second.refuses = true;
    resolver_set_backend(world->resolver, &world->second.base);
    assert_int_equal(a.answers + b.answers + c.answers, 0);
    resolver_cancel(world->resolver, &b.lookup);
    iterate(world);
    assert_int_equal(a.answers, 1);
    assert_string_equal(a.error, strerror(ENOMEM));
    assert_int_equal(b.answers, 0);
    assert_int_equal(c.answers, 1);
    world->second.refuses = false;
    ask(world, &again, "a.test");
    answer(world->second.queries[0], USEC_PER_SEC);
    iterate(world);
    assert_int_equal(a.answers, 1);
    assert_int_equal(again.count, 1);
}

static void test_third_one_comes_at_once(void **state)
{
    struct world *world = *state;
    struct asker a;
    ask(world, &a, "a.test");
    world->second.refuses = true;
    resolver_set_backend(world->resolver, &world->second.base);
    resolver_set_backend(world->resolver, &world->third.base);
    iterate(world);
    assert_int_equal(a.answers, 0);
    answer(world->third.queries[0], USEC_PER_SEC);
    assert_int_equal(a.answers, 1);
    assert_int_equal(a.count, 1);
}

/* The rest is teardown. */
static void test_freed_after_a_refusal(void **state)
{
    struct world *world = *state;
    struct asker a;
    ask(world, &a, "a.test");
    world->second.refuses = true;
    resolver_set_backend(world->resolver, &world->second.base);
    resolver_cancel(world->resolver, &a.lookup);
}

static void on_changed(struct name_watch *watch)
{
    (void)watch;
}

/* What the old one could not answer the new one is asked immediately. */
static void test_failures_are_tried_again(void **state)
{
    struct world *world = *state;
    struct asker a;
    struct name_watch watch = {.changed = on_changed};
    assert_int_equal(resolver_watch(world->resolver, &watch, "a.test"), 0);
    resolver_keep_fresh(&watch, true);
    ask(world, &a, "a.test");
    answer(world->first.queries[0], USEC_PER_SEC);
    loop_warp(world->loop, 2 * USEC_PER_SEC);
    iterate(world);
    assert_int_equal(world->first.started, 2);
    resolver_query_answer(world->first.queries[1], NULL, 0, "no server");
    iterate(world);
    assert_int_equal(world->first.started, 2);
    resolver_set_backend(world->resolver, &world->second.base);
    assert_int_equal(gauge_get(&resolver_stats(world->resolver)->failing), 1);
    loop_warp(world->loop, USEC_PER_MSEC);
    iterate(world);
    assert_int_equal(world->second.started, 1);
    answer(world->second.queries[0], 60 * USEC_PER_SEC);
    assert_int_equal(gauge_get(&resolver_stats(world->resolver)->failing), 0);
    resolver_unwatch(&watch);
}

int main(void)
{
#define MANUAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        MANUAL(test_queries_under_way_are_asked_again),
        MANUAL(test_kept_answers_stay),
        MANUAL(test_one_family_has_come),
        MANUAL(test_one_family_has_failed),
        MANUAL(test_new_one_refuses),
        MANUAL(test_third_one_comes_at_once),
        MANUAL(test_freed_after_a_refusal),
        MANUAL(test_failures_are_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
