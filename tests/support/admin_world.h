/* SPDX-License-Identifier: ISC */
/* Made-up numbers of a process, two listeners and two hosts, with a matching configuration and
 * snapshot, for tests of what the admin pages are made of. The metrics are named like the real
 * ones. */
#ifndef KAPROXY_ADMIN_WORLD_H
#define KAPROXY_ADMIN_WORLD_H

#include "admin/status_input.h"
#include "config/config.h"

#define WORLD_WEB   "http://127.0.0.1:80"
#define WORLD_RAW   "tcp://db:9"
#define WORLD_NOW   (1000 * USEC_PER_SEC)                /* the monotonic clock at the start */
#define WORLD_START (INT64_C(1800000000) * USEC_PER_SEC) /* 2027-01-15T08:00:00Z */

enum { WORLD_BUSY, WORLD_HELD, WORLD_CONNECTING, WORLD_IDLE, WORLD_CONNECTIONS };
enum {
    WORLD_BLOCK_PROCESS,
    WORLD_BLOCK_DNS,
    WORLD_BLOCK_LOOP,
    WORLD_BLOCK_LOG,
    WORLD_BLOCK_WEB_LISTENER,
    WORLD_BLOCK_RAW_LISTENER,
    WORLD_BLOCK_WEB,
    WORLD_BLOCK_RAW,
    WORLD_BLOCKS
};
enum { WORLD_NONE, WORLD_IMMEDIATE, WORLD_DEFERRED, WORLD_FROM };
enum { WORLD_QUEUE, WORLD_RESOLVE, WORLD_CONNECT, WORLD_FUNCTIONS };

struct world_process {
    struct gauge clients, max_clients, lag, failing[2], names_failing;
    struct counter max_clients_reached, accept_pauses, queries, failures, lines_lost[2];
};

struct world_listener {
    struct counter accepted, bytes[2];
    struct gauge sessions;
    struct histogram exchange;
};

struct world_host {
    struct gauge connections[WORLD_CONNECTIONS], waiting, queued, down;
    struct counter grants[WORLD_FROM], failures[WORLD_FUNCTIONS], refused, dials, discards[2];
    struct histogram wait, connect;
};

struct admin_world {
    struct world_process process;
    struct world_listener web_listener, raw_listener;
    struct world_host web, raw;
    struct metric_block blocks[WORLD_BLOCKS];
    enum admin_life life;
    struct config *config;
    struct reload_stats stats; /* the start was at WORLD_START */
    struct admin_ops ops;
    struct admin_view view;
    struct history *history;
    struct snapshot_host hosts[2]; /* web, raw */
    struct snapshot_listener listeners[2];
    struct snapshot_session sessions[4];
    struct snapshot snapshot; /* without sessions, until session_count is set */
    struct status_input input;
};

/* On the heap, with a history that begins at WORLD_NOW. */
struct admin_world *admin_world_new(void);
void admin_world_free(struct admin_world *world);

/* Time passes, with a copy in the history every 5 s. */
void admin_world_pass(struct admin_world *world, usec_t time);

/* Adds a time, `count` times. */
void admin_world_times(struct histogram *histogram, unsigned count, usec_t time);

/* A dial to this host has just failed, or succeeded. */
void admin_world_dial_fails(struct admin_world *world, struct snapshot_host *host,
                            const struct failure *failure);
void admin_world_dial_works(struct admin_world *world, struct snapshot_host *host);

#endif
