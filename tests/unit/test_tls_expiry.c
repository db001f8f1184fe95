/* SPDX-License-Identifier: ISC */
/* Certificates that expire soon: which one of a chain decides, and that a day has one warning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/tls_fixture.h"
#include "tls/tls_internal.h"

#define DAY 86400

/* When to warn */

static void test_once_a_day(void **state)
{
    struct tls_expiry expiry = {.end = 100 * DAY};
    unsigned warnings = 0;
    (void)state;
    for (time_t now = 80 * DAY; now < 110 * DAY; now += 600) {
        expiry.seen = now;
        warnings += tls_expiry_is_due(&expiry, now);
        assert_int_equal(warnings > 0, now > 86 * DAY);
    }
    assert_int_equal(warnings, 24);
}

static void test_unknown_end(void **state)
{
    struct tls_expiry expiry = {.end = 0};
    (void)state;
    assert_false(tls_expiry_is_due(&expiry, time(NULL)));
}

/* An upstream that has not been seen since may have another certificate by now. */
static void test_not_seen_since_its_end(void **state)
{
    struct tls_expiry expiry = {.end = 100 * DAY, .seen = 99 * DAY};
    (void)state;
    assert_true(tls_expiry_is_due(&expiry, 99 * DAY + 1));
    assert_false(tls_expiry_is_due(&expiry, 101 * DAY));
    expiry.seen = 101 * DAY;
    assert_true(tls_expiry_is_due(&expiry, 101 * DAY));
}

static void test_days(void **state)
{
    struct tls_expiry expiry = {.end = 100 * DAY};
    (void)state;
    assert_int_equal(tls_expiry_days(&expiry, 95 * DAY), 5);
    assert_int_equal(tls_expiry_days(&expiry, 99 * DAY + 1), 0);
    assert_int_equal(tls_expiry_days(&expiry, 100 * DAY + 1), -1);
    assert_int_equal(tls_expiry_days(&expiry, 101 * DAY), -1);
    assert_int_equal(tls_expiry_days(&expiry, 101 * DAY + 1), -2);
}

/* What handshakes show */

struct watcher {
    struct tls_expiry_watch watch;
    unsigned seen, warned;
    struct tls_expiry last;
};

static void on_seen(struct tls_expiry_watch *watch, struct tls_client *client)
{
    struct watcher *watcher = container_of(watch, struct watcher, watch);
    const struct tls_expiry *expiry = tls_client_expiring(client, TLS_UPSTREAMS, time(NULL));
    watcher->seen++;
    if (expiry == NULL)
        return;
    watcher->warned++;
    watcher->last = *expiry;
}

static void watch(struct fixture *f, struct watcher *watcher)
{
    *watcher = (struct watcher){.watch.seen = on_seen};
    if (f->client == NULL)
        start(f);
    tls_client_watch_expiry(f->client, &watcher->watch);
}

static void show_until(struct fixture *f, const char *name, long days)
{
    show(f, &(struct identity_options){.name = name,
                                       .sans = "DNS:api.example.com",
                                       .from = -1,
                                       .to = days,
                                       .issuer = &world.ca});
}

/* Else a clock that was wrong once would silence the warnings until it is right again. */
static void test_clock_that_is_set_back(void **state)
{
    struct tls_expiry expiry = {.end = 1000 * DAY, .seen = 990 * DAY};
    (void)state;
    assert_true(tls_expiry_is_due(&expiry, 999 * DAY));
    assert_true(tls_expiry_is_due(&expiry, 990 * DAY));
    assert_false(tls_expiry_is_due(&expiry, 990 * DAY + 1));
}

static void test_handshakes_warn_once(void **state)
{
    struct fixture *f = *state;
    struct watcher watcher;
    show_until(f, "soon", 5);
    SSL_CTX_set_session_cache_mode(f->context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(f->context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(f->context, 0);
    watch(f, &watcher);
    for (int i = 0; i < 2; i++) {
        connect_ok(f);
        pair_clear(&f->pair);
    }
    assert_stats(f, 2, 0, 0);
    assert_int_equal(watcher.seen, 2);
    assert_int_equal(watcher.warned, 1);
    assert_string_equal(watcher.last.subject, "CN=soon");
    assert_in_range(tls_expiry_days(&watcher.last, time(NULL)), 4, 5);
    assert_non_null(tls_client_expiring(f->client, TLS_UPSTREAMS, time(NULL) + DAY));
    assert_null(tls_client_expiring(f->client, TLS_UPSTREAMS, time(NULL) + DAY));
}

static void test_far_end_is_silent(void **state)
{
    struct fixture *f = *state;
    struct watcher watcher;
    show_until(f, "far", 16);
    watch(f, &watcher);
    connect_ok(f);
    pair_clear(&f->pair);
    assert_int_equal(watcher.seen, 0);
    assert_null(tls_client_expiring(f->client, TLS_UPSTREAMS, time(NULL)));
    assert_non_null(tls_client_expiring(f->client, TLS_UPSTREAMS, time(NULL) + 3 * DAY));
}

/* An intermediate CA that expires first ends the chain. */
static void test_first_of_the_chain_counts(void **state)
{
    struct fixture *f = *state;
    struct watcher watcher;
    struct identity between, leaf;
    identity_make(&between,
                  &(struct identity_options){
                      .name = "Between", .ca = true, .from = -1, .to = 3, .issuer = &world.ca});
    identity_make(&leaf, &(struct identity_options){.name = "leaf",
                                                    .sans = "DNS:api.example.com",
                                                    .from = -1,
                                                    .to = 9,
                                                    .issuer = &between});
    f->context = tls_peer_context(&leaf, &between);
    watch(f, &watcher);
    connect_ok(f);
    pair_clear(&f->pair);
    assert_int_equal(watcher.warned, 1);
    assert_string_equal(watcher.last.subject, "CN=Between");
    identity_clear(&between);
    identity_clear(&leaf);
}

static void test_unverified_is_seen_too(void **state)
{
    struct fixture *f = *state;
    struct watcher watcher;
    f->options.verify = false;
    show(f, &(struct identity_options){.name = "gone", .from = -9, .to = -2});
    watch(f, &watcher);
    connect_ok(f);
    pair_clear(&f->pair);
    assert_int_equal(watcher.warned, 1);
    assert_string_equal(watcher.last.subject, "CN=gone");
    assert_true(tls_expiry_days(&watcher.last, time(NULL)) < 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tls_fixture_setup, tls_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_a_day),  cmocka_unit_test(test_clock_that_is_set_back),
        cmocka_unit_test(test_unknown_end), cmocka_unit_test(test_not_seen_since_its_end),
        cmocka_unit_test(test_days),        TEST(test_handshakes_warn_once),
        TEST(test_far_end_is_silent),       TEST(test_first_of_the_chain_counts),
        TEST(test_unverified_is_seen_too),
    };
    return cmocka_run_group_tests(tests, tls_make_world, tls_clear_world);
}
