/* SPDX-License-Identifier: ISC */
/* Random steps against two pools, real sockets, a simulated clock, and a model of what the pools
 * owe their users. The seed is the first argument or KAPROXY_SEED, else the clock's; it is printed.
 * It repeats the choices; the course depends on the real clock and the kernel as well.
 * KAPROXY_STEPS changes the number of steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/log.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "support/names.h"
#include "support/peer.h"
#include "support/sockets.h"

#define STEPS       120000
#define ROUND_STEPS 4000 /* then the pools end, and others with other limits begin */
#define POOLS       2
#define PEERS       4
#define SLOTS       48

/* The target of an allocation. `peer` is where connections arrive: one of the accepting peers, or
 * one of the two that never accept. */
enum { TO_REFUSING = PEERS, TO_BLACKHOLE };
static const struct {
    const char *scheme, *addr;
    int peer;
} hosts[] = {
    {"tcp", "127.0.0.1", 0},           {"tcp", "127.0.0.1", 1},
    {"tcp", "127.0.0.1", 2},           {"tcp", "127.0.0.1", 3},
    {"tcp+x", "127.0.0.1", 0},         {"tcp", "quick.test", 0},
    {"tcp", "slow.test", 1},           {"tcp", "bad.test", 2},
    {"tcp", "empty.test", 2},          {"tcp", "never.test", 2},
    {"tcp", "127.0.0.1", TO_REFUSING}, {"tcp", "127.0.0.1", TO_BLACKHOLE},
};
#define HOSTS ARRAY_LEN(hosts)

/* The pools bind to their own addresses, so that peers can tell whose connection they see. */
static const char *const bind_addresses[POOLS] = {"127.0.0.11", "127.0.0.12"};

/* One user of the pools. */
struct slot {
    enum { SLOT_FREE, SLOT_WAITING, SLOT_LEASED } state;
    int pool;
    size_t host;
    usec_t deadline;
    struct allocation allocation;
    enum { HOLDS_NOT, MAY_HOLD, HOLDS } hold; /* LEASED */
    struct pool_tag tag;
};

struct world {
    uint64_t random;
    unsigned long step;
    struct loop *loop;
    struct names *names;
    struct resolver *resolver;
    struct peer peers[PEERS + 2];
    struct endpoint endpoints[HOSTS];
    struct pool *pools[POOLS];
    struct pool_limits limits[POOLS];
    struct pool_limits most[POOLS]; /* the highest of this round: pool_check knows more */
    bool closing;                   /* no more allocations */
    bool operated;                  /* an operator pauses hosts, and the like */
    bool changing;                  /* limits change, and which hosts are wanted */
    struct slot slots[SLOTS];
    /* Of this round, by pool. */
    unsigned allocated[POOLS], succeeded[POOLS], failed[POOLS], cancelled[POOLS];
    struct pool_stats totals; /* since the start */
    unsigned attached;        /* what is attached to connections now */
};

static uint64_t seed;
static unsigned long steps = STEPS;

