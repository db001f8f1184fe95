/* SPDX-License-Identifier: ISC */
/* Users, connections and far sides around the pool's core, and what they claim about it. */
#include "support/sim.h"

#include <stdlib.h>
#include <string.h>

struct sim sim;

/* splitmix64 */
uint64_t sim_random(void)
{
    uint64_t z = sim.random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

unsigned sim_below(unsigned limit)
{
    return (unsigned)(sim_random() % limit);
}

bool sim_percent(unsigned chance)
{
    return sim_below(100) < chance;
}

static int number_of(const struct core_host *host)
{
    for (int i = 0; i < HOSTS; i++) {
        if (sim.hosts[i] == host)
            return i;
    }
    CLAIM(false, "an action for a host that is gone");
    return -1;
}

struct slot *sim_pick_slot(int state)
{
    unsigned start = sim_below(SLOTS);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &sim.slots[(start + i) % SLOTS];
        if ((int)slot->state == state)
            return slot;
    }
    return NULL;
}

struct conn *sim_pick_conn(int state)
{
    unsigned start = sim_below(CONNS);
    for (unsigned i = 0; i < CONNS; i++) {
        struct conn *conn = &sim.conns[(start + i) % CONNS];
        if ((int)conn->state == state)
            return conn;
    }
    return NULL;
}

/* Is it in our hands? Then only what was asked of us may be reported for it. */
bool sim_is_in_hand(const struct conn *conn)
{
    for (const struct hand *hand = sim.hands; hand < sim.hands + HANDS; hand++) {
        if (hand->full && hand->action.conn == &conn->core)
            return true;
    }
    return false;
}

/* The answers. */

/* No earlier request for this host could have used the connection. */
static void claim_in_turn(const struct slot *slot, const struct conn *conn)
{
    for (const struct slot *other = sim.slots; other < sim.slots + SLOTS; other++) {
        bool waits = other->state == SLOT_ASKED && other->host == slot->host &&
                     other->request.state == CORE_REQUEST_WAITING;
        CLAIM(!waits || other->request.serial > slot->request.serial ||
                  (other->fresh && conn->uses > 1),
              "an older waiter of the host was passed over");
    }
}

/* An event has given a connection to no request. */
static void note_idle(struct conn *conn)
{
    usec_t keep_alive = sim.core.limits.keep_alive, hint = conn->core.idle_hint;
    if (conn->core.state != CONN_IDLE)
        return;
    conn->held = false;
    conn->idle_order = ++sim.idle_order;
    conn->idle_since = sim.now;
    conn->idle_end = sim.now + (hint != 0 && hint < keep_alive ? hint : keep_alive);
}

/* An event of a connection has returned a request: it has the connection. */
void sim_granted(struct core_request *request, struct conn *conn)
{
    const struct pool_limits *limits = &sim.core.limits;
    if (request == NULL) {
        note_idle(conn);
        return;
    }
    conn->held = false;
    struct slot *slot = container_of(request, struct slot, request);
    CLAIM(slot->state == SLOT_ASKED, "a grant without a waiter");
    CLAIM(request->conn == &conn->core, "a grant of another connection");
    CLAIM(conn->state == PLACE_OPEN && conn->user == NULL, "a connection has two users");
    CLAIM(conn->host == slot->host, "a connection to the wrong host");
    CLAIM(sim.service[slot->host] == SERVICE_OPEN, "a grant of a host that is not open");
    CLAIM(!conn->retired || conn->uses == 0, "a retired connection is granted");
    CLAIM(!conn->core.address_gone || conn->uses == 0, "its address is gone");
    CLAIM(limits->max_uses == 0 || conn->uses < limits->max_uses, "max_uses is exceeded");
    CLAIM(limits->max_age == 0 || conn->uses == 0 || sim.now - conn->born < limits->max_age,
          "max_age is exceeded");
    conn->uses++;
    CLAIM(conn->uses == conn->core.uses, "uses are miscounted");
    CLAIM(!slot->fresh || conn->uses == 1, "fresh, but used before");
    CLAIM(memcmp(&conn->core.tag, &conn->tag, sizeof(conn->tag)) == 0, "another tag");
    CLAIM(request->from_cache == FROM_IMMEDIATE ||
              (request->from_cache == FROM_NONE) == (conn->uses == 1),
          "a wrong from_cache");
    if (request->from_cache == FROM_IMMEDIATE) /* it was offered before any request waited */
        CLAIM(sim.now < conn->idle_end, "idle for too long");
    else
        claim_in_turn(slot, conn);
    conn->user = slot;
    slot->state = SLOT_TOLD;
}

