/* SPDX-License-Identifier: ISC */
/* What the resolver keeps: answers for their TTL, old ones while a name cannot be looked up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/resolver.h"
#include "support/names.h"

#define SECOND USEC_PER_SEC
#define HOUR   (3600 * SECOND)
#define NAME   "name.test"

struct world {
    struct loop *loop;
    struct names *names;
    struct resolver *resolver;
    struct name_watch watch;
    unsigned changes; /* reported to the watch */
    char log[64];     /* the log's file */
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    snprintf(world->log, sizeof(world->log), "/tmp/kaproxy-test-XXXXXX");
    close(mkstemp(world->log));
    assert_int_equal(log_open(world->log, LOG_LEVEL_NOTICE), 0);
    world->loop = loop_new();
    world->names = names_new(world->loop);
    world->resolver = resolver_new(world->loop, names_backend(world->names));
    assert_non_null(world->resolver);
    names_set(world->names, NAME, "192.0.2.1,192.0.2.2", NULL, 0);
    names_set_ttl(world->names, NAME, 10 * SECOND);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    resolver_unwatch(&world->watch);
    resolver_free(world->resolver);
    loop_free(world->loop);
    assert_int_equal(log_open("stderr", LOG_LEVEL_NOTICE), 0);
    unlink(world->log);
    free(world);
    return 0;
}

