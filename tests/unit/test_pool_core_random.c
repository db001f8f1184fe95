/* SPDX-License-Identifier: ISC */
/* Random events for the pool's core alone: no socket and no loop, and the time is a number. A model
 * next to it knows what the core owes. What is to be done is collected and done later, in any
 * order, as several loops would. The seed is the first argument or KAPROXY_SEED, else the clock's;
 * it is printed, and repeats everything. KAPROXY_STEPS changes the number of steps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/sim.h"

#define STEPS       5000000
#define SLOW_STEPS  500000 /* with sanitizers */
#define ROUND_STEPS 5000   /* then the core ends, and another with other limits begins */

static unsigned long steps = STEPS;

/* The steps. */

/* When everything to be done is done: could one more dial to this host begin? */
static bool has_room(const struct core_host *host)
{
    const struct pool_limits *limits = &sim.core.limits;
    const unsigned *of_host = host->count, *of_all = sim.core.count;
    unsigned open = of_host[CONN_CONNECTING] + of_host[CONN_BUSY] + of_host[CONN_IDLE];
    unsigned all = of_all[CONN_CONNECTING] + of_all[CONN_BUSY] + of_all[CONN_HELD];
    return open < host->most_open && of_host[CONN_CONNECTING] < limits->max_connecting &&
           all + of_all[CONN_IDLE] < limits->max_open;
}

static struct pool_tag any_tag(void)
{
    return (struct pool_tag){.identity = {(unsigned char)sim_below(3)}, .variant = sim_below(2)};
}

/* Asks; an idle connection that suits the request better than a new one is offered immediately
 * [33]. */
static void ask(struct slot *slot, usec_t timeout)
{
    const struct core_wish wish = {
        .tag = slot->tagged ? &slot->tag : NULL, .timeout = timeout, .fresh = slot->fresh};
    const struct conn *choice = sim_choose(slot);
    CLAIM(pool_core_request(sim_get_host(slot->host), &slot->request, &wish, sim.now) == 0,
          "no memory");
    CLAIM(timeout < 0 || (choice == NULL ? slot->request.state != CORE_REQUEST_OFFERED
                                         : slot->request.conn == &choice->core),
          "another one than the best is offered");
}

static int pick_host(void)
{
    return sim.cramped && sim_percent(80) ? 0 : (int)sim_below(HOSTS);
}

static void step_request(void)
{
    struct slot *slot = sim_pick_slot(SLOT_FREE);
    if (slot == NULL || sim.closing)
        return;
    usec_t timeout = sim_percent(20) ? 1 + sim_below(3000) * USEC_PER_MSEC : 0;
    if (sim_percent(2))
        timeout = -1;
    *slot = (struct slot){.state = SLOT_ASKED, .host = pick_host(), .fresh = sim_percent(10)};
    slot->tagged = sim_percent(50);
    slot->tag = any_tag();
    slot->deadline = sim.now + (timeout != 0 ? timeout : sim.core.limits.timeout);
    sim.asked++;
    unsigned queued = sim.core.queued, most = sim.core.limits.max_waiting;
    ask(slot, timeout);
    if (sim.eager)
        sim_do_all();
    bool queues = slot->request.state == CORE_REQUEST_WAITING && !slot->request.has_dial;
    CLAIM(!sim.eager || !queues || most == 0 || queued < most, "max_waiting is exceeded");
    bool refused = slot->state == SLOT_TOLD && slot->request.failure == CORE_REQUEST_TOO_MANY;
    CLAIM(!refused || queued >= most, "refused too early");
    CLAIM(!refused || !sim.eager || sim.service[slot->host] != SERVICE_OPEN ||
              !has_room(sim_get_host(slot->host)),
          "refused although there is room");
}

/* Requests that were called may also cancel, before it was delivered. */
static void step_cancel(void)
{
    struct slot *slot = sim_pick_slot(sim_percent(70) ? SLOT_ASKED : SLOT_TOLD);
    if (slot == NULL)
        return;
    if (slot->state == SLOT_TOLD && slot->request.conn != NULL) {
        struct conn *conn = sim_conn_of(slot->request.conn);
        conn->user = NULL;
        conn->uses--;
    }
    slot->state = SLOT_FREE;
    sim.cancelled++;
    pool_core_cancel(&sim.core, &slot->request);
}

