/* SPDX-License-Identifier: ISC */
/* POOL 33 to 37: a connection's state, who gets which, and what is attached to it. */
#include <stdlib.h>

#include "support/pool_fixture.h"

static const struct pool_tag anna = {.identity = "anna", .variant = 0};
static const struct pool_tag anna_1 = {.identity = "anna", .variant = 1};
static const struct pool_tag anna_2 = {.identity = "anna", .variant = 2};
static const struct pool_tag bert = {.identity = "bert", .variant = 0};
static const struct pool_tag carl = {.identity = "carl", .variant = 1};
static const struct pool_tag nobody = {.variant = 0};
static const struct pool_tag nobody_1 = {.variant = 1};

static struct ask *ask_tagged(struct fixture *f, const struct peer *peer,
                              const struct pool_tag *tag)
{
    struct ask *tagged = ask_prepare(f, peer);
    tagged->allocation.tag = tag;
    ask_start(tagged);
    return tagged;
}

static struct ask *get_tagged(struct fixture *f, const struct pool_tag *tag,
                              enum from_cache from_cache)
{
    struct ask *tagged = ask_tagged(f, &f->a, tag);
    ask_wait(tagged);
    claim_ok(tagged, from_cache);
    return tagged;
}

/* This many connections to peer a, which become idle in this order, with these tags. */
static void make_idle(struct fixture *f, struct ask *asks[], const struct pool_tag *const tags[],
                      unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        asks[i] = ask_get(f, &f->a, FROM_NONE);
    for (unsigned i = 0; i < count; i++) {
        pool_set_tag(&asks[i]->allocation, tags[i]);
        ask_release(asks[i]);
    }
}
#define MAKE_IDLE(f, asks, ...)                                                                    \
    make_idle(f, asks, (const struct pool_tag *const[]){__VA_ARGS__}, ARRAY_LEN(asks))

static void claim_dials(const struct fixture *f, unsigned dials)
{
    struct pool_stats stats;
    pool_get_stats(f->pool, &stats);
    assert_int_equal(stats.dials, dials);
}

/* [33] */
static void newest_with_the_tag_is_first(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[4];
    fixture_pool(f, NULL);
    MAKE_IDLE(f, idle, &anna_1, &anna_1, &anna_2, &bert);
    claim_same(get_tagged(f, &anna_1, FROM_IMMEDIATE), idle[1]);
    claim_same(get_tagged(f, &anna_1, FROM_IMMEDIATE), idle[0]);
}

/* [33] */
static void newest_with_the_identity_is_next(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[4];
    fixture_pool(f, NULL);
    MAKE_IDLE(f, idle, &anna_1, &anna_2, &bert, &carl);
    claim_same(get_tagged(f, &anna, FROM_IMMEDIATE), idle[1]);
    claim_same(get_tagged(f, &anna, FROM_IMMEDIATE), idle[0]);
}

/* [33] No login is an identity like any other. */
static void no_login_is_an_identity(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[3];
    fixture_pool(f, NULL);
    MAKE_IDLE(f, idle, &nobody, &nobody_1, &anna);
    claim_same(get_tagged(f, &nobody, FROM_IMMEDIATE), idle[0]);
    claim_same(get_tagged(f, &nobody, FROM_IMMEDIATE), idle[1]);
    get_tagged(f, &nobody, FROM_NONE);
}

/* [33] A new one, without a login yet, before one that has to be prepared. */
static void new_one_where_there_is_room(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[3];
    fixture_pool(f, NULL);
    MAKE_IDLE(f, idle, &anna, &anna_1, &carl);
    struct ask *fourth = get_tagged(f, &bert, FROM_NONE);
    assert_memory_equal(pool_get_tag(&fourth->allocation), &nobody, sizeof(nobody));
    assert_false(fourth->allocation.reused);
    claim_stats(f, 1, 0, 3, 0);
    claim_dials(f, 4);
}

/* [33] A preconnected one is new: there is no need to dial. */
static void preconnected_is_a_new_one(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    struct ask *used = ask_get(f, &f->a, FROM_NONE);
    pool_set_tag(&used->allocation, &anna);
    assert_int_equal(pool_keep_preconnected(f->pool, &used->endpoint), 0);
    fixture_iterate(f);
    claim_stats(f, 1, 0, 1, 0);
    ask_release(used);
    struct ask *next = get_tagged(f, &bert, FROM_IMMEDIATE);
    assert_false(next->allocation.reused);
    claim_same(get_tagged(f, &anna, FROM_IMMEDIATE), used);
}