/* How many lines of the log hold this text. */
static unsigned count_logged(const struct world *world, const char *text)
{
    char line[512];
    unsigned count = 0;
    FILE *file = fopen(world->log, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

static void iterate(struct world *world)
{
    for (int i = 0; i < 6; i++)
        loop_iterate(world->loop, 0);
}

static void warp(struct world *world, usec_t by)
{
    loop_warp(world->loop, by);
    iterate(world);
}

/* An asker that records the first address it is given, or the error, and may ask again. */
struct asker {
    struct lookup lookup;
    struct world *world;
    unsigned answers, again;
    size_t count;
    union address address;
    char error[80];
};

static void on_done(struct lookup *lookup, const union address *addresses, size_t count,
                    const char *error)
{
    struct asker *asker = container_of(lookup, struct asker, lookup);
    asker->answers++;
    asker->count = count;
    assert_true((count == 0) == (error != NULL));
    if (count > 0)
        asker->address = addresses[0];
    snprintf(asker->error, sizeof(asker->error), "%s", error == NULL ? "" : error);
    if (asker->again > 0) {
        asker->again--;
        assert_int_equal(resolver_lookup(asker->world->resolver, lookup, NAME), 0);
    }
}

static void ask_name(struct world *world, struct asker *asker, const char *name)
{
    asker->lookup.done = on_done;
    asker->world = world;
    assert_int_equal(resolver_lookup(world->resolver, &asker->lookup, name), 0);
    assert_int_equal(asker->answers, 0); /* never from inside the call */
}

static void ask(struct world *world, struct asker *asker)
{
    ask_name(world, asker, NAME);
}

static void assert_answered(const struct asker *asker, const char *text)
{
    union address expected;
    assert_true(address_parse(&expected, text));
    assert_int_equal(asker->answers, 1);
    assert_string_equal(asker->error, "");
    assert_int_equal(address_compare(&asker->address, &expected), 0);
}

/* Asks, and claims the immediate answer and the number of queries so far. */
static void assert_known(struct world *world, const char *text, unsigned queries)
{
    struct asker asker = {0};
    ask(world, &asker);
    iterate(world);
    assert_answered(&asker, text);
    assert_int_equal(names_count(world->names, NAME), queries);
}

static void test_kept_for_its_ttl(void **state)
{
    struct world *world = *state;
    assert_known(world, "192.0.2.1", 1);
    names_set(world->names, NAME, "192.0.2.3", NULL, 0);
    warp(world, 9 * SECOND);
    assert_known(world, "192.0.2.1", 1);
    warp(world, 2 * SECOND);
    assert_known(world, "192.0.2.3", 2);
}

static void test_ttl_has_bounds(void **state)
{
    struct world *world = *state;
    names_set_ttl(world->names, NAME, 1);
    assert_known(world, "192.0.2.1", 1);
    warp(world, SECOND * 9 / 10);
    assert_known(world, "192.0.2.1", 1);
    names_set_ttl(world->names, NAME, 24 * HOUR);
    warp(world, SECOND / 5);
    assert_known(world, "192.0.2.1", 2);
    warp(world, HOUR - SECOND);
    assert_known(world, "192.0.2.1", 2);
    warp(world, 2 * SECOND);
    assert_known(world, "192.0.2.1", 3);
}

static void test_without_ttl_not_kept(void **state)
{
    struct world *world = *state;
    names_set_ttl(world->names, NAME, 0);
    assert_known(world, "192.0.2.1", 1);
    assert_known(world, "192.0.2.1", 2);
    /* Nor does an older one outlive it. */
    names_set_ttl(world->names, NAME, SECOND);
    assert_known(world, "192.0.2.1", 3);
    names_set_ttl(world->names, NAME, 0);
    warp(world, 2 * SECOND);
    assert_known(world, "192.0.2.1", 4);
    assert_known(world, "192.0.2.1", 5);
}

static void test_failures_are_not_kept(void **state)
{
    struct world *world = *state;
    struct asker first = {0}, second = {0};
    names_set(world->names, NAME, NULL, "Domain name not found", 0);
    ask(world, &first);
    iterate(world);
    assert_string_equal(first.error, "Domain name not found");
    names_set(world->names, NAME, "", NULL, 0);
    ask(world, &second);
    iterate(world);
    assert_string_equal(second.error, "Host has no address.");
    assert_int_equal(names_count(world->names, NAME), 2);
    assert_int_equal(count_logged(world, NAME), 0); /* the askers count */
}

/* An asker inside an answer gets the kept one, but later: others are not kept waiting. */
static void test_asks_again_from_inside(void **state)
{
    struct world *world = *state;
    struct asker asker = {.again = 3};
    ask(world, &asker);
    iterate(world);
    iterate(world);
    assert_int_equal(asker.answers, 4);
    assert_int_equal(names_count(world->names, NAME), 1);
}

static void test_cancelled_before_the_kept_answer(void **state)
{
    struct world *world = *state;
    struct asker cancelled = {0}, other = {0};
    assert_known(world, "192.0.2.1", 1);
    ask(world, &cancelled);
    ask(world, &other);
    resolver_cancel(world->resolver, &cancelled.lookup);
    iterate(world);
    assert_int_equal(cancelled.answers, 0);
    assert_answered(&other, "192.0.2.1");
    ask(world, &cancelled);
    resolver_cancel(world->resolver, &cancelled.lookup);
    iterate(world);
    assert_int_equal(cancelled.answers, 0);
}

/* The last good answer serves, is reported once, and the failing lookups are not waited for. */
static void test_serves_the_old_answer(void **state)
{
    struct world *world = *state;
    assert_known(world, "192.0.2.1", 1);
    names_set(world->names, NAME, NULL, "DNS server returned general failure", 0);
    warp(world, 11 * SECOND);
    assert_known(world, "192.0.2.1", 2);
    assert_known(world, "192.0.2.1", 2); /* not looked up again so soon */
    assert_int_equal(count_logged(world, "name=" NAME " lookup failed: "
                                         "error=\"DNS server returned general failure\""),
                     1);
    warp(world, RESOLVER_RETRY);
    assert_known(world, "192.0.2.1", 3);
    warp(world, HOUR - 20 * SECOND);
    assert_known(world, "192.0.2.1", 4);
    assert_int_equal(count_logged(world, "lookup failed"), 1);

    warp(world, 30 * SECOND);
    struct asker late = {0};
    ask(world, &late);
    iterate(world);
    assert_string_equal(late.error, "DNS server returned general failure");
}

static void test_works_again(void **state)
{
    struct world *world = *state;
    assert_known(world, "192.0.2.1", 1);
    names_set(world->names, NAME, NULL, "Timeout", 0);
    warp(world, 11 * SECOND);
    assert_known(world, "192.0.2.1", 2);
    names_set(world->names, NAME, "192.0.2.9", NULL, 0);
    warp(world, RESOLVER_RETRY);
    struct asker bridge = {0};
    ask(world, &bridge); /* has the old answer immediately, while the name is looked up */
    iterate(world);
    assert_int_equal(bridge.answers, 1);
    assert_known(world, "192.0.2.9", 3);
    assert_int_equal(count_logged(world, "name=" NAME " lookups work again"), 1);
    /* The next outage is reported separately. */
    names_set(world->names, NAME, NULL, "Timeout", 0);
    warp(world, 11 * SECOND);
    assert_known(world, "192.0.2.9", 4);
    assert_int_equal(count_logged(world, "lookup failed"), 2);
}

/* DNS that does not answer at all does not use up the askers' time. */
static void test_does_not_wait_without_end(void **state)
{
    struct world *world = *state;
    assert_known(world, "192.0.2.1", 1);
    names_set(world->names, NAME, "192.0.2.9", NULL, 8 * SECOND);
    warp(world, 11 * SECOND);
    struct asker first = {0}, second = {0};
    ask(world, &first);
    warp(world, RESOLVER_WAIT_MAX - SECOND);
    assert_int_equal(first.answers, 0);
    warp(world, SECOND);
    assert_answered(&first, "192.0.2.1");
    assert_int_equal(count_logged(world, "error=\"no answer in time\""), 1);
    ask(world, &second); /* now immediately, and without a query besides the one in progress */
    iterate(world);
    assert_answered(&second, "192.0.2.1");
    warp(world, 6 * SECOND);
    assert_known(world, "192.0.2.9", 2);
    assert_int_equal(count_logged(world, "work again"), 1);
}

/* Without an old answer the only way is to wait. */
static void test_waits_for_the_first_answer(void **state)
{
    struct world *world = *state;
    struct asker first = {0};
    names_set(world->names, NAME, "192.0.2.9", NULL, 60 * SECOND);
    ask(world, &first);
    warp(world, 50 * SECOND);
    assert_int_equal(first.answers, 0);
    warp(world, 10 * SECOND);
    assert_answered(&first, "192.0.2.9");
}

static void on_changed(struct name_watch *watch)
{
    container_of(watch, struct world, watch)->changes++;
}

static void watch(struct world *world)
{
    world->watch.changed = on_changed;
    assert_int_equal(resolver_watch(world->resolver, &world->watch, NAME), 0);
}

static enum address_state find(const struct world *world, const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    *address_port(&address) = 80;
    return resolver_find_address(&world->watch, &address);
}

static void test_changes_are_reported_to_the_watch(void **state)
{
    struct world *world = *state;
    watch(world);
    iterate(world);
    assert_int_equal(names_count(world->names, NAME), 0);        /* a watch alone makes no query */
    assert_int_equal(find(world, "192.0.2.7"), ADDRESS_CURRENT); /* nothing is known */
    assert_known(world, "192.0.2.1", 1);
    assert_int_equal(world->changes, 1);
    assert_int_equal(find(world, "192.0.2.2"), ADDRESS_CURRENT);
    assert_int_equal(find(world, "192.0.2.7"), ADDRESS_GONE);

    names_set(world->names, NAME, "192.0.2.2,192.0.2.1", NULL, 0); /* another order */
    warp(world, 11 * SECOND);
    assert_known(world, "192.0.2.2", 2);
    assert_int_equal(world->changes, 1);
    names_set(world->names, NAME, NULL, "Timeout", 0); /* no answer is not a change */
    warp(world, 11 * SECOND);
    assert_known(world, "192.0.2.2", 3);
    assert_int_equal(world->changes, 1);
    names_set(world->names, NAME, "192.0.2.2,192.0.2.3", NULL, 0);
    warp(world, RESOLVER_RETRY);
    resolver_refresh(&world->watch);
    iterate(world);
    assert_int_equal(world->changes, 2);
    assert_int_equal(find(world, "192.0.2.1"), ADDRESS_MISSING);
    assert_int_equal(find(world, "192.0.2.3"), ADDRESS_CURRENT);
    for (unsigned i = 0; i < 3; i++) { /* the third answer without it, and long enough after */
        assert_int_equal(find(world, "192.0.2.1"), ADDRESS_MISSING);
        warp(world, 11 * SECOND);
        resolver_refresh(&world->watch);
        iterate(world);
        assert_int_equal(world->changes, 3 + i);
    }
    assert_int_equal(find(world, "192.0.2.1"), ADDRESS_GONE);
    warp(world, 11 * SECOND);
    resolver_refresh(&world->watch);
    iterate(world);
    assert_int_equal(world->changes, 5); /* that is not reported again */
}

static void test_refresh(void **state)
{
    struct world *world = *state;
    watch(world);
    resolver_refresh(&world->watch); /* nothing is known, so nothing is to be refreshed */
    iterate(world);
    assert_int_equal(names_count(world->names, NAME), 0);
    assert_known(world, "192.0.2.1", 1);
    resolver_refresh(&world->watch); /* still valid */
    iterate(world);
    assert_int_equal(names_count(world->names, NAME), 1);
    names_set(world->names, NAME, "192.0.2.1", NULL, SECOND);
    warp(world, 11 * SECOND);
    resolver_refresh(&world->watch);
    resolver_refresh(&world->watch); /* in progress */
    warp(world, SECOND);
    assert_int_equal(names_count(world->names, NAME), 2);
    assert_known(world, "192.0.2.1", 2);
    names_set(world->names, NAME, NULL, "Timeout", 0);
    warp(world, 11 * SECOND);
    resolver_refresh(&world->watch);
    iterate(world);
    resolver_refresh(&world->watch); /* has just failed */
    iterate(world);
    assert_int_equal(names_count(world->names, NAME), 3);
}

static void test_kept_fresh(void **state)
{
    struct world *world = *state;
    watch(world);
    resolver_keep_fresh(&world->watch, true);
    assert_known(world, "192.0.2.1", 1);
    warp(world, 11 * SECOND);
    assert_int_equal(names_count(world->names, NAME), 2);
    warp(world, 11 * SECOND);
    assert_int_equal(names_count(world->names, NAME), 3);
    names_set(world->names, NAME, NULL, "Timeout", 0);
    for (unsigned i = 0; i < 4; i++) {
        warp(world, i == 0 ? 11 * SECOND : RESOLVER_RETRY + 1);
        assert_int_equal(names_count(world->names, NAME), 4 + i);
    }
    names_set(world->names, NAME, "192.0.2.3", NULL, 0);
    warp(world, 2 * HOUR);
    assert_int_equal(world->changes, 2);
    assert_int_equal(names_count(world->names, NAME), 8);
    resolver_keep_fresh(&world->watch, false);
    warp(world, HOUR);
    assert_int_equal(names_count(world->names, NAME), 8);
}

/* Without an answer that may be given out it is looked up as rarely. */
static void test_kept_fresh_beyond_the_limit(void **state)
{
    struct world *world = *state;
    watch(world);
    resolver_keep_fresh(&world->watch, true);
    assert_known(world, "192.0.2.1", 1);
    names_set(world->names, NAME, NULL, "Timeout", 0);
    warp(world, 2 * HOUR);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(names_count(world->names, NAME), 2 + i);
        warp(world, RESOLVER_RETRY - SECOND);
        assert_int_equal(names_count(world->names, NAME), 2 + i);
        warp(world, SECOND);
    }
}

static void recheck(struct world *world, const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    resolver_recheck(&world->watch, &address);
}

/* An answer with a long TTL has lacked an address since now. */
static void begin_missing(struct world *world)
{
    watch(world);
    assert_known(world, "192.0.2.1", 1);
    names_set(world->names, NAME, "192.0.2.1", NULL, 0);
    names_set_ttl(world->names, NAME, 1000 * SECOND);
    warp(world, 11 * SECOND);
    resolver_refresh(&world->watch);
    iterate(world);
    assert_int_equal(find(world, "192.0.2.2"), ADDRESS_MISSING);
    assert_int_equal(world->changes, 2);
}

/* It is looked up after 10 seconds, and 20 seconds later, for those that need it. */
static void test_missing_address_is_asked_for(void **state)
{
    struct world *world = *state;
    begin_missing(world);
    recheck(world, "192.0.2.2");
    recheck(world, "192.0.2.2");
    warp(world, 9 * SECOND);
    assert_int_equal(names_count(world->names, NAME), 2);
    warp(world, SECOND);
    assert_int_equal(names_count(world->names, NAME), 3);
    assert_int_equal(world->changes, 3);
    recheck(world, "192.0.2.2");
    warp(world, 19 * SECOND);
    assert_int_equal(names_count(world->names, NAME), 3);
    assert_int_equal(find(world, "192.0.2.2"), ADDRESS_MISSING);
    warp(world, SECOND);
    assert_int_equal(names_count(world->names, NAME), 4);
    assert_int_equal(find(world, "192.0.2.2"), ADDRESS_GONE);
    assert_int_equal(world->changes, 4);
    recheck(world, "192.0.2.2");
    warp(world, 500 * SECOND);
    assert_int_equal(names_count(world->names, NAME), 4);
}

static void test_no_other_address_is_asked_for(void **state)
{
    struct world *world = *state;
    begin_missing(world);
    recheck(world, "192.0.2.1"); /* it is there */
    recheck(world, "192.0.2.7"); /* it never was */
    warp(world, 500 * SECOND);
    assert_int_equal(names_count(world->names, NAME), 2);
}

/* If that fails it is retried, as long as it is needed. */
static void test_recheck_that_fails(void **state)
{
    struct world *world = *state;
    begin_missing(world);
    names_set(world->names, NAME, NULL, "Timeout", 0);
    recheck(world, "192.0.2.2");
    warp(world, RESOLVER_RECHECK);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(names_count(world->names, NAME), 3 + i);
        assert_int_equal(world->changes, 3 + i);
        assert_int_equal(find(world, "192.0.2.2"), ADDRESS_MISSING);
        recheck(world, "192.0.2.2");
        warp(world, RESOLVER_RETRY);
    }
    warp(world, 100 * SECOND); /* it is not needed */
    assert_int_equal(names_count(world->names, NAME), 8);
}

