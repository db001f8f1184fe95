/* SPDX-License-Identifier: ISC */
/* Shared by the files of the c-ares back end; for them only.
 *
 *   resolver_ares.c          channels: c-ares with one configuration, on the loop
 *   resolver_ares_request.c  one query: the hosts file, then the search list, both families
 *   resolver_ares_socket.c   c-ares' system calls, to see which server answers with a failure */
#ifndef KAPROXY_RESOLVER_ARES_INTERNAL_H
#define KAPROXY_RESOLVER_ARES_INTERNAL_H

#include <ares.h>
#include <sys/stat.h>

#include "net/resolver.h"
#include "net/search_list.h"

/* c-ares with the configuration of one moment. It cannot load another one (before 1.22), so a
 * change creates a new channel, and the old one is freed with its last user. */
struct channel {
    TAILQ_ENTRY(channel) link;
    struct backend *backend;
    ares_channel ares; /* asks only DNS, for full names */
    struct search_list search;
    char servers[128];  /* for messages: the servers in use */
    struct timer timer; /* c-ares' next timeout */
    TAILQ_HEAD(, channel_socket) sockets;
    unsigned users;  /* requests, pairs of queries, and the backend for the first one */
    struct task end; /* posted: the last user is gone */
};

struct backend {
    struct resolver_backend base;
    struct loop *loop;
    char *servers;     /* from the options, or NULL */
    char *resolv_conf; /* the file's path */
    bool hosts_by_environment;
    ares_channel hosts;             /* reads only the hosts file */
    TAILQ_HEAD(, channel) channels; /* the first one serves new requests */
    TAILQ_HEAD(, request) requests;
    struct stat seen; /* the file as it was just before the first channel was created */
    usec_t check_at;  /* time of the next check */
};

/* resolver_ares.c */

/* The channel for a new request; it has one more user. */
struct channel *resolver_ares_channel_get(struct backend *backend);

/* It has one user less, and may be freed. Not from within c-ares. */
void resolver_ares_channel_put(struct channel *channel);

/* To be called after each c-ares call that may have changed its timeouts. */
void resolver_ares_channel_update_timer(struct channel *channel);

/* resolver_ares_socket.c */

/* From now on requests learn of failure codes in servers' answers. */
void resolver_ares_channel_watch_answers(struct channel *channel);

/* resolver_ares_request.c */

/* A server has answered a question for this name and record type with this code (RCODE). */
void resolver_ares_requests_note_code(const struct channel *channel, const char *name, int type,
                                      unsigned code);

/* Begins to answer a query. 0, or -1 with errno. */
MUST_CHECK int resolver_ares_request_start(struct backend *backend, struct query *query,
                                           const char *name);

/* Drops everything under way. c-ares must have answered everything, its channels being
 * destroyed. */
void resolver_ares_requests_end(struct backend *backend);

#endif
