/* SPDX-License-Identifier: ISC */
/* A simulation around the pool's core alone: users, connections and their far sides, without a
 * socket and without a loop, and the time is a number. It does what the core says, at once or later
 * and in any order, as several loops would, and claims what the core owes. There is one
 * instance. */
#ifndef KAPROXY_TESTS_SIM_H
#define KAPROXY_TESTS_SIM_H

/* cmocka requires these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

#include "pool/pool_core.h"

#define HOSTS 6
#define SLOTS 24
#define CONNS 64
#define HANDS 8

/* One user: a request and the lease it turns into. */
struct slot {
    struct core_request request;
    enum { SLOT_FREE, SLOT_ASKED, SLOT_TOLD, SLOT_LEASED } state;
    int host;
    bool fresh, may_hold, holds, tagged;
    struct pool_tag tag;
    usec_t deadline;
};

/* One connection, as its far side and the kernel see it. */
struct conn {
    struct core_conn core;
    enum { PLACE_FREE, PLACE_DIALLED, PLACE_OPEN } state;
    int host;
    bool tcp_connected; /* DIALLED: TCP is connected */
    bool held;
    struct slot *user; /* the user that was given it, or will be */
    enum pool_peek far_side;
    usec_t born, idle_since, idle_end;
    unsigned uses;
    bool retired; /* [46] */
    struct pool_tag tag;
    uint64_t idle_order; /* the greater, the later it became idle */
};

/* Whether a host is down, according to the outcome of its dials [39]. */
struct health {
    unsigned failed; /* dials in a row */
    bool down;
    usec_t tried; /* when a dial failed, or it went down */
};

/* Open, held (or reserved for that), or being dialled. */
struct most {
    unsigned open, here[HOSTS], held[HOSTS], dials[HOSTS];
};

/* Connections as seen from outside, including those about to be dialled. */
struct count {
    struct most most;
    unsigned idle, idle_here[HOSTS];
    unsigned closing, closing_here[HOSTS];
};

/* What the core has said, and is not done yet. */
struct hand {
    struct pool_action action;
    bool full;
};

struct sim {
    uint64_t seed, random;
    unsigned long step;
    usec_t now;
    struct pool_core core;
    struct core_host *hosts[HOSTS]; /* NULL: not made */
    struct slot slots[SLOTS];
    struct conn conns[CONNS];
    struct hand hands[HANDS];
    struct health health[HOSTS];
    enum service service[HOSTS];
    enum service service_to_come; /* of hosts that are made */
    unsigned places[HOSTS], held_places[HOSTS];
    bool unwanted[HOSTS], retired;
    struct most surplus; /* what exceeded the limits after the last step, and has to fall */
    bool changing;       /* limits change, and which hosts are wanted */
    bool eager;          /* does everything immediately, in order */
    bool stormy;         /* most dials fail */
    bool operated;       /* an operator pauses hosts, and the like */
    bool cramped;        /* most ask for one host, which has one place, and tunnels */
    bool closing;
    uint64_t asked, granted, failed, cancelled; /* in this round */
    uint64_t idle_order;                        /* of the last connection that became idle */
    uint64_t settled;                           /* requests that got what suited them least */
    uint64_t refused;                           /* those of hosts that were down */
    uint64_t tries;                             /* dials for these */
    uint64_t useful;                            /* old connections that ended an outage */
    struct pool_stats totals;
};
extern struct sim sim;

#define CLAIM(truth, ...)                                                                          \
    do {                                                                                           \
        if (!(truth)) {                                                                            \
            print_error("# seed %llu step %lu: ", (unsigned long long)sim.seed, sim.step);         \
            fail_msg(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* Random choices, from sim.random on. */
uint64_t sim_random(void);
unsigned sim_below(unsigned limit);
bool sim_percent(unsigned chance);
/* Any slot or connection in this state, or NULL. */
struct slot *sim_pick_slot(int state);
struct conn *sim_pick_conn(int state);

static inline struct conn *sim_conn_of(struct core_conn *conn)
{
    return container_of(conn, struct conn, core);
}

/* Is it in our hands? Then only what was asked of us may be reported for it. */
bool sim_is_in_hand(const struct conn *conn);

/* The request that a connection's event returns: the one that has it, or that fails; NULL: none. */
void sim_granted(struct core_request *request, struct conn *conn);
void sim_failed(struct core_request *request);

/* A dial of this host fails because of the host, or succeeds. */
void sim_dial_failed(int host);
void sim_dial_succeeded(int host);

/* A host is open, paused, or drains from now on; if negative, all hosts, including future ones. */
void sim_set_service(int host, enum service service);
void sim_reconnect(int host);

/* sim_limits.c: limits, places, and which hosts are wanted [48 to 55]. */

/* Limits for a new core. */
struct pool_limits sim_any_limits(void);
void sim_begin_limits(void);
/* The limits change, or one host's places. */
void sim_change_limits(void);
void sim_change_places(int host);
/* One host, or all of them, is wanted, or not. */
void sim_change_wanted(int host);
/* The smaller of max_per_host and the host's places; the same of max_tunnels. */
unsigned sim_most_here(int host);
unsigned sim_most_held(int host);
/* This host is a new one. */
void sim_forget_limits(int host);
/* After each step: no limit is exceeded, except one that was lowered, and then by ever less; and
 * nothing idle is beyond one. */
void sim_check_limits(const struct count *count);

/* The idle connection that the slot's request is to be offered at once, or NULL. If its host is
 * down it may be one that suits it less than a new one [40]. */
struct conn *sim_choose(const struct slot *slot);

/* What a peek finds. */
enum pool_peek sim_peek(const struct conn *conn);

/* Takes what the core says into a free hand, or does it. False: there is nothing to be done, or no
 * hand is free. */
bool sim_take(void);
/* Does what one of the hands has. False: all are empty. */
bool sim_do_one(void);
void sim_do_all(void);

struct core_host *sim_get_host(int number);
void sim_free_hosts(void);

/* The core's own checks, and its limits as seen from outside. */
void sim_check(void);

#endif