static void step_deliver(void)
{
    struct slot *slot = sim_pick_slot(SLOT_TOLD);
    if (slot == NULL)
        return;
    pool_core_delivered(&slot->request, FAILED_OTHER);
    bool leased = slot->request.state == CORE_REQUEST_LEASED;
    CLAIM(leased == (slot->request.conn != NULL), "a lease without a connection");
    slot->state = leased ? SLOT_LEASED : SLOT_FREE;
    slot->may_hold = slot->holds = false;
    if (leased)
        sim.granted++;
    else
        sim.failed++;
}

static struct conn *end_lease(struct slot *slot)
{
    struct conn *conn = sim_conn_of(pool_core_leased(&slot->request));
    CLAIM(conn->user == slot, "another user's connection");
    conn->user = NULL;
    slot->state = SLOT_FREE;
    return conn;
}

/* In a cramped round a held connection is returned while its host is down, and takes its place. */
static bool stays_held(const struct slot *slot)
{
    return sim.cramped && slot->holds && !sim.closing && !sim.health[slot->host].down;
}

static void step_release(void)
{
    struct slot *slot = sim_pick_slot(SLOT_LEASED);
    if (slot == NULL || stays_held(slot))
        return;
    struct conn *conn = end_lease(slot);
    enum pool_peek found = sim_peek(conn);
    if (found == POOL_PEEK_QUIET && sim_percent(50))
        found = POOL_PEEK_DRAINED;
    struct core_request *next = pool_core_release(&slot->request, found, sim.now);
    CLAIM(next == NULL || found == POOL_PEEK_QUIET ||
              (found == POOL_PEEK_DRAINED && sim.hosts[conn->host]->waiting == 0),
          "a useless connection is granted");
    sim_granted(next, conn);
}

static void step_discard(void)
{
    struct slot *slot = sim_pick_slot(SLOT_LEASED);
    if (slot == NULL || stays_held(slot) || (sim.cramped && sim_percent(90)))
        return;
    end_lease(slot);
    pool_core_discard(&slot->request, DISCARD_NOT_REUSABLE, sim_percent(50));
}

static unsigned count_tunnels(int host)
{
    unsigned n = 0;
    for (const struct slot *slot = sim.slots; slot < sim.slots + SLOTS; slot++)
        n += slot->state == SLOT_LEASED && slot->host == host && (slot->may_hold || slot->holds);
    return n;
}

static void step_reserve(void)
{
    struct slot *slot = sim_pick_slot(SLOT_LEASED);
    if (slot == NULL)
        return;
    bool done = pool_core_reserve_hold(&slot->request);
    bool has = slot->may_hold || slot->holds;
    CLAIM(done || !has, "a reserved hold is refused");
    CLAIM(!done || has || count_tunnels(slot->host) < sim_most_held(slot->host),
          "max_tunnels is exceeded");
    slot->may_hold = done && !slot->holds;
}

static void step_hold(void)
{
    struct slot *slot = sim_pick_slot(SLOT_LEASED);
    if (slot == NULL || !slot->may_hold)
        return;
    pool_core_hold(&slot->request);
    slot->may_hold = false;
    slot->holds = sim_conn_of(slot->request.conn)->held = true;
}

static void step_unhold(void)
{
    struct slot *slot = sim_pick_slot(SLOT_LEASED);
    if (slot == NULL || stays_held(slot))
        return;
    bool done = pool_core_unhold(&slot->request);
    CLAIM(done || slot->holds, "a connection that is not held need not move back");
    if (!done)
        return;
    slot->may_hold = slot->holds = sim_conn_of(slot->request.conn)->held = false;
}