/* Health. */

void sim_dial_failed(int host)
{
    struct health *health = &sim.health[host];
    unsigned most = sim.core.limits.fail_after;
    if (sim.service[host] != SERVICE_OPEN)
        return;
    if (!heap_contains(&sim.hosts[host]->retry.node)) /* else that pause continues */
        health->tried = sim.now;
    if (most > 0 && ++health->failed >= most)
        health->down = true;
}

void sim_dial_succeeded(int host)
{
    sim.health[host] = (struct health){0};
}

/* A used connection is about to be granted again. If its like have all places of a host that is
 * down, but not in a pause, that ends the outage [42]. */
static void note_useful(const struct conn *conn)
{
    unsigned usable = 0;
    struct health *health = &sim.health[conn->host];
    if (!health->down || conn->uses == 0 || heap_contains(&conn->core.host->retry.node))
        return;
    for (const struct conn *other = sim.conns; other < sim.conns + CONNS; other++)
        usable += other->state == PLACE_OPEN && other->host == conn->host && !other->held &&
                  other->core.state != CONN_CLOSING;
    if (usable < sim_most_here(conn->host))
        return;
    *health = (struct health){0};
    sim.useful++;
}

/* Service. */

static void note_service(int host, enum service service)
{
    if (service != sim.service[host] && service != SERVICE_OPEN)
        sim.health[host] = (struct health){0};
    sim.service[host] = service;
}

void sim_set_service(int host, enum service service)
{
    if (host >= 0) {
        pool_core_set_service(sim_get_host(host), service);
        note_service(host, service);
        return;
    }
    pool_core_set_all_service(&sim.core, service);
    sim.service_to_come = service;
    for (host = 0; host < HOSTS; host++)
        note_service(host, service);
}

void sim_reconnect(int host)
{
    pool_core_reconnect(sim_get_host(host));
    for (struct conn *conn = sim.conns; conn < sim.conns + CONNS; conn++) {
        if (conn->state == PLACE_FREE || conn->host != host)
            continue;
        CLAIM(conn->core.state != CONN_IDLE, "an idle connection is not retired");
        conn->retired = true;
    }
}

/* Is there a dial that does not count as failed yet? */
static bool has_dial_in_time(int host)
{
    const struct core_conn *conn;
    TAILQ_FOREACH (conn, &sim.hosts[host]->conns[CONN_CONNECTING], link) {
        if (!conn->overdue)
            return true;
    }
    return false;
}

/* A dial has used all of a waiter's time. */
static void note_overdue(const struct slot *slot)
{
    if (sim.hosts[slot->host] == NULL || !slot->request.has_dial || sim_percent(50))
        return;
    bool down = sim.health[slot->host].down;
    if (!down && has_dial_in_time(slot->host))
        sim_dial_failed(slot->host);
    pool_core_dial_overdue(sim.hosts[slot->host], sim.now);
}

void sim_failed(struct core_request *request)
{
    if (request == NULL)
        return;
    struct slot *slot = container_of(request, struct slot, request);
    CLAIM(slot->state == SLOT_ASKED, "a failure without a waiter");
    CLAIM(request->conn == NULL, "a failure with a connection");
    CLAIM(request->failure != CORE_REQUEST_TIMED_OUT || slot->deadline <= sim.now, "too early");
    CLAIM(request->failure != CORE_REQUEST_TOO_MANY || sim.core.limits.max_waiting > 0 ||
              sim.changing,
          "refused without a limit");
    CLAIM(request->failure != CORE_REQUEST_DOWN || sim.core.limits.fail_after > 0 || sim.changing,
          "a host is down that cannot be");
    CLAIM(request->failure != CORE_REQUEST_DIAL || sim.service[slot->host] == SERVICE_OPEN,
          "a dial fails a waiter of a host that is not open");
    slot->state = SLOT_TOLD;
    sim.refused += request->failure == CORE_REQUEST_DOWN;
    if (request->failure == CORE_REQUEST_TIMED_OUT)
        note_overdue(slot);
}

/* The order of preference [33]. */

static bool has_identity(const struct conn *conn, const struct slot *slot)
{
    return memcmp(conn->tag.identity, slot->tag.identity, sizeof(conn->tag.identity)) == 0;
}