/* [33] At max_per_host: the one idle for longest, and nothing is closed for another one. */
static void longest_idle_at_a_full_host(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[3];
    fixture_pool(f, &(struct pool_limits){.max_per_host = 3});
    MAKE_IDLE(f, idle, &carl, &anna, &anna_1);
    struct ask *first = get_tagged(f, &bert, FROM_IMMEDIATE);
    claim_same(first, idle[0]);
    assert_memory_equal(pool_get_tag(&first->allocation), &carl, sizeof(carl));
    pool_set_tag(&first->allocation, &bert);
    claim_same(get_tagged(f, &bert, FROM_IMMEDIATE), idle[1]);
    ask_release(first);
    claim_same(get_tagged(f, &bert, FROM_IMMEDIATE), first);
    claim_dials(f, 3);
    claim_discards(f, DISCARD_EVICTED, 0);
}

/* [33, 34] At max_open: no other host's idle connection is evicted for it either. */
static void longest_idle_in_a_full_pool(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[2];
    fixture_pool(f, &(struct pool_limits){.max_open = 3});
    ask_release(ask_get(f, &f->b, FROM_NONE));
    MAKE_IDLE(f, idle, &anna, &carl);
    claim_same(get_tagged(f, &bert, FROM_IMMEDIATE), idle[0]);
    claim_dials(f, 3);
    claim_discards(f, DISCARD_EVICTED, 0);
}

/* [34] */
static void longest_idle_at_max_connecting(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[2];
    fixture_pool(f, &(struct pool_limits){.max_connecting = 1});
    MAKE_IDLE(f, idle, &anna, &carl);
    struct ask *first = ask_tagged(f, &f->a, &bert);
    claim_stats(f, 0, 1, 2, 0);
    struct ask *second = ask_tagged(f, &f->a, &bert);
    claim_stats(f, 1, 1, 1, 0);
    ask_wait(second);
    claim_ok(second, FROM_IMMEDIATE);
    claim_same(second, idle[0]);
    ask_wait(first);
    claim_ok(first, FROM_NONE);
}

/* [33, 15] It does not have to wait, so that max_waiting does not refuse it. */
static void full_queue_refuses_nobody_who_settles(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[1];
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_waiting = 1});
    MAKE_IDLE(f, idle, &anna);
    ask_get(f, &f->b, FROM_NONE);
    ask(f, &f->b);
    claim_stats(f, 1, 0, 1, 1);
    claim_same(get_tagged(f, &bert, FROM_IMMEDIATE), idle[0]);
}

/* [33] A stale one is followed by the next in the same order; a peek finds it, for there was no
 * event yet. */
static void stale_ones_are_passed_over(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[4];
    fixture_pool(f, &(struct pool_limits){.max_per_host = 4});
    MAKE_IDLE(f, idle, &carl, &anna, &bert, &anna_1);
    peer_conn_send(ask_far_end(idle[3], &f->a));
    claim_same(get_tagged(f, &anna_1, FROM_IMMEDIATE), idle[1]);
    claim_discards(f, DISCARD_UNREAD_DATA, 1);
    peer_conn_send(ask_far_end(idle[2], &f->a));
    get_tagged(f, &bert, FROM_NONE); /* there is room for a new one now */
    claim_discards(f, DISCARD_UNREAD_DATA, 2);
    claim_stats(f, 2, 0, 1, 0);
}

/* [33] That one, too: if it is stale, a place is free for a new one. */
static void stale_last_choice(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[2];
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2});
    MAKE_IDLE(f, idle, &carl, &anna);
    peer_conn_send(ask_far_end(idle[0], &f->a));
    get_tagged(f, &bert, FROM_NONE);
    claim_discards(f, DISCARD_UNREAD_DATA, 1);
    claim_same(get_tagged(f, &anna, FROM_IMMEDIATE), idle[1]);
}

/* [35] */
static void waiter_gets_what_is_ready_first(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *first = get_tagged(f, &anna, FROM_NONE);
    pool_set_tag(&first->allocation, &anna);
    struct ask *second = ask_tagged(f, &f->a, &bert);
    struct ask *third = ask_tagged(f, &f->a, &anna);
    assert_true(pool_has_waiters(&first->allocation));
    ask_release(first);
    ask_wait(second);
    claim_ok(second, FROM_DEFERRED);
    claim_same(second, first);
    claim_pending(third);
    ask_release(second);
    ask_wait(third);
    assert_false(pool_has_waiters(&third->allocation));
}

/* [35] One that is released while a new one is dialled, whatever its state. */
static void released_one_comes_before_the_dial(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[1];
    fixture_pool(f, NULL);
    MAKE_IDLE(f, idle, &anna);
    struct ask *busy = get_tagged(f, &anna, FROM_IMMEDIATE);
    struct ask *other = ask_get(f, &f->a, FROM_NONE);
    pool_set_tag(&other->allocation, &carl);
    ask_release(other);
    struct ask *waiter = ask_tagged(f, &f->a, &bert);
    claim_stats(f, 1, 1, 1, 0);
    ask_release(busy);
    ask_wait(waiter);
    claim_ok(waiter, FROM_DEFERRED);
    claim_same(waiter, busy);
}

/* [16] A request without a tag gets the newest one, whatever its state; and so does one that
 * requires an unused one. */