#define CLAIM(world, truth, ...)                                                                   \
    do {                                                                                           \
        if (!(truth)) {                                                                            \
            print_error("# seed %llu step %lu: ", (unsigned long long)seed, (world)->step);        \
            fail_msg(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* splitmix64 */
static uint64_t next_random(struct world *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static unsigned below(struct world *w, unsigned limit)
{
    return (unsigned)(next_random(w) % limit);
}

static bool percent(struct world *w, unsigned chance)
{
    return below(w, 100) < chance;
}

/* A random slot in a state, or NULL. */
static struct slot *pick_slot(struct world *w, int state)
{
    unsigned start = below(w, SLOTS);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &w->slots[(start + i) % SLOTS];
        if ((int)slot->state == state)
            return slot;
    }
    return NULL;
}

/* A random connection that a peer holds, or NULL. */
static struct peer_conn *pick_conn(struct world *w, struct peer **peer)
{
    *peer = &w->peers[below(w, PEERS)];
    struct peer_conn *conn, *chosen = NULL;
    unsigned seen = 0;
    TAILQ_FOREACH (conn, &(*peer)->conns, link) {
        if (below(w, ++seen) == 0)
            chosen = conn;
    }
    return chosen;
}

/* The users. */

static struct world *the_world; /* for answers */

static void user_release(struct world *w, struct slot *slot)
{
    (void)w;
    slot->state = SLOT_FREE;
    pool_release(&slot->allocation, RELEASE_PEEK);
}

static void user_discard(struct world *w, struct slot *slot)
{
    slot->state = SLOT_FREE;
    pool_discard(&slot->allocation, DISCARD_NOT_REUSABLE, percent(w, 50));
}

static void user_cancel(struct world *w, struct slot *slot)
{
    slot->state = SLOT_FREE;
    w->cancelled[slot->pool]++;
    pool_cancel(&slot->allocation);
}

static void check_lease(const struct world *w, const struct slot *slot)
{
    struct sockaddr_in far;
    socklen_t length = sizeof(far);
    const struct allocation *allocation = &slot->allocation;
    CLAIM(w, !allocation->fresh || !allocation->reused, "fresh, but used before");
    CLAIM(w, (allocation->from_cache == FROM_DEFERRED) <= allocation->reused,
          "deferred, but never used");
    for (const struct slot *other = w->slots; other < w->slots + SLOTS; other++) {
        CLAIM(w,
              other == slot || other->state != SLOT_LEASED ||
                  other->allocation.stream != allocation->stream,
              "one connection has two users");
        CLAIM(w,
              !pool_is_waiting(&other->allocation) || other->pool != slot->pool ||
                  other->host != slot->host ||
                  other->allocation.request.serial > allocation->request.serial ||
                  (other->allocation.fresh && allocation->reused) ||
                  /* It waits for a new one, while others are idle [33]. */
                  (other->allocation.tag != NULL && allocation->from_cache == FROM_IMMEDIATE),
              "an older waiter of the host was passed over");
    }
    /* Fails if the peer has reset it meanwhile. */
    if (getpeername(allocation->stream->fd, (struct sockaddr *)&far, &length) == 0)
        CLAIM(w, ntohs(far.sin_port) == w->endpoints[slot->host].port, "a wrong connection");
}

static struct pool_tag any_tag(struct world *w)
{
    return (struct pool_tag){.identity = {(unsigned char)below(w, 3)}, .variant = below(w, 2)};
}

static void user_allocate(struct world *w);

static void on_answered(struct allocation *allocation, const struct failure *failure)
{
    struct world *w = the_world;
    struct slot *slot = container_of(allocation, struct slot, allocation);
    CLAIM(w, slot->state == SLOT_WAITING, "an answer without a waiter");
    if (failure != NULL) {
        slot->state = SLOT_FREE;
        w->failed[slot->pool]++;
        CLAIM(w, failure->number != 0 || strcmp(failure->function, "resolve") == 0,
              "%s failed without a number", failure->function);
        CLAIM(w, failure->number != EAGAIN || w->most[slot->pool].max_waiting != 0,
              "refused without a limit");
        CLAIM(w, failure->number != EHOSTDOWN || w->most[slot->pool].fail_after != 0,
              "a host is down that cannot be");
    } else {
        slot->state = SLOT_LEASED;
        slot->hold = HOLDS_NOT;
        w->succeeded[slot->pool]++;
        check_lease(w, slot);
    }
    /* What users do from inside a grant. */
    if (slot->state == SLOT_LEASED && percent(w, 20))
        user_release(w, slot);
    else if (slot->state == SLOT_LEASED && percent(w, 5))
        user_discard(w, slot);
    if (percent(w, 20))
        user_allocate(w);
    struct slot *other;
    if (percent(w, 5) && (other = pick_slot(w, SLOT_WAITING)) != NULL)
        user_cancel(w, other);
}

static void user_allocate(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_FREE);
    if (slot == NULL || w->closing)
        return;
    slot->pool = (int)below(w, POOLS);
    /* Mostly hosts that work. */
    slot->host = percent(w, 75) ? below(w, 7) : below(w, HOSTS);
    usec_t timeout = 0;
    if (percent(w, 20))
        timeout = 1 + (usec_t)below(w, 3000) * USEC_PER_MSEC;
    else if (percent(w, 2))
        timeout = -1;
    slot->allocation = (struct allocation){.endpoint = &w->endpoints[slot->host],
                                           .timeout = timeout,
                                           .fresh = percent(w, 10),
                                           .on_connection = on_answered};
    slot->tag = any_tag(w);
    slot->allocation.tag = percent(w, 40) ? &slot->tag : NULL;
    slot->deadline = loop_now(w->loop) + (timeout != 0 ? timeout : w->limits[slot->pool].timeout);
    slot->state = SLOT_WAITING;
    w->allocated[slot->pool]++;
    CLAIM(w, pool_allocate(w->pools[slot->pool], &slot->allocation) == 0, "allocate: %s",
          strerror(errno));
    CLAIM(w, slot->state == SLOT_WAITING, "answered from inside allocate");
}

/* The steps. */

static void step_release(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot != NULL)
        user_release(w, slot);
}

static void step_discard(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot != NULL)
        user_discard(w, slot);
}

