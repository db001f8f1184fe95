/* SPDX-License-Identifier: ISC */
/* Limits that change while connections are open, and hosts that are no longer wanted, as the
 * simulation around the pool's core has them. */
#include <limits.h>
#include <string.h>

#include "support/sim.h"

struct pool_limits sim_any_limits(void)
{
    struct pool_limits limits = {.max_per_host = 1 + sim_below(4),
                                 .max_open = 1 + sim_below(10),
                                 .keep_alive = (1 + sim_below(10)) * USEC_PER_SEC,
                                 .timeout = (1 + sim_below(10)) * USEC_PER_SEC};
    if (sim_percent(50))
        limits.max_waiting = 1 + sim_below(12);
    if (sim_percent(30))
        limits.max_age = (1 + sim_below(20)) * USEC_PER_SEC;
    if (sim_percent(30))
        limits.max_connecting = 1 + sim_below(2);
    if (sim_percent(30))
        limits.max_uses = 1 + sim_below(5);
    if (sim_percent(60))
        limits.max_tunnels = 1 + sim_below(4);
    if (sim_percent(60))
        limits.min_idle = 1 + sim_below(3);
    if (sim_percent(50))
        limits.fail_after = 1 + sim_below(4);
    return limits;
}

void sim_forget_limits(int host)
{
    sim.places[host] = sim.held_places[host] = UINT_MAX;
    sim.unwanted[host] = false;
}

void sim_begin_limits(void)
{
    for (int host = 0; host < HOSTS; host++)
        sim_forget_limits(host);
    sim.retired = false;
    sim.surplus = (struct most){0};
}

/* fail_after has changed [51]. */
static void note_fail_after(int host)
{
    struct health *health = &sim.health[host];
    unsigned most = sim.core.limits.fail_after;
    if (most == 0)
        *health = (struct health){.tried = health->down ? 0 : health->tried};
    else if (!health->down && health->failed >= most)
        health->failed = most - 1;
}

/* The idle timeout of idle connections has changed [50]. */
static void note_keep_alive(struct conn *conn)
{
    usec_t keep_alive = sim.core.limits.keep_alive, hint = conn->core.idle_hint;
    if (conn->state != PLACE_OPEN || conn->core.state != CONN_IDLE)
        return;
    conn->idle_end = conn->idle_since + (hint != 0 && hint < keep_alive ? hint : keep_alive);
    CLAIM(sim.now < conn->idle_end, "idle for longer than the current keep_alive");
}

void sim_change_limits(void)
{
    static const union address addresses[] = {{.sa.sa_family = AF_UNSPEC},
                                              {.sa.sa_family = AF_INET}};
    struct pool_limits limits = sim.core.limits, others = sim_any_limits();
    if (sim_percent(30)) {
        limits = others;
    } else {
        limits.max_per_host = others.max_per_host;
        limits.max_open = others.max_open;
    }
    limits.bind_address = sim.core.limits.bind_address;
    bool moves = sim_percent(5);
    if (moves)
        limits.bind_address = addresses[limits.bind_address.sa.sa_family == AF_UNSPEC];
    pool_core_set_limits(&sim.core, &limits, sim.now);
    for (int host = 0; host < HOSTS; host++)
        note_fail_after(host);
    for (struct conn *conn = sim.conns; conn < sim.conns + CONNS; conn++) {
        note_keep_alive(conn);
        conn->retired |= moves;
        CLAIM(!moves || conn->state == PLACE_FREE || conn->core.state != CONN_IDLE,
              "an idle connection from another address");
    }
}

void sim_change_places(int host)
{
    unsigned places = sim_percent(30) ? UINT_MAX : sim_below(4);
    if (sim.hosts[host] == NULL)
        return;
    if (sim_percent(50)) {
        pool_core_set_places(sim.hosts[host], places);
        sim.places[host] = places;
    } else {
        pool_core_set_held_places(sim.hosts[host], places);
        sim.held_places[host] = places;
    }
}

void sim_change_wanted(int host)
{
    bool wanted = sim_percent(60);
    if (host < 0) {
        sim.retired = !wanted;
        pool_core_set_retired(&sim.core, !wanted);
    } else if (sim.hosts[host] != NULL) {
        sim.unwanted[host] = !wanted;
        pool_core_set_wanted(sim.hosts[host], wanted);
    }
}

unsigned sim_most_here(int host)
{
    unsigned most = sim.core.limits.max_per_host;
    return sim.places[host] < most ? sim.places[host] : most;
}

unsigned sim_most_held(int host)
{
    unsigned most = sim.core.limits.max_tunnels;
    return sim.held_places[host] < most ? sim.held_places[host] : most;
}

/* Is it within the limit, or no more than before? */
static bool is_within(unsigned count, unsigned limit, unsigned surplus)
{
    return count <= limit || (sim.changing && count <= surplus);
}

void sim_check_limits(const struct count *count)
{
    const struct pool_limits *limits = &sim.core.limits;
    const struct most *now = &count->most, *then = &sim.surplus;
    CLAIM(is_within(now->open, limits->max_open, then->open), "max_open is exceeded");
    CLAIM(count->idle == 0 || now->open - count->closing <= limits->max_open,
          "one is idle beyond max_open");
    for (int host = 0; host < HOSTS; host++) {
        unsigned stay = now->here[host] - count->closing_here[host];
        CLAIM(is_within(now->here[host], sim_most_here(host), then->here[host]),
              "max_per_host is exceeded");
        CLAIM(count->idle_here[host] == 0 || stay <= sim_most_here(host),
              "one is idle beyond max_per_host");
        CLAIM(is_within(now->held[host], sim_most_held(host), then->held[host]),
              "max_tunnels is exceeded");
        CLAIM(is_within(now->dials[host], limits->max_connecting, then->dials[host]),
              "max_connecting is exceeded");
        CLAIM(count->idle_here[host] == 0 || (!sim.unwanted[host] && !sim.retired),
              "an idle connection to a host that is not wanted");
    }
    sim.surplus = *now;
}
