/* SPDX-License-Identifier: ISC */
/* What another configuration changes in a pool with sockets: its limits, which hosts are retained
 * and wanted, and the pool's own end [48 to 54]; and what is reported of its numbers. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "support/pool_fixture.h"

static struct pool_host *host_of(struct fixture *f, const struct peer *peer)
{
    struct pool_host *host = pool_retain(f->pool, &ask_prepare(f, peer)->endpoint, NULL);
    assert_non_null(host);
    return host;
}

static unsigned count_hosts(const struct fixture *f)
{
    unsigned n = 0;
    for (const struct pool_host *host = NULL; (host = pool_next_host(f->pool, host)) != NULL;)
        n++;
    return n;
}

/* [48] */
static void raised_limit(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    ask_get(f, &f->a, FROM_NONE);
    struct ask *waiting = ask(f, &f->a);
    fixture_iterate(f);
    claim_pending(waiting);
    pool_set_limits(f->pool, &(struct pool_limits){.max_per_host = 2});
    ask_wait(waiting);
    claim_ok(waiting, FROM_NONE);
    assert_int_equal(pool_get_limits(f->pool)->max_per_host, 2);
    assert_int_equal(gauge_get(&pool_limits_stats(f->pool)->limits[0]), 2);
}

/* [50] The timer is moved ahead. */
static void lower_keep_alive(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.keep_alive = 60 * USEC_PER_SEC});
    ask_release(ask_get(f, &f->a, FROM_NONE));
    pool_set_limits(f->pool, &(struct pool_limits){.keep_alive = 5 * USEC_PER_SEC});
    fixture_warp(f, 4 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_discards(f, DISCARD_KEEP_ALIVE, 1);
}

/* [52] And the text reports that time. */
static void waiter_keeps_its_time(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .timeout = 3 * USEC_PER_SEC});
    ask_get(f, &f->a, FROM_NONE);
    struct ask *waiting = ask(f, &f->a);
    pool_set_limits(f->pool,
                    &(struct pool_limits){.max_per_host = 1, .timeout = 60 * USEC_PER_SEC});
    fixture_warp(f, 3 * USEC_PER_SEC);
    claim_failed(waiting, "queue", ETIMEDOUT);
    assert_string_equal(waiting->failure.text,
                        "no connection became free within 3 s (max_per_host = 1, 1 waiting)");
}

/* [52] Future dials have the new limits. */
static void new_dials_have_new_limits(void **state)
{
    struct fixture *f = *state;
    struct pool_limits limits = {.connect_timeout = USEC_PER_SEC};
    fixture_pool(f, &(struct pool_limits){0});
    assert_true(address_parse(&limits.bind_address, "127.0.0.9"));
    struct ask *before = ask_get(f, &f->a, FROM_NONE);
    pool_set_limits(f->pool, &limits);
    assert_int_not_equal(ntohl(before->local.sin_addr.s_addr), 0x7f000009);
    ask_release(before);
    claim_discards(f, DISCARD_RECONNECT, 1);
    assert_int_equal(ntohl(ask_get(f, &f->a, FROM_NONE)->local.sin_addr.s_addr), 0x7f000009);
    struct ask *slow = ask(f, fixture_blackhole(f));
    fixture_iterate(f);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(slow, "connect", ETIMEDOUT);
}

/* A host stays as long as it is retained, as many times as that was done. */
static void retained_by_count(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct pool_host *a = host_of(f, &f->a);
    assert_ptr_equal(host_of(f, &f->a), a);
    pool_unretain(a);
    fixture_iterate(f);
    assert_int_equal(count_hosts(f), 1);
    struct ask *leased = ask_get(f, &f->a, FROM_NONE);
    pool_unretain(a);
    fixture_iterate(f);
    assert_int_equal(count_hosts(f), 1);
    ask_discard(leased, false);
    fixture_iterate(f);
    assert_int_equal(count_hosts(f), 0);
}

/* The host's dials continue with a TLS client that has no other user. */
static void tls_client_stays(void **state)
{
    struct fixture *f = *state;
    const struct tls_options options = {.server_name = "127.0.0.1",
                                        .ca_file = "",
                                        .cert_file = "",
                                        .key_file = "",
                                        .min_version = "1.2"};
    struct tls_mistake mistake;
    struct tls_client *client = tls_client_new(&options, &mistake);
    assert_non_null(client);
    fixture_pool(f, NULL);
    struct pool_host *a = pool_retain(f->pool, &ask_prepare(f, &f->a)->endpoint, client);
    assert_ptr_equal(pool_retain(f->pool, &ask_prepare(f, &f->a)->endpoint, NULL), a);
    tls_client_unref(client);
    struct ask *waiting = ask(f, &f->a);
    fixture_iterate(f);
    claim_stats(f, 0, 1, 0, 0); /* in its handshake */
    pool_unretain(a);
    pool_unretain(a);
    peer_accept(&f->a);
    peer_conn_close(TAILQ_FIRST(&f->a.conns));
    ask_wait(waiting);
    claim_failed(waiting, "tls", 0);
    fixture_iterate(f);
    assert_int_equal(count_hosts(f), 0);
}