static void step_offer(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot != NULL && pool_release(&slot->allocation, RELEASE_IF_QUIET))
        slot->state = SLOT_FREE;
}

static void step_cancel(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_WAITING);
    if (slot != NULL)
        user_cancel(w, slot);
}

/* How many of max_tunnels a slot's host has taken. */
static unsigned count_tunnels(const struct world *w, const struct slot *of)
{
    unsigned n = 0;
    for (const struct slot *slot = w->slots; slot < w->slots + SLOTS; slot++)
        n += slot->state == SLOT_LEASED && slot->hold != HOLDS_NOT && slot->pool == of->pool &&
             slot->host == of->host;
    return n;
}

static void step_reserve(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot == NULL)
        return;
    bool free =
        slot->hold != HOLDS_NOT || count_tunnels(w, slot) < w->limits[slot->pool].max_tunnels;
    CLAIM(w, pool_reserve_hold(&slot->allocation) == free, "max_tunnels is miscounted");
    if (free && slot->hold == HOLDS_NOT)
        slot->hold = MAY_HOLD;
}

static void step_hold(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot == NULL || slot->hold == HOLDS_NOT)
        return;
    pool_hold(&slot->allocation);
    slot->hold = HOLDS;
}

static void step_unhold(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot == NULL)
        return;
    bool done = pool_unhold(&slot->allocation);
    CLAIM(w, done || slot->hold == HOLDS, "a connection that is not held need not move back");
    if (done)
        slot->hold = HOLDS_NOT;
}

/* [33, 37] */
static void step_set_tag(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot == NULL)
        return;
    const struct pool_tag tag = any_tag(w);
    pool_set_tag(&slot->allocation, &tag);
    CLAIM(w, memcmp(pool_get_tag(&slot->allocation), &tag, sizeof(tag)) == 0, "another tag");
}

static void free_attached(void *attached)
{
    the_world->attached--;
    free(attached);
}

static void step_attach(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    void *attached = malloc(1);
    if (slot == NULL || attached == NULL) {
        free(attached);
        return;
    }
    w->attached++;
    pool_attach(&slot->allocation, attached, free_attached);
    CLAIM(w, pool_attached(&slot->allocation) == attached, "something else is attached");
}

/* [36] */
static void step_discard_tagged(struct world *w)
{
    const struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot != NULL)
        pool_discard_tagged(slot->allocation.host, slot->tag.identity, DISCARD_LOGIN_REFUSED);
}

static void step_idle_hint(struct world *w)
{
    struct slot *slot = pick_slot(w, SLOT_LEASED);
    if (slot != NULL)
        pool_set_idle_hint(&slot->allocation, 1 + (usec_t)below(w, 4000) * USEC_PER_MSEC);
}

static void step_peer_closes(struct world *w)
{
    struct peer *peer;
    struct peer_conn *conn = pick_conn(w, &peer);
    if (conn != NULL)
        peer_conn_forget(peer, conn);
}

static void step_peer_resets(struct world *w)
{
    struct peer *peer;
    struct peer_conn *conn = pick_conn(w, &peer);
    if (conn == NULL)
        return;
    peer_conn_reset(conn);
    peer_conn_forget(peer, conn);
}

static void step_peer_sends(struct world *w)
{
    struct peer *peer;
    const struct peer_conn *conn = pick_conn(w, &peer);
    if (conn != NULL)
        peer_conn_send(conn);
}

static void step_time_passes(struct world *w)
{
    usec_t most = USEC_PER_MSEC << below(w, 13);
    loop_warp(w->loop, (usec_t)(next_random(w) % (uint64_t)most));
}

