/* SPDX-License-Identifier: ISC */
/* What the files of pool_driver share.
 *
 *   pool_driver.c     reads the scenario, runs its commands, writes the trace
 *   driver_clock.c    the time, which passes only while nothing else happens
 *   driver_peers.c    commands about the far side and about names
 *   driver_pool.c     commands about managers and requests
 *   driver_lease.c    commands about the connection that a request holds
 *
 * A scenario's words are kept here where they differ from the project's: its "server" is a struct
 * upstream, its "manager" a pool, its "request" an allocation with what became of it. */
#ifndef KAPROXY_DRIVER_H
#define KAPROXY_DRIVER_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/queue.h>

#include "net/loop.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "support/names.h"
#include "support/peer.h"

#define DRIVER_NAME_MAX  32
#define DRIVER_WORDS_MAX 64

struct upstream {
    TAILQ_ENTRY(upstream) link;
    char name[DRIVER_NAME_MAX];
    struct peer peer;
};

struct manager {
    TAILQ_ENTRY(manager) link;
    char name[DRIVER_NAME_MAX]; /* "" once dropped */
    struct pool *pool;
};

struct request {
    TAILQ_ENTRY(request) link;
    struct driver *driver;
    struct manager *manager;
    char name[DRIVER_NAME_MAX];
    enum request_state {
        REQUEST_PENDING,
        REQUEST_CANCELLED, /* stays pending forever */
        REQUEST_REFUSED,
        REQUEST_OK,
        REQUEST_ERROR
    } state;
    struct endpoint endpoint;
    struct upstream *upstream;
    struct allocation allocation; /* leased as long as its `stream` is set */
    usec_t started;
    /* The answer. */
    char after[24];
    struct peer_conn *conn; /* what the far side sees of the connection; kept after the lease */
    const char *from_cache;
    char function[32], number[32], text[256];
};

/* "on NAME COMMAND" */
struct action {
    TAILQ_ENTRY(action) link;
    char name[DRIVER_NAME_MAX];
    char *command;
};

struct driver {
    struct loop *loop;
    struct resolver *resolver;
    struct names *names;
    TAILQ_HEAD(upstream_list, upstream) upstreams;
    TAILQ_HEAD(manager_list, manager) managers;
    TAILQ_HEAD(request_list, request) requests; /* oldest first */
    TAILQ_HEAD(action_list, action) actions;
    bool masked;
    bool answering; /* inside an answer */
    /* wait-all holds its lines back to sort them. */
    bool holding;
    char **held;
    size_t held_count;
};

/* A command line, split up. word[0] is the command. */
struct words {
    char *word[DRIVER_WORDS_MAX];
    size_t count;
    const char *line; /* as it was written */
};

typedef void driver_command(struct driver *driver, const struct words *words);

/* pool_driver.c */
void driver_fail(const char *format, ...) PRINTF(1, 2) __attribute__((noreturn));
void *driver_calloc(size_t size);
void driver_name(char name[DRIVER_NAME_MAX], const char *word);
void driver_run(struct driver *driver, const char *line);
/* Lets the loop take one step. */
void driver_step(struct driver *driver);
/* Writes one line of the trace. */
void trace(struct driver *driver, const char *format, ...) PRINTF(2, 3);
void trace_refused(struct driver *driver);
/* A word by its index, "" if the line is too short. */
const char *words_at(const struct words *words, size_t place);
/* The value of "key=value" among the words, or NULL. */
const char *words_value(const struct words *words, const char *key);
/* The same as a time in seconds. */
usec_t words_seconds(const struct words *words, const char *key, usec_t otherwise);
/* Sorts strings and writes them after a prefix, separated by spaces, or `none` if there are
 * none. */
void trace_sorted(struct driver *driver, const char *prefix, const char **texts, size_t count,
                  const char *none);

/* driver_peers.c */
struct upstream *driver_upstream(struct driver *driver, const char *name);
driver_command command_server, command_unblock, command_server_close, command_server_send,
    command_server_state, command_open_total, command_host, command_lookups;

/* driver_pool.c */
struct request *driver_request(struct driver *driver, const char *name);
/* True when there is nothing left to wait for. */
bool request_is_over(const struct request *request);
driver_command command_manager, command_limits, command_allocate, command_deallocate,
    command_shutdown, command_drop, command_stats, command_expect;

/* driver_lease.c */
/* What a connection is called in the trace. */
const char *driver_label(const struct driver *driver, const struct peer_conn *conn);
/* Finds out which connection a request was granted. */
void request_identify(struct request *request);
driver_command command_free, command_close, command_half_close, command_probe, command_local_addr,
    command_conn_set;

#endif