/* [53] */
static void unwanted_host(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct pool_host *a = host_of(f, &f->a);
    struct ask *leased = ask_get(f, &f->a, FROM_NONE);
    ask_release(ask_get(f, &f->a, FROM_NONE));
    pool_set_wanted(a, false);
    claim_discards(f, DISCARD_RELOAD, 1);
    ask_release(leased);
    claim_discards(f, DISCARD_RELOAD, 2);
    ask_get(f, &f->a, FROM_NONE);
}

static unsigned gone;

static void on_gone(struct pool *pool, void *arg)
{
    struct fixture *f = arg;
    assert_ptr_equal(pool, f->pools[1]);
    pool_free(pool);
    f->pools[1] = NULL;
    gone++;
}

/* [54] It is freed with its last host, which is freed with its last lease. */
static void retired_pool_goes(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct pool *second = fixture_pool(f, NULL);
    struct ask *asked = ask_prepare(f, &f->a);
    asked->pool = second;
    ask_start(asked);
    ask_wait(asked);
    gone = 0;
    pool_retire(second, on_gone, f);
    fixture_iterate(f);
    assert_int_equal(gone, 0);
    ask_release(asked);
    assert_int_equal(gone, 0);
    fixture_iterate(f);
    assert_int_equal(gone, 1);
}

/* [54] The pool may be freed from inside. */
static void retired_pool(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct pool *second = fixture_pool(f, NULL);
    struct ask *asked = ask_prepare(f, &f->a);
    struct pool_host *a = pool_retain(second, &asked->endpoint, NULL);
    asked->pool = second;
    ask_start(asked);
    ask_wait(asked);
    gone = 0;
    pool_retire(second, on_gone, f);
    pool_unretain(a);
    fixture_iterate(f);
    assert_int_equal(gone, 0);
    pool_revive(second);
    ask_discard(asked, false);
    fixture_iterate(f);
    assert_int_equal(gone, 0);
    pool_retire(second, on_gone, f); /* it has no hosts now */
    assert_int_equal(gone, 0);
    fixture_iterate(f);
    assert_int_equal(gone, 1);
    assert_null(f->pools[1]);
}

static void name_is_copied(void **state)
{
    struct fixture *f = *state;
    char name[] = "first";
    fixture_pool(f, NULL);
    pool_set_name(f->pool, name);
    name[0] = '\0';
    assert_string_equal(pool_get_name(f->pool), "first");
}

static unsigned changes;

static void on_change(struct pool *pool, void *arg)
{
    assert_ptr_equal(pool, ((struct fixture *)arg)->pool);
    changes++;
}

static bool has_changed(void)
{
    bool has = changes > 0;
    changes = 0;
    return has;
}

static void changes_are_told(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_tunnels = 1});
    pool_on_change(f->pool, on_change, f);
    changes = 0;
    struct pool_host *a = host_of(f, &f->a);
    assert_true(has_changed());
    struct ask *leased = ask_get(f, &f->a, FROM_NONE);
    assert_true(has_changed());
    assert_true(pool_reserve_hold(&leased->allocation));
    assert_true(has_changed());
    pool_hold(&leased->allocation);
    assert_true(has_changed());
    assert_true(pool_unhold(&leased->allocation));
    assert_true(has_changed());
    pool_set_places(a, 1);
    assert_true(has_changed());
    ask(f, &f->a);
    assert_true(has_changed());
    struct pool_places places;
    pool_view_places(a, &places);
    assert_int_equal(places.open, 1);
    assert_int_equal(places.queued, 1);
    assert_int_equal(places.held, 0);
    pool_on_change(f->pool, NULL, NULL);
    ask_discard(leased, false);
    assert_false(has_changed());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(raised_limit),          FIXTURE_TEST(lower_keep_alive),
        FIXTURE_TEST(waiter_keeps_its_time), FIXTURE_TEST(new_dials_have_new_limits),
        FIXTURE_TEST(tls_client_stays),      FIXTURE_TEST(retained_by_count),
        FIXTURE_TEST(unwanted_host),         FIXTURE_TEST(retired_pool_goes),
        FIXTURE_TEST(retired_pool),          FIXTURE_TEST(name_is_copied),
        FIXTURE_TEST(changes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