/* Names whose answers are kept: each resolves to one of two addresses, or fails. */
static void step_name_moves(struct world *w)
{
    const char *name = percent(w, 50) ? "quick.test" : "slow.test";
    const char *address = percent(w, 50) ? "127.0.0.1" : "127.0.0.2,127.0.0.3";
    usec_t delay = *name == 'q' ? 0 : 700 * USEC_PER_MSEC;
    names_set(w->names, name, address, percent(w, 20) ? "Timeout" : NULL, delay);
    names_set_ttl(w->names, name, (usec_t)below(w, 5) * USEC_PER_SEC);
}

/* Any host of a pool, or NULL: all of them. */
static struct pool_host *any_host(struct world *w, const struct pool *pool)
{
    struct pool_host *host = NULL;
    if (percent(w, 20))
        return NULL;
    for (unsigned i = below(w, HOSTS); i > 0; i--)
        host = pool_next_host(pool, host);
    return host;
}

/* Mostly the end of an earlier order. */
static void step_service(struct world *w)
{
    static const enum service services[] = {SERVICE_OPEN, SERVICE_OPEN,   SERVICE_OPEN,
                                            SERVICE_OPEN, SERVICE_PAUSED, SERVICE_DRAINING};
    struct pool *pool = w->pools[below(w, POOLS)];
    struct pool_host *host = any_host(w, pool);
    if (w->operated)
        pool_set_service(pool, host, services[below(w, ARRAY_LEN(services))]);
}

static void step_reconnect(struct world *w)
{
    struct pool *pool = w->pools[below(w, POOLS)];
    if (w->operated)
        pool_reconnect(pool, any_host(w, pool));
}

static struct pool_limits any_limits(struct world *w, int pool)
{
    struct pool_limits limits = {
        .max_per_host = 1 + below(w, 4),
        .max_open = 1 + below(w, 10),
        .keep_alive = (usec_t)(1 + below(w, 10)) * USEC_PER_SEC,
        .timeout = (usec_t)(1 + below(w, 10)) * USEC_PER_SEC,
    };
    if (percent(w, 50))
        limits.connect_timeout = (usec_t)(1 + below(w, 3)) * USEC_PER_SEC;
    if (percent(w, 50))
        limits.max_waiting = 1 + below(w, 20);
    if (percent(w, 30))
        limits.max_age = (usec_t)(1 + below(w, 20)) * USEC_PER_SEC;
    if (percent(w, 30))
        limits.max_connecting = 1 + below(w, 2);
    if (percent(w, 30))
        limits.max_uses = 1 + below(w, 5);
    if (percent(w, 60))
        limits.max_tunnels = 1 + below(w, 4);
    if (percent(w, 60))
        limits.min_idle = 1 + below(w, 3);
    if (percent(w, 50))
        limits.fail_after = 1 + below(w, 3);
    if (percent(w, 30))
        limits.connect_retries = 1 + below(w, 2);
    assert_true(address_parse(&limits.bind_address, bind_addresses[pool]));
    return limits;
}

static void raise(unsigned *most, unsigned value)
{
    if (*most < value)
        *most = value;
}

/* [48] */
static void step_limits(struct world *w)
{
    int i = (int)below(w, POOLS);
    struct pool_limits *most = &w->most[i], *limits = &w->limits[i];
    if (!w->changing)
        return;
    *limits = any_limits(w, i);
    raise(&most->max_per_host, limits->max_per_host);
    raise(&most->max_open, limits->max_open);
    raise(&most->max_tunnels, limits->max_tunnels);
    raise(&most->max_waiting, limits->max_waiting);
    raise(&most->fail_after, limits->fail_after);
    pool_set_limits(w->pools[i], limits);
}

/* [53, 54] */
static void step_wanted(struct world *w)
{
    struct pool *pool = w->pools[below(w, POOLS)];
    struct pool_host *host = any_host(w, pool);
    bool wanted = percent(w, 80);
    if (!w->changing)
        return;
    if (host != NULL)
        pool_set_wanted(host, wanted);
    else if (wanted)
        pool_revive(pool);
    else
        pool_retire(pool, NULL, NULL);
}

/* [55] */
static void step_places(struct world *w)
{
    struct pool *pool = w->pools[below(w, POOLS)];
    struct pool_host *host = any_host(w, pool);
    unsigned places = percent(w, 50) ? UINT_MAX : below(w, 4);
    if (w->changing && host != NULL)
        pool_set_places(host, places);
}