static void no_tag_takes_the_newest(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[3];
    fixture_pool(f, NULL);
    MAKE_IDLE(f, idle, &nobody, &anna, &carl);
    struct ask *fresh = ask_prepare(f, &f->a);
    fresh->allocation.tag = &anna;
    fresh->allocation.fresh = true;
    ask_start(fresh);
    claim_same(ask_get(f, &f->a, FROM_IMMEDIATE), idle[2]);
    claim_same(ask_get(f, &f->a, FROM_IMMEDIATE), idle[1]);
    ask_wait(fresh);
    claim_ok(fresh, FROM_NONE);
    assert_false(fresh->allocation.reused);
}

/* [36] */
static void identity_is_discarded(void **state)
{
    struct fixture *f = *state;
    struct ask *idle[4];
    fixture_pool(f, NULL);
    struct ask *elsewhere = ask_get(f, &f->b, FROM_NONE);
    pool_set_tag(&elsewhere->allocation, &anna);
    ask_release(elsewhere);
    MAKE_IDLE(f, idle, &anna, &bert, &anna_1, &anna_2);
    struct ask *busy = get_tagged(f, &anna_2, FROM_IMMEDIATE);
    pool_discard_tagged(busy->allocation.host, anna.identity, DISCARD_LOGIN_REFUSED);
    claim_discards(f, DISCARD_LOGIN_REFUSED, 2);
    assert_int_equal(ask_far_peek(idle[0], &f->a), PEER_EOF);
    assert_int_equal(ask_far_peek(idle[2], &f->a), PEER_EOF);
    claim_stats(f, 1, 0, 2, 0);
    claim_same(get_tagged(f, &bert, FROM_IMMEDIATE), idle[1]);
    assert_string_equal(pool_discard_name(DISCARD_LOGIN_REFUSED), "login_refused");
    assert_string_equal(pool_discard_name(DISCARD_UNKNOWN_STATE), "unknown_state");
}

/* What is attached records that it was freed. */
static void count_free(void *attached)
{
    ++*(unsigned *)attached;
}

/* [37] */
static void attached_goes_with_the_connection(void **state)
{
    struct fixture *f = *state;
    unsigned freed = 0, other = 0;
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    assert_null(pool_attached(&first->allocation));
    pool_attach(&first->allocation, &freed, count_free);
    ask_release(first);
    struct ask *second = ask_get(f, &f->a, FROM_IMMEDIATE);
    assert_ptr_equal(pool_attached(&second->allocation), &freed);
    assert_null(pool_attached(&ask_get(f, &f->a, FROM_NONE)->allocation));
    pool_attach(&second->allocation, &other, count_free);
    assert_int_equal(freed, 1);
    pool_attach(&second->allocation, NULL, NULL);
    assert_int_equal(other, 1);
    ask_discard(second, false);
    assert_int_equal(freed + other, 2);
}

/* [37] A connection that is no longer used, idle for too long, ended by the upstream, and left when
 * the pool ends. */
static void attached_is_freed_with_the_connection(void **state)
{
    struct fixture *f = *state;
    struct ask *asks[4];
    unsigned freed[4] = {0};
    struct pool *pool = fixture_pool(f, NULL);
    for (unsigned i = 0; i < 4; i++) {
        asks[i] = ask_get(f, &f->a, FROM_NONE);
        pool_attach(&asks[i]->allocation, &freed[i], count_free);
    }
    ask_discard(asks[0], true);
    assert_int_equal(freed[0], 1);
    ask_release(asks[1]);
    fixture_warp(f, POOL_KEEP_ALIVE);
    assert_int_equal(freed[1], 1);
    ask_release(asks[2]);
    peer_conn_close(ask_far_end(asks[2], &f->a));
    fixture_iterate(f);
    assert_int_equal(freed[2], 1);
    ask_release(asks[3]);
    assert_int_equal(freed[3], 0);
    pool_free(pool);
    f->pools[0] = NULL;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(freed[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(newest_with_the_tag_is_first),
        FIXTURE_TEST(newest_with_the_identity_is_next),
        FIXTURE_TEST(no_login_is_an_identity),
        FIXTURE_TEST(new_one_where_there_is_room),
        FIXTURE_TEST(preconnected_is_a_new_one),
        FIXTURE_TEST(longest_idle_at_a_full_host),
        FIXTURE_TEST(longest_idle_in_a_full_pool),
        FIXTURE_TEST(longest_idle_at_max_connecting),
        FIXTURE_TEST(full_queue_refuses_nobody_who_settles),
        FIXTURE_TEST(stale_ones_are_passed_over),
        FIXTURE_TEST(stale_last_choice),
        FIXTURE_TEST(waiter_gets_what_is_ready_first),
        FIXTURE_TEST(released_one_comes_before_the_dial),
        FIXTURE_TEST(no_tag_takes_the_newest),
        FIXTURE_TEST(identity_is_discarded),
        FIXTURE_TEST(attached_goes_with_the_connection),
        FIXTURE_TEST(attached_is_freed_with_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