/* How well an idle connection serves a request; 0: not at all, or less well than a new one. */
static int rank(const struct conn *conn, const struct slot *slot)
{
    if (slot->fresh && conn->uses > 0)
        return 0;
    if (!slot->tagged)
        return 1;
    if (has_identity(conn, slot))
        return conn->tag.variant == slot->tag.variant ? 3 : 2;
    return conn->uses == 0 ? 1 : 0;
}

/* The one of its host that is idle for longest, or NULL. */
static struct conn *longest_idle(int host)
{
    struct conn *longest = NULL;
    for (struct conn *conn = sim.conns; conn < sim.conns + CONNS; conn++) {
        if (conn->state == PLACE_OPEN && conn->core.state == CONN_IDLE && conn->host == host &&
            (longest == NULL || conn->idle_order < longest->idle_order))
            longest = conn;
    }
    return longest;
}

/* As if the host were not down. */
static struct conn *choose(const struct slot *slot)
{
    struct conn *best = NULL;
    for (struct conn *conn = sim.conns; conn < sim.conns + CONNS; conn++) {
        if (conn->state != PLACE_OPEN || conn->core.state != CONN_IDLE ||
            conn->host != slot->host || rank(conn, slot) == 0)
            continue;
        if (best == NULL || rank(conn, slot) > rank(best, slot) ||
            (rank(conn, slot) == rank(best, slot) && conn->idle_order > best->idle_order))
            best = conn;
    }
    return best;
}

struct conn *sim_choose(const struct slot *slot)
{
    struct conn *best = choose(slot);
    return best == NULL && sim.health[slot->host].down && !slot->fresh ? longest_idle(slot->host)
                                                                       : best;
}

/* What the core says is done. */

static void do_dial(const struct pool_action *action)
{
    struct conn *conn = sim_pick_conn(PLACE_FREE);
    int host = number_of(action->host);
    CLAIM(conn != NULL, "more connections than may be open");
    if (sim_percent(3)) {
        sim_failed(pool_core_dial_refused(action->host, action->preconnect, sim.now));
        return;
    }
    *conn = (struct conn){.state = PLACE_DIALLED, .host = host};
    CLAIM(pool_core_dialling(action->host, &conn->core, action->preconnect) == 0, "no memory");
}

static void do_close(struct conn *conn)
{
    CLAIM(conn->user == NULL, "a connection in use is closed");
    conn->state = PLACE_FREE;
    pool_core_closed(&conn->core);
}

enum pool_peek sim_peek(const struct conn *conn)
{
    return conn->far_side == POOL_PEEK_QUIET && sim_percent(2) ? POOL_PEEK_PARTIAL : conn->far_side;
}

static void do_peek(struct conn *conn)
{
    enum pool_peek found = sim_peek(conn);
    struct core_request *offered = conn->core.lease;
    const struct slot *slot = offered == NULL ? NULL : container_of(offered, struct slot, request);
    const struct conn *second = slot == NULL ? NULL : sim_choose(slot);
    struct core_request *request = pool_core_peeked(&conn->core, found, sim.now);
    CLAIM(slot == NULL || request == offered ||
              (second == NULL ? offered->state != CORE_REQUEST_OFFERED
                              : offered->conn == &second->core),
          "a stale one is followed by another than the second choice");
    bool greeting = found == POOL_PEEK_DATA && conn->uses == 0;
    CLAIM(request == NULL || found <= POOL_PEEK_DRAINED || greeting || found == POOL_PEEK_PARTIAL,
          "a useless connection is granted");
    CLAIM(request == NULL || found != POOL_PEEK_PARTIAL || conn->core.was == CONN_CONNECTING,
          "part of a record is passed on");
    if (request != NULL && offered != NULL)
        note_useful(conn);
    sim_granted(request, conn);
}

static void do_action(const struct pool_action *action)
{
    switch (action->kind) {
    case POOL_DIAL:
        do_dial(action);
        break;
    case POOL_CANCEL_DIAL:
        CLAIM(sim_conn_of(action->conn)->state == PLACE_DIALLED, "no dial to cancel");
        if (sim_conn_of(action->conn)->tcp_connected)
            pool_core_dial_kept(action->conn);
        else
            do_close(sim_conn_of(action->conn));
        break;
    case POOL_PEEK:
        do_peek(sim_conn_of(action->conn));
        break;
    case POOL_CLOSE:
        do_close(sim_conn_of(action->conn));
        break;
    case POOL_FAIL:
        sim_failed(action->request);
        break;
    case POOL_NOTHING:
        CLAIM(false, "nothing is to be done");
    }
}

