/* SPDX-License-Identifier: ISC */
/* Lookups: shared queries, cancelling, calls from inside a callback. */
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

#include "net/resolver.h"

/* A back end whose queries are answered by the test itself. */
struct manual {
    struct resolver_backend base;
    struct query *queries[2048]; /* in the order they were started */
    size_t started;
    unsigned stopped;
    int refuse_with; /* errno for start; 0: none */
};

static int manual_start(struct resolver_backend *base, struct query *query, const char *name)
{
    struct manual *manual = container_of(base, struct manual, base);
    assert_non_null(name);
    if (manual->refuse_with != 0) {
        errno = manual->refuse_with;
        return -1;
    }
    assert_true(manual->started < ARRAY_LEN(manual->queries));
    manual->queries[manual->started++] = query;
    return 0;
}

static void manual_stop(struct resolver_backend *base)
{
    container_of(base, struct manual, base)->stopped++;
}

struct world {
    struct loop *loop;
    struct manual manual;
    struct resolver *resolver;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->loop = loop_new();
    world->manual.base.start = manual_start;
    world->manual.base.stop = manual_stop;
    world->resolver = resolver_new(world->loop, &world->manual.base);
    *state = world;
    return world->loop != NULL && world->resolver != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct world *world = *state;
    resolver_free(world->resolver);
    assert_int_equal(world->manual.stopped, 1);
    loop_free(world->loop);
    free(world);
    return 0;
}

/* An asker that records what it is given, and may do something at that moment. */
struct asker {
    struct lookup lookup;
    struct world *world;
    unsigned answers;
    size_t count;
    union address addresses[8];
    char error[80];
    struct asker *cancel; /* withdraw this one's lookup */
    const char *ask;      /* ask again for this name */
    bool end;             /* free this asker */
};

static void on_done(struct lookup *lookup, const union address *addresses, size_t count,
                    const char *error)
{
    struct asker *asker = container_of(lookup, struct asker, lookup);
    assert_null(lookup->name);
    asker->answers++;
    asker->count = count;
    assert_true(count <= ARRAY_LEN(asker->addresses));
    assert_true((count == 0) == (error != NULL));
    if (count > 0)
        memcpy(asker->addresses, addresses, count * sizeof(*addresses));
    snprintf(asker->error, sizeof(asker->error), "%s", error == NULL ? "" : error);
    if (asker->cancel != NULL)
        resolver_cancel(asker->world->resolver, &asker->cancel->lookup);
    const char *ask = asker->ask;
    asker->ask = NULL;
    if (ask != NULL)
        assert_int_equal(resolver_lookup(asker->world->resolver, lookup, ask), 0);
    if (asker->end)
        free(asker);
}

static void ask(struct world *world, struct asker *asker, const char *name)
{
    asker->lookup.done = on_done;
    asker->world = world;
    assert_int_equal(resolver_lookup(world->resolver, &asker->lookup, name), 0);
    assert_int_equal(asker->answers, 0);
}

static union address numeric(const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    return address;
}

static void answer(struct world *world, size_t index, const char *text)
{
    union address address = numeric(text);
    resolver_query_answer(world->manual.queries[index], &address, 1, NULL);
}

static void assert_answered(const struct asker *asker, const char *text)
{
    char got[INET6_ADDRSTRLEN] = "";
    assert_int_equal(asker->answers, 1);
    assert_int_equal(asker->count, 1);
    const union address *address = &asker->addresses[0];
    const void *bytes = address->sa.sa_family == AF_INET6 ? (const void *)&address->in6.sin6_addr
                                                          : (const void *)&address->in.sin_addr;
    assert_non_null(inet_ntop(address->sa.sa_family, bytes, got, sizeof(got)));
    assert_string_equal(got, text);
}

/* POOL 22: one query for all that ask for a name at the same time. */
static void test_shares_a_query(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0}, other = {0};
    ask(world, &a, "name.test");
    ask(world, &b, "name.test");
    ask(world, &other, "other.test");
    assert_int_equal(world->manual.started, 2);
    answer(world, 0, "192.0.2.1");
    assert_answered(&a, "192.0.2.1");
    assert_answered(&b, "192.0.2.1");
    assert_int_equal(other.answers, 0);
    answer(world, 1, "2001:db8::1");
    assert_answered(&other, "2001:db8::1");
}

static void test_keeps_no_answer(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0};
    ask(world, &a, "name.test");
    answer(world, 0, "192.0.2.1");
    ask(world, &b, "name.test");
    assert_int_equal(world->manual.started, 2);
    answer(world, 1, "192.0.2.2");
    assert_answered(&b, "192.0.2.2");
}

/* POOL 22: a lookup that one asker abandons is not lost to the others. */
static void test_cancels_one_asker_alone(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0};
    ask(world, &a, "name.test");
    ask(world, &b, "name.test");
    resolver_cancel(world->resolver, &a.lookup);
    resolver_cancel(world->resolver, &a.lookup); /* harmless */
    answer(world, 0, "192.0.2.1");
    assert_int_equal(a.answers, 0);
    assert_answered(&b, "192.0.2.1");
}

