/* SPDX-License-Identifier: ISC */
/* What the resolver makes of a query whose two families arrive, fail or are lost independently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/resolver.h"
#include "support/skip.h"

#define SECOND USEC_PER_SEC
#define NAME   "name.test"
#define LOST   "Timeout while contacting DNS servers"

/* A back end whose one query is answered by the test itself. */
struct manual {
    struct resolver_backend base;
    struct query *query;
    unsigned started;
};

static int manual_start(struct resolver_backend *base, struct query *query, const char *name)
{
    struct manual *manual = container_of(base, struct manual, base);
    assert_string_equal(name, NAME);
    manual->query = query;
    manual->started++;
    return 0;
}

static void manual_stop(struct resolver_backend *base)
{
    (void)base;
}

struct world {
    struct loop *loop;
    struct manual manual;
    struct resolver *resolver;
    struct name_watch watch;
    unsigned changes; /* reported to the watch */
    char log[64];     /* the log's file */
};

static void on_changed(struct name_watch *watch)
{
    container_of(watch, struct world, watch)->changes++;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    snprintf(world->log, sizeof(world->log), "/tmp/kaproxy-test-XXXXXX");
    close(mkstemp(world->log));
    assert_int_equal(log_open(world->log, LOG_LEVEL_NOTICE), 0);
    world->loop = loop_new();
    world->manual.base.start = manual_start;
    world->manual.base.stop = manual_stop;
    world->resolver = resolver_new(world->loop, &world->manual.base);
    assert_non_null(world->resolver);
    world->watch.changed = on_changed;
    assert_int_equal(resolver_watch(world->resolver, &world->watch, NAME), 0);
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
    for (int i = 0; i < 4; i++)
        loop_iterate(world->loop, 0);
}

static void warp(struct world *world, usec_t by)
{
    loop_warp(world->loop, by);
    iterate(world);
}

/* An asker that records what it is given, as text. */
struct asker {
    struct lookup lookup;
    unsigned answers;
    bool partial;
    char text[512]; /* addresses, or the error */
};

static void append(struct asker *asker, const union address *address)
{
    const void *bytes = address->sa.sa_family == AF_INET6 ? (const void *)&address->in6.sin6_addr
                                                          : (const void *)&address->in.sin_addr;
    char text[INET6_ADDRSTRLEN];
    size_t length = strlen(asker->text);
    assert_non_null(inet_ntop(address->sa.sa_family, bytes, text, sizeof(text)));
    snprintf(asker->text + length, sizeof(asker->text) - length, "%s%s", length == 0 ? "" : " ",
             text);
}

static void on_done(struct lookup *lookup, const union address *addresses, size_t count,
                    const char *error)
{
    struct asker *asker = container_of(lookup, struct asker, lookup);
    asker->answers++;
    asker->partial = lookup->partial;
    asker->text[0] = '\0';
    assert_true((count == 0) == (error != NULL));
    for (size_t i = 0; i < count; i++)
        append(asker, &addresses[i]);
    if (error != NULL)
        snprintf(asker->text, sizeof(asker->text), "%s", error);
}

static void ask(struct world *world, struct asker *asker)
{
    asker->lookup.done = on_done;
    asker->answers = 0;
    assert_int_equal(resolver_lookup(world->resolver, &asker->lookup, NAME), 0);
    assert_int_equal(asker->answers, 0);
}

static void assert_waits(struct world *world, const struct asker *asker)
{
    iterate(world);
    assert_int_equal(asker->answers, 0);
}

static void assert_given(struct world *world, const struct asker *asker, const char *text)
{
    iterate(world);
    assert_int_equal(asker->answers, 1);
    assert_string_equal(asker->text, text);
}

/* Asks, and claims the immediate answer and the number of queries so far. */
static void assert_known(struct world *world, const char *text, unsigned queries)
{
    struct asker asker = {0};
    ask(world, &asker);
    assert_given(world, &asker, text);
    assert_int_equal(world->manual.started, queries);
}

/* Addresses separated by whitespace; none: the family has none. */
static void answer(struct world *world, sa_family_t family, const char *list)
{
    union address addresses[16];
    int count = address_parse_list(addresses, ARRAY_LEN(addresses), list, 0);
    assert_true(count >= 0);
    resolver_query_answer_family(world->manual.query, family, addresses, (size_t)count,
                                 10 * SECOND);
}

static void answer4(struct world *world, const char *list)
{
    answer(world, AF_INET, list);
}

static void answer6(struct world *world, const char *list)
{
    answer(world, AF_INET6, list);
}

static void lose(struct world *world, sa_family_t family)
{
    resolver_query_fail_family(world->manual.query, family, LOST);
}

