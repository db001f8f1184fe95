/* SPDX-License-Identifier: ISC */
/* The server of the admin pages, on its own base, with the test as the loop: what the server asks
 * for is answered when the test chooses. A program that links this is linked with
 * --wrap=clock_gettime, for a clock that the test sets ahead. */
#ifndef KAPROXY_ADMIN_SERVER_H
#define KAPROXY_ADMIN_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "admin/admin.h"

#define SERVER_SOCKETS 2

extern time_t server_ahead; /* of our own clock, in seconds */

struct server {
    struct event_base *base;
    struct config *config; /* a listener "a" */
    struct admin *admin;
    struct bound_socket *sockets[SERVER_SOCKETS]; /* both are open; it begins with the first one */
    char paths[SERVER_SOCKETS][64];
    struct admin_ops ops;
    struct admin_view view; /* generation 1, without blocks */
    struct reload_stats stats;
    int descriptors;
    /* What was asked for, and how often. */
    struct snapshot_request *snapshot;
    struct command *command;
    TAILQ_HEAD(, admin_reload) reloads;
    unsigned snapshots, commands, reload_count, pings;
    usec_t unanswered;
};

/* With [admin], whose further lines are `keys`. */
void server_start(struct server *server, const char *keys);
/* The same, except for admin_start, which has not been called. */
void server_prepare(struct server *server, const char *keys);
/* Nothing may be unanswered. Checks that nothing is left of it. */
void server_end(struct server *server);

/* A few iterations of its base, none of which waits. */
void server_turn(struct server *server);

/* A client of the first socket, or of another one, that has sent a request. */
int server_ask(struct server *server, const char *request);
int server_ask_at(struct server *server, unsigned socket, const char *request);

#define SERVER_GET   "GET /status HTTP/1.1\r\nConnection: close\r\n\r\n"
#define SERVER_READY "GET /readyz HTTP/1.0\r\n\r\n"
#define SERVER_POST(path)                                                                          \
    "POST /" path " HTTP/1.1\r\nKaproxy-Control: yes\r\nConnection: close\r\n\r\n"

/* Until bytes, or the end, have arrived. */
void server_wait_for(struct server *server, int fd);

/* It must be there by now; closes the client's end. */
void assert_answer(int fd, const char *words);
void assert_end(int fd);
void assert_no_answer(int fd);

/* The loop answers. */
void server_answer_snapshot(struct server *server, uint64_t generation);
void server_answer_command(struct server *server, int status);
/* All reloads requested so far. */
void server_answer_reloads(struct server *server, bool ok, const char *text);

#endif