/* Connections as seen from outside, and those reserved for some requests. */
static struct count count_conns(void)
{
    struct count count = {0};
    for (const struct hand *hand = sim.hands; hand < sim.hands + HANDS; hand++) {
        if (!hand->full || hand->action.kind != POOL_DIAL)
            continue;
        int host = number_of(hand->action.host);
        count.most.open++;
        count.most.here[host]++;
        count.most.dials[host]++;
    }
    for (const struct conn *conn = sim.conns; conn < sim.conns + CONNS; conn++) {
        if (conn->state == PLACE_FREE)
            continue;
        bool idle = conn->core.state == CONN_IDLE, closing = conn->core.state == CONN_CLOSING;
        count.most.open++;
        count.idle += idle;
        count.idle_here[conn->host] += idle;
        count.closing += closing;
        count.closing_here[conn->host] += closing && !conn->held;
        count.most.here[conn->host] += !conn->held;
        count.most.held[conn->host] += conn->held;
        count.most.dials[conn->host] += conn->core.state == CONN_CONNECTING;
    }
    for (const struct slot *slot = sim.slots; slot < sim.slots + SLOTS; slot++)
        count.most.held[slot->host] += slot->state == SLOT_LEASED && slot->may_hold;
    return count;
}

/* Dials without a waiter have ended, except those whose connection is established. */
static void claim_no_excess(const struct count *count)
{
    for (const struct conn *conn = sim.conns; conn < sim.conns + CONNS; conn++) {
        if (conn->state != PLACE_DIALLED || conn->tcp_connected)
            continue;
        const struct core_host *host = sim.hosts[conn->host];
        unsigned wanted = host->waiting, idle = count->idle_here[conn->host];
        if (sim.service[conn->host] != SERVICE_OPEN)
            wanted = 0;
        else if (host->down)
            wanted = 1;
        else if (host->keeps_preconnected && idle < sim.core.limits.min_idle)
            wanted += sim.core.limits.min_idle - idle;
        CLAIM(count->most.dials[conn->host] <= wanted, "a dial without a waiter");
    }
}

/* A host that is down is tried when its pause is over, if there is a place, or one can be made
 * [41]. */
static void claim_tried(const struct count *count)
{
    const struct pool_limits *limits = &sim.core.limits;
    for (int host = 0; host < HOSTS; host++) {
        if (sim.hosts[host] == NULL || !sim.hosts[host]->down || sim.core.phase == POOL_SHUT)
            continue;
        CLAIM(count->most.dials[host] > 0 || heap_contains(&sim.hosts[host]->retry.node) ||
                  count->most.here[host] >= sim_most_here(host) ||
                  (count->most.open >= limits->max_open && count->idle == 0),
              "a host that is down is not tried");
    }
}

/* One dial at a time, after a pause. */
static void claim_may_try(int host)
{
    CLAIM(sim.service[host] == SERVICE_OPEN, "a dial of a host that is not open");
    if (!sim.health[host].down)
        return;
    CLAIM(count_conns().most.dials[host] == 0, "a host that is down is tried twice at a time");
    CLAIM(sim.now - sim.health[host].tried >= USEC_PER_SEC * 3 / 4,
          "a host that is down is tried too soon");
    sim.tries++;
}

/* Nothing is left to do: does a request wait for an idle connection or a free place? */
static void claim_served(void)
{
    const struct pool_limits *limits = &sim.core.limits;
    const char *wrong = pool_core_check_served(&sim.core);
    CLAIM(wrong == NULL, "pool_core_check_served: %s", wrong);
    for (const struct hand *hand = sim.hands; hand < sim.hands + HANDS; hand++) {
        if (hand->full)
            return;
    }
    struct count count = count_conns();
    claim_no_excess(&count);
    claim_tried(&count);
    for (const struct slot *slot = sim.slots; slot < sim.slots + SLOTS; slot++) {
        int host = slot->host;
        if (slot->state != SLOT_ASKED || slot->request.has_dial)
            continue;
        CLAIM(sim.service[host] != SERVICE_DRAINING, "a waiter at a host that drains");
        if (sim.service[host] == SERVICE_PAUSED)
            continue;
        CLAIM(slot->fresh || count.idle_here[host] == 0, "a waiter despite an idle connection");
        bool may_dial = count.most.here[host] < sim_most_here(host) &&
                        count.most.dials[host] < limits->max_connecting;
        CLAIM(!may_dial || (count.most.open >= limits->max_open && count.idle == 0),
              "a dial could begin for a waiter");
    }
}

/* A peek is about to be done. At the connection that suits the request least? Then there is no
 * better one, none is idle for longer, and no dial can begin [33, 34]. */