static enum address_state find(const struct world *world, const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    *address_port(&address) = 80;
    return resolver_find_address(&world->watch, &address);
}

/* By RFC 6724 the loopback precedes ULA addresses, whether there is a route to these or not. */
#define IN4  "127.0.0.1"
#define IN4B "127.0.0.2"
#define IN6  "fd00:1::1"
#define IN6B "fd00:1::2"

/* The name has both families, and then its TTL expires. */
static void begin_with_both(struct world *world)
{
    struct asker asker = {0};
    ask(world, &asker);
    answer4(world, IN4);
    answer6(world, IN6);
    assert_given(world, &asker, IN4 " " IN6);
    warp(world, 11 * SECOND);
}

static void test_both_in_time(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    ask(world, &asker);
    answer6(world, IN6);
    assert_waits(world, &asker);
    warp(world, RESOLVER_DELAY - 10 * USEC_PER_MSEC);
    assert_int_equal(asker.answers, 0);
    answer4(world, IN4);
    assert_given(world, &asker, IN4 " " IN6);
    assert_false(asker.partial);
    warp(world, RESOLVER_DELAY);
    assert_known(world, IN4 " " IN6, 1);
}

/* RFC 8305 section 3, for whichever of the two is late. */
static void test_does_not_wait_for_the_late_family(void **state)
{
    struct world *world = *state;
    struct asker first = {0}, second = {0};
    ask(world, &first);
    answer4(world, IN4);
    assert_waits(world, &first);
    warp(world, RESOLVER_DELAY);
    assert_given(world, &first, IN4);
    assert_true(first.partial);
    ask(world, &second); /* nor does the next one */
    assert_given(world, &second, IN4);
    assert_true(second.partial);
    answer6(world, IN6); /* is kept */
    assert_known(world, IN4 " " IN6, 1);
    assert_int_equal(world->changes, 2);
}

static void test_does_not_wait_for_late_in4(void **state)
{
    struct world *world = *state;
    struct asker first = {0};
    ask(world, &first);
    answer6(world, IN6);
    warp(world, RESOLVER_DELAY);
    assert_given(world, &first, IN6);
    answer4(world, IN4);
    assert_known(world, IN4 " " IN6, 1);
}

static void test_one_family_alone(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    ask(world, &asker);
    answer6(world, "");
    assert_waits(world, &asker);
    warp(world, 5 * SECOND); /* there is nothing to go without */
    assert_int_equal(asker.answers, 0);
    answer4(world, IN4);
    assert_given(world, &asker, IN4);
    assert_false(asker.partial);
    assert_known(world, IN4, 1);
    warp(world, 11 * SECOND);
    assert_int_equal(world->manual.started, 1);
    ask(world, &asker);
    assert_int_equal(world->manual.started, 2);
    answer4(world, IN4B);
    answer6(world, "");
    assert_given(world, &asker, IN4B);
}

static void test_neither(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    ask(world, &asker);
    answer6(world, "");
    answer4(world, "");
    assert_given(world, &asker, "Host has no address.");
    ask(world, &asker);
    answer6(world, "");
    lose(world, AF_INET);
    assert_given(world, &asker, LOST);
    ask(world, &asker);
    lose(world, AF_INET6);
    resolver_query_fail_family(world->manual.query, AF_INET, "DNS server returned general failure");
    assert_given(world, &asker, "DNS server returned general failure");
    assert_int_equal(count_logged(world, NAME), 0); /* the askers count */
    ask(world, &asker);
    answer4(world, IN4);
    assert_waits(world, &asker); /* as the first time */
    answer6(world, IN6);
    assert_given(world, &asker, IN4 " " IN6);
}

/* A family that failed keeps what it had, for dials and for connections, and is retried. */
static void test_failed_family_keeps_its_addresses(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    begin_with_both(world);
    ask(world, &asker);
    answer4(world, IN4B);
    lose(world, AF_INET6);
    assert_given(world, &asker, IN4B " " IN6);
    assert_int_equal(find(world, IN6), ADDRESS_CURRENT);
    assert_int_equal(find(world, IN4), ADDRESS_MISSING);
    assert_int_equal(count_logged(world, "name=" NAME " lookup of IPv6 addresses failed: "
                                         "error=\"" LOST "\"; the last ones are used"),
                     1);
    assert_known(world, IN4B " " IN6, 2);
    warp(world, RESOLVER_RETRY);
    resolver_refresh(&world->watch);
    assert_int_equal(world->manual.started, 3);
    assert_known(world, IN4B " " IN6, 3); /* meanwhile */
    answer4(world, IN4B);
    answer6(world, IN6B);
    assert_known(world, IN4B " " IN6B, 3);
    assert_int_equal(count_logged(world, "name=" NAME " lookups work again"), 1);
}