static void step_set_tag(void)
{
    struct slot *slot = sim_pick_slot(SLOT_LEASED);
    if (slot == NULL)
        return;
    struct conn *conn = sim_conn_of(slot->request.conn);
    conn->tag = any_tag();
    pool_core_set_tag(&slot->request, &conn->tag);
}

/* [36] */
static void step_discard_tagged(void)
{
    struct pool_tag tag = any_tag();
    int host = (int)sim_below(HOSTS);
    pool_core_discard_tagged(sim_get_host(host), tag.identity, DISCARD_LOGIN_REFUSED);
    for (const struct conn *conn = sim.conns; conn < sim.conns + CONNS; conn++)
        CLAIM(conn->state != PLACE_OPEN || conn->host != host || conn->core.state != CONN_IDLE ||
                  !pool_tag_is_of(&conn->tag, tag.identity),
              "one with that identity is still idle");
}

static void step_idle_hint(void)
{
    struct slot *slot = sim_pick_slot(SLOT_LEASED);
    if (slot != NULL)
        pool_core_set_idle_hint(&slot->request, 1 + sim_below(4000) * USEC_PER_MSEC);
}

/* A dial continues, or ends. */
static void step_dial(void)
{
    struct conn *conn = sim_pick_conn(PLACE_DIALLED);
    if (conn == NULL || sim_is_in_hand(conn))
        return;
    if (sim_percent(sim.stormy ? 85 : 15)) {
        bool by_host = sim_percent(80), past = conn->core.state == CONN_CLOSING;
        if (by_host && !past && !conn->core.overdue)
            sim_dial_failed(conn->host);
        sim_failed(pool_core_dial_failed(&conn->core, by_host, sim.now));
    } else if (!conn->tcp_connected) {
        conn->tcp_connected = true;
    } else {
        conn->state = PLACE_OPEN;
        conn->born = sim.now;
        if (conn->core.state != CONN_CLOSING)
            sim_dial_succeeded(conn->host);
        conn->far_side = sim_percent(90)
                             ? POOL_PEEK_QUIET
                             : POOL_PEEK_DATA + sim_below(POOL_PEEK_ERROR - POOL_PEEK_DATA + 1);
        sim_granted(pool_core_connected(&conn->core, conn->far_side != POOL_PEEK_QUIET, sim.now),
                    conn);
    }
}

/* Bytes arrive from the far side, or those that had arrived were read. */
static void step_far_side(void)
{
    struct conn *conn = sim_pick_conn(PLACE_OPEN);
    if (conn == NULL || sim_is_in_hand(conn) || (sim.cramped && sim_percent(90)))
        return;
    if (conn->user != NULL && sim_percent(60))
        conn->far_side = POOL_PEEK_QUIET;
    else
        conn->far_side = sim_percent(50)
                             ? POOL_PEEK_QUIET
                             : POOL_PEEK_DATA + sim_below(POOL_PEEK_ERROR - POOL_PEEK_DATA + 1);
    if (conn->user == NULL && sim_percent(70)) /* else a peek precedes the event */
        pool_core_idle_event(&conn->core, conn->far_side, sim.now);
}

static void step_address(void)
{
    struct conn *conn = sim_pick_conn(sim_percent(80) ? PLACE_OPEN : PLACE_DIALLED);
    if (conn != NULL && !sim_is_in_hand(conn))
        pool_core_set_address_gone(&conn->core, sim_percent(50));
}

static void step_host(void)
{
    if (sim.closing)
        return;
    struct core_host *host = sim_get_host((int)sim_below(HOSTS));
    if (sim_percent(50))
        pool_core_set_preconnected(host, sim_percent(90));
    else if (sim_percent(50))
        pool_core_set_greeting(host, sim_percent(80));
    else
        pool_core_retain_host(host, sim_percent(50));
}

static void step_service(void)
{
    static const enum service services[] = {SERVICE_OPEN, SERVICE_OPEN, SERVICE_PAUSED,
                                            SERVICE_DRAINING};
    int host = sim_percent(20) ? -1 : (int)sim_below(HOSTS);
    if (sim.operated && !sim.closing)
        sim_set_service(host, services[sim_below(ARRAY_LEN(services))]);
}