static void test_joins_an_abandoned_query(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0};
    ask(world, &a, "name.test");
    resolver_cancel(world->resolver, &a.lookup);
    ask(world, &b, "name.test");
    assert_int_equal(world->manual.started, 1);
    answer(world, 0, "192.0.2.1");
    assert_int_equal(a.answers, 0);
    assert_answered(&b, "192.0.2.1");
}

static void test_answer_without_askers(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "name.test");
    resolver_cancel(world->resolver, &a.lookup);
    answer(world, 0, "192.0.2.1");
    ask(world, &a, "name.test");
    assert_int_equal(world->manual.started, 2);
    answer(world, 1, "192.0.2.2");
    assert_answered(&a, "192.0.2.2");
}

static void test_callback_cancels_a_sibling(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0}, c = {0};
    a.cancel = &b;
    ask(world, &a, "name.test");
    ask(world, &b, "name.test");
    ask(world, &c, "name.test");
    answer(world, 0, "192.0.2.1");
    assert_answered(&a, "192.0.2.1");
    assert_int_equal(b.answers, 0);
    assert_answered(&c, "192.0.2.1");
}

/* An asker that asks again from inside the callback gets a new query, not the old answer
 * forever. */
static void test_callback_asks_again(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0};
    a.ask = "name.test";
    ask(world, &a, "name.test");
    ask(world, &b, "name.test");
    answer(world, 0, "192.0.2.1");
    assert_int_equal(a.answers, 1);
    assert_answered(&b, "192.0.2.1");
    assert_int_equal(world->manual.started, 2);
    answer(world, 1, "192.0.2.2");
    assert_int_equal(a.answers, 2);
}

static void test_callback_frees_its_asker(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 3; i++) {
        struct asker *asker = calloc(1, sizeof(*asker));
        asker->end = true;
        ask(world, asker, "name.test");
    }
    answer(world, 0, "192.0.2.1");
}

/* POOL 23. */
static void test_no_address(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    ask(world, &a, "name.test");
    resolver_query_answer(world->manual.queries[0], NULL, 0, NULL);
    assert_int_equal(a.answers, 1);
    assert_int_equal(a.count, 0);
    assert_string_equal(a.error, "Host has no address.");
}

static void test_error(void **state)
{
    struct world *world = *state;
    struct asker a = {0};
    union address address = numeric("192.0.2.1");
    ask(world, &a, "name.test");
    resolver_query_answer(world->manual.queries[0], &address, 1, "Domain name not found");
    assert_int_equal(a.answers, 1);
    assert_int_equal(a.count, 0);
    assert_string_equal(a.error, "Domain name not found");
}

/* A query that could not be started is not left behind for others to wait on. */
static void test_backend_cannot_start(void **state)
{
    struct world *world = *state;
    struct asker a = {.lookup.done = on_done};
    world->manual.refuse_with = ENOMEM;
    assert_int_equal(resolver_lookup(world->resolver, &a.lookup, "name.test"), -1);
    assert_int_equal(errno, ENOMEM);
    resolver_cancel(world->resolver, &a.lookup);
    world->manual.refuse_with = 0;
    ask(world, &a, "name.test");
    assert_int_equal(world->manual.started, 1);
    answer(world, 0, "192.0.2.1");
    assert_answered(&a, "192.0.2.1");
}

/* The rest of this one is teardown, under the leak checker. */
static void test_freed_with_queries_under_way(void **state)
{
    struct world *world = *state;
    struct asker a = {0}, b = {0};
    ask(world, &a, "a.test");
    ask(world, &b, "b.test");
    resolver_cancel(world->resolver, &a.lookup);
    resolver_cancel(world->resolver, &b.lookup);
    assert_int_equal(world->manual.stopped, 0);
}

static void test_many_names(void **state)
{
    struct world *world = *state;
    enum { NAMES = 1000 };
    struct asker *askers = calloc(2 * NAMES, sizeof(*askers));
    char name[32];
    for (unsigned i = 0; i < 2 * NAMES; i++) {
        snprintf(name, sizeof(name), "host-%u.test", i * 7 % NAMES);
        ask(world, &askers[i], name);
    }
    assert_int_equal(world->manual.started, NAMES);
    for (size_t i = NAMES; i > 0; i--)
        answer(world, i - 1, "192.0.2.1");
    for (unsigned i = 0; i < 2 * NAMES; i++)
        assert_answered(&askers[i], "192.0.2.1");
    free(askers);
}

static void test_free_null(void **state)
{
    (void)state;
    resolver_free(NULL);
}

int main(void)
{
#define MANUAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        MANUAL(test_shares_a_query),
        MANUAL(test_keeps_no_answer),
        MANUAL(test_cancels_one_asker_alone),
        MANUAL(test_joins_an_abandoned_query),
        MANUAL(test_answer_without_askers),
        MANUAL(test_callback_cancels_a_sibling),
        MANUAL(test_callback_asks_again),
        MANUAL(test_callback_frees_its_asker),
        MANUAL(test_no_address),
        MANUAL(test_error),
        MANUAL(test_backend_cannot_start),
        MANUAL(test_freed_with_queries_under_way),
        MANUAL(test_many_names),
        cmocka_unit_test(test_free_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