static void test_failed_family_has_a_limit(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    begin_with_both(world);
    for (usec_t spent = 0; spent < RESOLVER_STALE_MAX; spent += 11 * SECOND) {
        ask(world, &asker);
        answer6(world, IN6);
        lose(world, AF_INET);
        assert_given(world, &asker, IN4 " " IN6);
        warp(world, 11 * SECOND);
    }
    ask(world, &asker);
    answer6(world, IN6);
    lose(world, AF_INET);
    assert_given(world, &asker, IN6);
    assert_int_equal(find(world, IN4), ADDRESS_CURRENT); /* no answer says that it is gone */
    assert_int_equal(count_logged(world, "lookup of IPv4 addresses failed"), 1);
}

/* The other one's answer is considered, but not for what failed: an empty family is believed only
 * if the other one has addresses. */
static void test_empty_beside_failed(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    begin_with_both(world);
    ask(world, &asker);
    answer4(world, "");
    lose(world, AF_INET6);
    assert_given(world, &asker, IN4 " " IN6);
    assert_int_equal(find(world, IN4), ADDRESS_CURRENT);
    assert_int_equal(count_logged(world, "name=" NAME " lookup failed"), 1);
    warp(world, RESOLVER_RETRY);
    ask(world, &asker);
    answer4(world, "");
    answer6(world, IN6);
    assert_given(world, &asker, IN6);
    assert_int_equal(find(world, IN4), ADDRESS_MISSING);
}

/* Once it is lost it is not waited for, neither 50 ms nor two seconds. */
static void test_lost_family_is_not_waited_for(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    ask(world, &asker);
    answer4(world, IN4);
    warp(world, RESOLVER_DELAY);
    assert_given(world, &asker, IN4);
    lose(world, AF_INET6);
    assert_int_equal(count_logged(world, "lookup of IPv6 addresses failed: error=\"" LOST
                                         "\"; it is used without them"),
                     1);
    warp(world, 11 * SECOND);
    ask(world, &asker);
    assert_waits(world, &asker);
    answer4(world, IN4B);
    assert_given(world, &asker, IN4B);
    answer6(world, IN6); /* and arrives again */
    warp(world, 11 * SECOND);
    ask(world, &asker);
    answer4(world, IN4);
    assert_waits(world, &asker);
    answer6(world, IN6);
    assert_given(world, &asker, IN4 " " IN6);
}

/* A TTL that is shorter than the wait for the lost family: no asker waits with it, and once the
 * query is over there is another one immediately, not after the pause that follows failures. */
static void test_short_ttl_beside_a_lost_family(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    union address address;
    assert_true(address_parse(&address, IN4));
    ask(world, &asker);
    resolver_query_answer_family(world->manual.query, AF_INET, &address, 1, SECOND);
    warp(world, RESOLVER_DELAY);
    assert_given(world, &asker, IN4);
    warp(world, 5 * SECOND);
    assert_known(world, IN4, 1);
    lose(world, AF_INET6);
    ask(world, &asker);
    assert_int_equal(world->manual.started, 2);
    assert_waits(world, &asker);
    answer4(world, IN4B);
    assert_given(world, &asker, IN4B);
}

/* Without any answer in time the old one serves, as a whole. */
static void test_wait_limit(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    begin_with_both(world);
    ask(world, &asker);
    answer6(world, "");
    warp(world, RESOLVER_WAIT_MAX);
    assert_given(world, &asker, IN4 " " IN6);
    assert_int_equal(count_logged(world, "error=\"no answer in time\""), 1);
    assert_known(world, IN4 " " IN6, 2);
    answer4(world, IN4B);
    assert_known(world, IN4B, 2);
}

/* One that arrives at the last moment ends it. */
static void test_wait_limit_that_is_not_reached(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    begin_with_both(world);
    ask(world, &asker);
    warp(world, RESOLVER_WAIT_MAX - RESOLVER_DELAY / 2);
    answer4(world, IN4B);
    warp(world, RESOLVER_DELAY / 2);
    assert_int_equal(asker.answers, 0);
    warp(world, RESOLVER_DELAY / 2);
    assert_given(world, &asker, IN4B " " IN6);
    assert_int_equal(count_logged(world, NAME), 0);
}