/* A name that was forgotten while it had no users starts over. */
static void test_keeps_so_many_names(void **state)
{
    struct world *world = *state;
    char name[32];
    watch(world);
    assert_known(world, "192.0.2.1", 1);
    for (unsigned i = 0; i < RESOLVER_UNUSED_MAX + 1; i++) {
        struct asker asker = {0};
        snprintf(name, sizeof(name), "host-%u.test", i);
        names_set(world->names, name, "192.0.2.4", NULL, 0);
        names_set_ttl(world->names, name, 1000 * SECOND);
        ask_name(world, &asker, name);
        iterate(world);
        assert_answered(&asker, "192.0.2.4");
    }
    struct asker asker = {0};
    ask_name(world, &asker, "host-1.test");
    iterate(world);
    assert_answered(&asker, "192.0.2.4");
    assert_int_equal(names_count(world->names, "host-1.test"), 1);
    asker.answers = 0;
    ask_name(world, &asker, "host-0.test");
    iterate(world);
    assert_answered(&asker, "192.0.2.4");
    assert_int_equal(names_count(world->names, "host-0.test"), 2);
    assert_known(world, "192.0.2.1", 1); /* watched names are not counted */
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_kept_for_its_ttl),
        TEST(test_ttl_has_bounds),
        TEST(test_without_ttl_not_kept),
        TEST(test_failures_are_not_kept),
        TEST(test_asks_again_from_inside),
        TEST(test_cancelled_before_the_kept_answer),
        TEST(test_serves_the_old_answer),
        TEST(test_works_again),
        TEST(test_does_not_wait_without_end),
        TEST(test_waits_for_the_first_answer),
        TEST(test_changes_are_reported_to_the_watch),
        TEST(test_refresh),
        TEST(test_kept_fresh),
        TEST(test_kept_fresh_beyond_the_limit),
        TEST(test_missing_address_is_asked_for),
        TEST(test_no_other_address_is_asked_for),
        TEST(test_recheck_that_fails),
        TEST(test_keeps_so_many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