static void step_iterate(struct world *w)
{
    loop_iterate(w->loop, 0);
    for (const struct slot *slot = w->slots; slot < w->slots + SLOTS; slot++)
        CLAIM(w, !pool_is_waiting(&slot->allocation) || slot->deadline > loop_now(w->loop),
              "a waiter's time has expired, and it still waits");
}

static const struct {
    unsigned weight;
    void (*run)(struct world *world);
} kinds[] = {
    {30, user_allocate},  {18, step_release},       {6, step_discard},     {6, step_cancel},
    {4, step_offer},      {2, step_idle_hint},      {3, step_peer_closes}, {2, step_peer_resets},
    {2, step_peer_sends}, {8, step_time_passes},    {3, step_name_moves},  {30, step_iterate},
    {8, step_reserve},    {8, step_hold},           {3, step_unhold},      {8, step_set_tag},
    {3, step_attach},     {1, step_discard_tagged}, {1, step_service},     {1, step_reconnect},
    {1, step_limits},     {1, step_wanted},         {1, step_places},
};

static void take_step(struct world *w)
{
    unsigned total = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        total += kinds[i].weight;
    unsigned chosen = below(w, total);
    size_t i = 0;
    while (chosen >= kinds[i].weight)
        chosen -= kinds[i++].weight;
    kinds[i].run(w);
}

/* The model. */

/* What peers see: how many connections of each pool are open at each of them. A peer's record ends
 * when the client's end was closed. */
static void check_from_outside(struct world *w)
{
    unsigned open[POOLS] = {0};
    for (int p = 0; p < PEERS; p++) {
        struct peer *peer = &w->peers[p];
        unsigned here[POOLS] = {0}, hosts_here = 0;
        struct peer_conn *conn, *next;
        peer_accept(peer);
        for (conn = TAILQ_FIRST(&peer->conns); conn != NULL; conn = next) {
            next = TAILQ_NEXT(conn, link);
            enum peer_peek peek = peer_conn_peek(conn);
            if (peek == PEER_OPEN)
                here[(ntohl(conn->client.sin_addr.s_addr) & 0xff) - 11]++;
            else
                peer_conn_forget(peer, conn);
        }
        for (size_t h = 0; h < HOSTS; h++)
            hosts_here += hosts[h].peer == p;
        for (int i = 0; i < POOLS; i++) {
            open[i] += here[i];
            CLAIM(w, here[i] <= hosts_here * (w->most[i].max_per_host + w->most[i].max_tunnels),
                  "a peer sees more than max_per_host and max_tunnels");
        }
    }
    for (int i = 0; i < POOLS; i++)
        CLAIM(w, open[i] <= w->most[i].max_open, "peers see more than max_open");
}

static void check_pool(const struct world *w, int i)
{
    const struct pool_limits *limits = &w->most[i];
    struct pool_stats stats;
    unsigned waiting = 0, busy = 0, held = 0, leased[HOSTS] = {0}, tunnels[HOSTS] = {0};
    const char *wrong = pool_check(w->pools[i]);
    CLAIM(w, wrong == NULL, "pool_check: %s", wrong);
    for (const struct slot *slot = w->slots; slot < w->slots + SLOTS; slot++) {
        if (slot->state == SLOT_FREE || slot->pool != i)
            continue;
        bool holds = slot->state == SLOT_LEASED && slot->hold == HOLDS;
        waiting += pool_is_waiting(&slot->allocation);
        held += holds;
        tunnels[slot->host] += holds;
        busy += slot->allocation.request.conn != NULL && !holds;
        leased[slot->host] += slot->allocation.request.conn != NULL && !holds;
    }
    pool_get_stats(w->pools[i], &stats);
    CLAIM(w, stats.waiting == waiting, "%u wait, the pool says %u", waiting, stats.waiting);
    CLAIM(w, stats.busy == busy, "%u are leased, the pool says %u", busy, stats.busy);
    CLAIM(w, stats.held == held, "%u are held, the pool says %u", held, stats.held);
    CLAIM(w, stats.queued <= stats.waiting, "more are queued than wait");
    CLAIM(w, stats.busy + stats.held + stats.connecting + stats.idle <= limits->max_open,
          "over max_open");
    for (size_t h = 0; h < HOSTS; h++) {
        CLAIM(w, leased[h] <= limits->max_per_host, "over max_per_host");
        CLAIM(w, tunnels[h] <= limits->max_tunnels, "over max_tunnels");
    }
    CLAIM(w,
          stats.grants[FROM_NONE] + stats.grants[FROM_IMMEDIATE] + stats.grants[FROM_DEFERRED] ==
                  w->succeeded[i] &&
              stats.failures == w->failed[i] && stats.cancelled == w->cancelled[i],
          "answers are miscounted");
}