/* Those that need it are called when both families are known, and not before. */
static void test_both_families(void **state)
{
    struct world *world = *state;
    struct asker early = {0}, late = {.lookup.both_families = true},
                 cancelled = {.lookup.both_families = true};
    ask(world, &early);
    ask(world, &late);
    ask(world, &cancelled);
    answer4(world, IN4);
    warp(world, RESOLVER_DELAY);
    assert_given(world, &early, IN4);
    assert_waits(world, &late);
    warp(world, 5 * SECOND);
    assert_known(world, IN4, 1);
    assert_int_equal(late.answers, 0);
    resolver_cancel(world->resolver, &cancelled.lookup);
    answer6(world, IN6);
    assert_given(world, &late, IN4 " " IN6);
    assert_false(late.partial);
    ask(world, &late);
    assert_given(world, &late, IN4 " " IN6);
    assert_int_equal(cancelled.answers, 0);
    assert_int_equal(world->manual.started, 1);
}

static void test_both_families_without_the_other(void **state)
{
    struct world *world = *state;
    struct asker late = {.lookup.both_families = true};
    ask(world, &late);
    answer4(world, IN4);
    warp(world, 5 * SECOND);
    assert_int_equal(late.answers, 0);
    lose(world, AF_INET6);
    assert_given(world, &late, IN4);
    assert_int_equal(count_logged(world, NAME), 1);
    warp(world, 11 * SECOND);
    ask(world, &late);
    warp(world, RESOLVER_WAIT_MAX);
    assert_int_equal(late.answers, 0); /* it has all that it needs */
    assert_int_equal(count_logged(world, NAME), 1);
    resolver_query_answer(world->manual.query, NULL, 0, LOST);
    assert_given(world, &late, IN4);
}

/* RFC 6724 over both: a comparison of the first of each, whichever arrives first. */
static void test_order_of_families(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    ask(world, &asker);
    answer4(world, "127.0.0.2 127.0.0.1");
    answer6(world, "::1");
    iterate(world);
    if (strncmp(asker.text, "127", 3) == 0) /* it has no route */
        skip_because("::1 has no route");
    assert_given(world, &asker, "::1 127.0.0.2 127.0.0.1");
    warp(world, 11 * SECOND);
    ask(world, &asker);
    answer6(world, "fd00:1::2 fd00:1::1");
    answer4(world, "127.0.0.1");
    assert_given(world, &asker, "127.0.0.1 fd00:1::2 fd00:1::1");
}

/* An address of the family that fails is missing: its users are called, to ask for more. */
static void test_recheck_of_a_family_that_fails(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    union address missing;
    begin_with_both(world);
    assert_true(address_parse(&missing, IN6));
    ask(world, &asker);
    answer4(world, IN4);
    answer6(world, IN6B);
    resolver_recheck(&world->watch, &missing);
    warp(world, RESOLVER_RECHECK);
    for (unsigned queries = 3; queries < 6; queries++) {
        assert_int_equal(world->manual.started, queries);
        unsigned changes = world->changes;
        answer4(world, IN4);
        lose(world, AF_INET6);
        assert_int_equal(world->changes, changes + 1);
        resolver_recheck(&world->watch, &missing);
        warp(world, RESOLVER_RETRY);
    }
}

/* The other family's late answer does not remove the date, nor does a watch that has ended leave
 * one behind. */
static void test_recheck_while_the_other_is_awaited(void **state)
{
    struct world *world = *state;
    struct asker asker = {0};
    union address missing;
    begin_with_both(world);
    assert_true(address_parse(&missing, IN4));
    ask(world, &asker);
    answer4(world, IN4B);
    resolver_recheck(&world->watch, &missing);
    warp(world, 7 * SECOND);
    lose(world, AF_INET6);
    resolver_recheck(&world->watch, &missing);
    warp(world, RESOLVER_RECHECK - 7 * SECOND);
    assert_int_equal(world->manual.started, 3);
    answer4(world, IN4B);
    answer6(world, IN6);
    resolver_recheck(&world->watch, &missing);
    resolver_unwatch(&world->watch);
    warp(world, 100 * SECOND);
    assert_int_equal(world->manual.started, 3);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_both_in_time),
        TEST(test_does_not_wait_for_the_late_family),
        TEST(test_does_not_wait_for_late_in4),
        TEST(test_one_family_alone),
        TEST(test_neither),
        TEST(test_failed_family_keeps_its_addresses),
        TEST(test_failed_family_has_a_limit),
        TEST(test_empty_beside_failed),
        TEST(test_lost_family_is_not_waited_for),
        TEST(test_short_ttl_beside_a_lost_family),
        TEST(test_wait_limit),
        TEST(test_wait_limit_that_is_not_reached),
        TEST(test_both_families),
        TEST(test_both_families_without_the_other),
        TEST(test_order_of_families),
        TEST(test_recheck_of_a_family_that_fails),
        TEST(test_recheck_while_the_other_is_awaited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