static void step_reconnect(void)
{
    if (sim.operated && !sim.closing)
        sim_reconnect((int)sim_below(HOSTS));
}

static void step_limits(void)
{
    if (!sim.changing || sim.closing)
        return;
    if (sim_percent(40))
        sim_change_limits();
    else
        sim_change_places((int)sim_below(HOSTS));
}

static void step_wanted(void)
{
    if (sim.changing && !sim.closing)
        sim_change_wanted(sim_percent(20) ? -1 : (int)sim_below(HOSTS));
}

/* Time passes, and the core is called when it asked to be. */
static void step_time(void)
{
    if (sim_percent(2))
        sim.stormy = !sim.stormy && sim.core.limits.fail_after > 0 && !sim.closing;
    usec_t most = USEC_PER_MSEC << sim_below(13);
    sim.now += (usec_t)(sim_random() % (uint64_t)most);
    if (sim.core.next_time <= sim.now)
        pool_core_tick(&sim.core, sim.now);
    for (const struct slot *slot = sim.slots; slot < sim.slots + SLOTS; slot++)
        CLAIM(slot->request.state != CORE_REQUEST_WAITING || slot->deadline > sim.now,
              "a waiter's time has expired, and it still waits");
}

static void step_take(void)
{
    sim_take();
}

static void step_do(void)
{
    sim_do_one();
}

static const struct {
    unsigned weight;
    void (*run)(void);
} kinds[] = {
    {20, step_request},  {4, step_cancel},         {30, step_deliver}, {16, step_release},
    {6, step_discard},   {5, step_reserve},        {5, step_hold},     {3, step_unhold},
    {2, step_idle_hint}, {30, step_dial},          {6, step_far_side}, {2, step_address},
    {1, step_host},      {8, step_time},           {40, step_take},    {40, step_do},
    {8, step_set_tag},   {1, step_discard_tagged}, {2, step_service},  {1, step_reconnect},
    {2, step_limits},    {1, step_wanted},
};

static void take_step(void)
{
    unsigned total = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        total += kinds[i].weight;
    unsigned chosen = sim_below(total);
    size_t i = 0;
    while (chosen >= kinds[i].weight)
        chosen -= kinds[i++].weight;
    kinds[i].run();
    if (sim.eager)
        sim_do_all();
    sim_free_hosts();
}

/* Rounds. */

static void begin_round(void)
{
    struct pool_limits limits = sim_any_limits();
    sim.cramped = sim_percent(20);
    if (sim.cramped) {
        limits.max_per_host = limits.fail_after = 1;
        limits.max_open = 20;
        limits.max_tunnels = 4;
        limits.max_age = limits.max_uses = 0;
        limits.keep_alive = 30 * USEC_PER_SEC;
    }
    pool_core_init(&sim.core, &limits, sim_random());
    memset(sim.health, 0, sizeof(sim.health));
    memset(sim.service, 0, sizeof(sim.service));
    sim.service_to_come = SERVICE_OPEN;
    sim_begin_limits();
    sim.changing = !sim.cramped && sim_percent(40);
    sim.stormy = false;
    sim.operated = sim_percent(50);
    sim.eager = sim_percent(30);
    sim.closing = false;
    sim.asked = sim.granted = sim.failed = sim.cancelled = 0;
}

/* No new requests; all are answered, and every lease ends. */
static void drain_slots(void)
{
    for (unsigned turn = 0; turn < 100000; turn++) {
        if (sim_pick_slot(SLOT_ASKED) == NULL && sim_pick_slot(SLOT_TOLD) == NULL &&
            sim_pick_slot(SLOT_LEASED) == NULL)
            return;
        sim_do_all();
        step_deliver();
        step_release();
        step_dial();
        step_time();
        sim_check();
        sim_free_hosts();
    }
    CLAIM(false, "a request was never answered");
}