static void check_world(struct world *w)
{
    check_from_outside(w);
    for (int i = 0; i < POOLS; i++)
        check_pool(w, i);
}

/* Rounds. */

static void begin_round(struct world *w)
{
    for (int i = 0; i < POOLS; i++) {
        struct pool_limits limits = any_limits(w, i);
        w->limits[i] = w->most[i] = limits;
        w->pools[i] = pool_new(w->loop, w->resolver, &limits);
        assert_non_null(w->pools[i]);
        for (int preconnects = 0; preconnects < 3; preconnects++) {
            size_t host = percent(w, 70) ? below(w, 7) : below(w, HOSTS);
            assert_int_equal(pool_keep_preconnected(w->pools[i], &w->endpoints[host]), 0);
            if (percent(w, 30))
                pool_expect_greeting(w->pools[i], &w->endpoints[host]);
        }
        w->allocated[i] = w->succeeded[i] = w->failed[i] = w->cancelled[i] = 0;
    }
    w->closing = false;
    w->operated = percent(w, 30);
    w->changing = percent(w, 20);
}

/* Takes steps until every slot is free. There are no new allocations; leases end one by one. */
static void drain_slots(struct world *w, bool impatient)
{
    struct slot *slot;
    for (unsigned round = 0; round < 100000; round++) {
        if ((slot = pick_slot(w, SLOT_LEASED)) != NULL && percent(w, 50))
            user_release(w, slot);
        if (!impatient)
            step_time_passes(w);
        step_iterate(w);
        check_world(w);
        if (pick_slot(w, SLOT_LEASED) == NULL && pick_slot(w, SLOT_WAITING) == NULL)
            return;
    }
    CLAIM(w, false, "a request was never answered");
}

/* All requests are answered, everything is closed, and each connection's end has its reason. */
static void end_round(struct world *w)
{
    w->closing = true;
    unsigned how = below(w, 3);
    for (int i = 0; i < POOLS; i++) {
        if (how == 1)
            pool_shutdown(w->pools[i]);
        else if (how == 2)
            pool_drain(w->pools[i]);
    }
    drain_slots(w, how == 1);
    for (int i = 0; i < POOLS; i++) {
        struct pool_stats stats;
        uint64_t discards = 0;
        pool_shutdown(w->pools[i]);
        pool_get_stats(w->pools[i], &stats);
        CLAIM(w, stats.busy + stats.held + stats.connecting + stats.idle + stats.waiting == 0,
              "left at the end: %u busy, %u held, %u connecting, %u idle, %u waiting", stats.busy,
              stats.held, stats.connecting, stats.idle, stats.waiting);
        for (int reason = 0; reason < POOL_DISCARD_COUNT; reason++) {
            discards += stats.discards[reason];
            w->totals.discards[reason] += stats.discards[reason];
        }
        for (int kind = 0; kind <= FROM_DEFERRED; kind++)
            w->totals.grants[kind] += stats.grants[kind];
        w->totals.failures += stats.failures;
        w->totals.cancelled += stats.cancelled;
        w->totals.downs += stats.downs;
        w->totals.refused += stats.refused;
        w->totals.retries += stats.retries;
        CLAIM(w, stats.dials == discards, "connections ended without a reason");
        CLAIM(w, w->allocated[i] == w->succeeded[i] + w->failed[i] + w->cancelled[i],
              "answers are missing");
        pool_free(w->pools[i]);
    }
    CLAIM(w, w->attached == 0, "what was attached to connections is not freed");
    check_from_outside(w);
    for (int p = 0; p < PEERS; p++)
        CLAIM(w, TAILQ_EMPTY(&w->peers[p].conns), "a connection is left open");
}