static void claim_settled(const struct conn *conn)
{
    const struct pool_limits *limits = &sim.core.limits;
    if (conn->core.lease == NULL || sim.changing)
        return;
    const struct slot *slot = container_of(conn->core.lease, struct slot, request);
    if (rank(conn, slot) > 0 || limits->fail_after > 0) /* else when the host was down, perhaps */
        return;
    CLAIM(slot->tagged && !slot->fresh && choose(slot) == NULL, "a better one is idle");
    for (const struct conn *other = sim.conns; other < sim.conns + CONNS; other++)
        CLAIM(other->state != PLACE_OPEN || other->core.state != CONN_IDLE ||
                  other->host != conn->host || other->idle_order > conn->idle_order,
              "another one is idle for longer");
    struct count count = count_conns();
    CLAIM(count.most.here[conn->host] >= sim_most_here(conn->host) ||
              count.most.dials[conn->host] >= limits->max_connecting ||
              count.most.open >= limits->max_open || heap_contains(&conn->core.host->retry.node),
          "a new one could be dialled");
    sim.settled++;
}

/* Takes what the core says into a free hand, or does it. False: there is nothing to be done. */
bool sim_take(void)
{
    struct pool_action action = {.kind = POOL_NOTHING};
    struct hand *hand = sim.hands;
    while (hand < sim.hands + HANDS && hand->full)
        hand++;
    if (hand == sim.hands + HANDS)
        return false;
    if (!pool_core_next(&sim.core, &action)) {
        claim_served();
        return false;
    }
    if (action.kind == POOL_PEEK)
        claim_settled(sim_conn_of(action.conn));
    if (action.kind == POOL_DIAL)
        claim_may_try(number_of(action.host));
    if (sim.eager || action.kind == POOL_FAIL)
        do_action(&action);
    else
        *hand = (struct hand){.action = action, .full = true};
    return true;
}

bool sim_do_one(void)
{
    unsigned start = sim_below(HANDS);
    for (unsigned i = 0; i < HANDS; i++) {
        struct hand *hand = &sim.hands[(start + i) % HANDS];
        if (!hand->full)
            continue;
        hand->full = false;
        do_action(&hand->action);
        return true;
    }
    return false;
}

void sim_do_all(void)
{
    while (sim_take() || sim_do_one())
        continue;
}

void sim_free_hosts(void)
{
    struct core_host *host;
    while ((host = pool_core_empty_host(&sim.core)) != NULL) {
        CLAIM(sim.service[number_of(host)] == SERVICE_OPEN || sim.core.phase == POOL_SHUT ||
                  sim.unwanted[number_of(host)] || sim.retired,
              "what an operator wants of a host is forgotten");
        sim.health[number_of(host)] = (struct health){0};
        sim_forget_limits(number_of(host));
        sim.hosts[number_of(host)] = NULL;
        pool_core_remove_host(host);
        free(host);
    }
}

struct core_host *sim_get_host(int number)
{
    if (sim.hosts[number] != NULL)
        return sim.hosts[number];
    struct core_host *host = calloc(1, sizeof(*host));
    assert_non_null(host);
    host->endpoint.port = (uint16_t)(number + 1);
    assert_null(pool_core_find_host(&sim.core, &host->endpoint));
    assert_int_equal(pool_core_add_host(&sim.core, host), 0);
    assert_ptr_equal(pool_core_find_host(&sim.core, &host->endpoint), host);
    sim.hosts[number] = host;
    sim.service[number] = sim.service_to_come;
    return host;
}

void sim_check(void)
{
    const char *wrong = pool_core_check(&sim.core);
    CLAIM(wrong == NULL, "pool_core_check: %s", wrong);
    struct count count = count_conns();
    sim_check_limits(&count);
    for (int host = 0; host < HOSTS; host++) {
        CLAIM(sim.hosts[host] == NULL || sim.hosts[host]->down == sim.health[host].down,
              "whether a host is down contradicts its dials");
        CLAIM(sim.hosts[host] == NULL || sim.hosts[host]->service == sim.service[host],
              "a host has another service");
        CLAIM(sim.service[host] == SERVICE_OPEN || count.idle_here[host] == 0,
              "an idle connection of a host that is not open");
    }
    for (const struct slot *slot = sim.slots; slot < sim.slots + SLOTS; slot++)
        CLAIM(slot->state != SLOT_ASKED || slot->request.state != CORE_REQUEST_WAITING ||
                  !sim.health[slot->host].down,
              "a waiter at a host that is down");
}