static void end_round(void)
{
    struct pool_stats stats;
    uint64_t discards = 0;
    sim.closing = true;
    if (sim_percent(50)) /* else those that wait run out of time */
        sim_set_service(-1, SERVICE_OPEN);
    if (sim_percent(50))
        pool_core_enter_phase(&sim.core, sim_percent(50) ? POOL_DRAINING : POOL_SHUT);
    drain_slots();
    pool_core_enter_phase(&sim.core, POOL_SHUT);
    sim_do_all();
    for (int h = 0; h < HOSTS; h++) {
        if (sim.hosts[h] != NULL)
            pool_core_retain_host(sim.hosts[h], false);
    }
    sim_free_hosts();
    pool_core_get_stats(&sim.core, &stats);
    CLAIM(stats.busy + stats.held + stats.connecting + stats.idle + stats.waiting == 0,
          "something is left at the end");
    CLAIM(sim.core.members == 0 && sim_pick_conn(PLACE_OPEN) == NULL,
          "something is left at the end");
    for (int reason = 0; reason < POOL_DISCARD_COUNT; reason++) {
        discards += stats.discards[reason];
        sim.totals.discards[reason] += stats.discards[reason];
    }
    for (int kind = 0; kind <= FROM_DEFERRED; kind++)
        sim.totals.grants[kind] += stats.grants[kind];
    CLAIM(stats.dials == discards, "connections ended without a reason");
    CLAIM(sim.asked == sim.granted + sim.failed + sim.cancelled, "answers are missing");
    CLAIM(stats.grants[FROM_NONE] + stats.grants[FROM_IMMEDIATE] + stats.grants[FROM_DEFERRED] ==
                  sim.granted &&
              stats.failures == sim.failed && stats.cancelled == sim.cancelled,
          "answers are miscounted");
    pool_core_clear(&sim.core);
}

/* A kind of end that never occurred would be a gap in the test. */
static void report(void)
{
    print_message("# settled %llu, refused %llu, tries %llu, useful %llu\n",
                  (unsigned long long)sim.settled, (unsigned long long)sim.refused,
                  (unsigned long long)sim.tries, (unsigned long long)sim.useful);
    CLAIM(steps < SLOW_STEPS || (sim.settled > 0 && sim.refused > 0 && sim.tries > 0),
          "one kind never occurred");
    CLAIM(steps < STEPS || sim.useful > 0, "one kind never occurred");
    for (int kind = 0; kind <= FROM_DEFERRED; kind++) {
        print_message("# from_cache=%s %llu\n", pool_from_cache_name((enum from_cache)kind),
                      (unsigned long long)sim.totals.grants[kind]);
        CLAIM(steps < SLOW_STEPS || sim.totals.grants[kind] > 0, "one kind never occurred");
    }
    for (int reason = 0; reason < POOL_DISCARD_COUNT; reason++) {
        print_message("# discard=%s %llu\n", pool_discard_name((enum pool_discard)reason),
                      (unsigned long long)sim.totals.discards[reason]);
        bool users = reason >= DISCARD_EARLY_RESPONSE && reason <= DISCARD_IDLE_TIMEOUT;
        CLAIM(users || steps < SLOW_STEPS || sim.totals.discards[reason] > 0,
              "one kind never occurred");
    }
}

static void random_steps(void **state)
{
    (void)state;
    sim.random = sim.seed;
    sim.now = USEC_PER_SEC;
    while (sim.step < steps) {
        begin_round();
        for (int i = 0; i < ROUND_STEPS && sim.step < steps; i++) {
            sim.step++;
            take_step();
            sim_check();
        }
        end_round();
    }
    report();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_steps)};
    const char *text = argc > 1 ? argv[1] : getenv("KAPROXY_SEED");
    const char *count = getenv("KAPROXY_STEPS"), *slow = getenv("KAPROXY_SLOW");
    sim.seed = text != NULL ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    if (count != NULL)
        steps = strtoul(count, NULL, 0);
    else if (slow != NULL && *slow != '\0' && strcmp(slow, "0") != 0)
        steps = SLOW_STEPS;
    printf("# seed %llu\n", (unsigned long long)sim.seed);
    fflush(stdout);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