static void open_world(struct world *w)
{
    w->random = seed;
    the_world = w;
    w->loop = loop_new();
    assert_non_null(w->loop);
    w->names = names_new(w->loop);
    w->resolver = resolver_new(w->loop, names_backend(w->names));
    assert_non_null(w->resolver);
    for (int p = 0; p < PEERS; p++) /* the first two have all the addresses of their names */
        assert_int_equal(peer_open(&w->peers[p], p < 2 ? "0.0.0.0" : "127.0.0.1", PEER_ACCEPT), 0);
    assert_int_equal(peer_open(&w->peers[TO_REFUSING], "127.0.0.1", PEER_REFUSE), 0);
    assert_int_equal(peer_open(&w->peers[TO_BLACKHOLE], "127.0.0.1", PEER_BLACKHOLE), 0);
    names_set(w->names, "quick.test", "127.0.0.1", NULL, 0);
    names_set(w->names, "slow.test", "127.0.0.1", NULL, 700 * USEC_PER_MSEC);
    names_set(w->names, "bad.test", NULL, "No such name", 100 * USEC_PER_MSEC);
    names_set(w->names, "empty.test", NULL, NULL, 100 * USEC_PER_MSEC);
    names_set(w->names, "never.test", NULL, NULL, NAMES_NEVER);
    for (size_t h = 0; h < HOSTS; h++) {
        struct endpoint *endpoint = &w->endpoints[h];
        snprintf(endpoint->scheme, sizeof(endpoint->scheme), "%s", hosts[h].scheme);
        snprintf(endpoint->addr, sizeof(endpoint->addr), "%s", hosts[h].addr);
        endpoint->port = ntohs(w->peers[hosts[h].peer].address.sin_port);
    }
}

/* Reports what the steps added up to. A kind of end that never occurred would be a gap in the
 * test. */
static void report(const struct world *w)
{
    print_message("# failures %llu cancelled %llu\n", (unsigned long long)w->totals.failures,
                  (unsigned long long)w->totals.cancelled);
    print_message("# downs %llu refused %llu retries %llu\n", (unsigned long long)w->totals.downs,
                  (unsigned long long)w->totals.refused, (unsigned long long)w->totals.retries);
    CLAIM(w,
          steps < STEPS || (w->totals.downs > 0 && w->totals.refused > 0 && w->totals.retries > 0),
          "one kind never occurred");
    for (int kind = 0; kind <= FROM_DEFERRED; kind++) {
        print_message("# from_cache=%s %llu\n", pool_from_cache_name((enum from_cache)kind),
                      (unsigned long long)w->totals.grants[kind]);
        CLAIM(w, steps < STEPS || w->totals.grants[kind] > 0, "one kind never occurred");
    }
    for (int reason = 0; reason < POOL_DISCARD_COUNT; reason++) {
        print_message("# discard=%s %llu\n", pool_discard_name((enum pool_discard)reason),
                      (unsigned long long)w->totals.discards[reason]);
        bool sessions = reason == DISCARD_CLIENT_ABORT || reason == DISCARD_PROTOCOL_ERROR ||
                        reason == DISCARD_IDLE_TIMEOUT || reason == DISCARD_EARLY_RESPONSE ||
                        reason == DISCARD_UNACKED || reason == DISCARD_UNKNOWN_STATE;
        CLAIM(w, sessions || steps < STEPS || w->totals.discards[reason] > 0,
              "one kind never occurred");
    }
}

static void random_steps(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    int before = sockets_count();
    open_world(w);
    int rest = sockets_count();
    while (w->step < steps) {
        begin_round(w);
        for (int i = 0; i < ROUND_STEPS && w->step < steps; i++) {
            w->step++;
            take_step(w);
            check_world(w);
        }
        end_round(w);
        CLAIM(w, sockets_count() == rest, "descriptors leaked");
    }
    report(w);
    resolver_free(w->resolver);
    loop_free(w->loop);
    for (int p = 0; p < PEERS + 2; p++)
        peer_close(&w->peers[p]);
    CLAIM(w, sockets_count() == before, "descriptors leaked");
    free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_steps)};
    const char *text = argc > 1 ? argv[1] : getenv("KAPROXY_SEED");
    const char *count = getenv("KAPROXY_STEPS");
    seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    if (count != NULL)
        steps = strtoul(count, NULL, 0);
    if (log_open("stderr", LOG_LEVEL_ERROR) < 0)
        return 1;
    printf("# seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
