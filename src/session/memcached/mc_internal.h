/* SPDX-License-Identifier: ISC */
/* Shared by the files of the memcached session; for mc*.c alone. Names that begin with memcached_
 * are the parser's. Numbers such as M1 are rules of FRAMED.
 *
 *   mc_reply.c    what the upstream's replies mean, and our own
 *   mc_command.c  what the client's commands need
 *   mc_prepare.c  what a connection needs before the first command, and after the last
 *   mc_queue.c    which replies are expected
 *   mc.c          the protocol, and its part of a listener */
#ifndef KAPROXY_MC_INTERNAL_H
#define KAPROXY_MC_INTERNAL_H

#include "memcached/memcached.h"
#include "memcached/memcached_compose.h"
#include "session/batch.h"

/* The first byte on a connection decides its protocol for good. As an identity's first byte; 0:
 * nothing was sent on it yet. */
enum mc_kind { MC_UNKNOWN, MC_TEXT, MC_BINARY, MC_KINDS };

/* A tag's variant: the upstream does not know mn. */
#define MC_WITHOUT_MN 1

/* How long it is remembered that an upstream requires a login. */
#define MC_LOGIN_TIME (60 * USEC_PER_SEC)

/* What is expected, in the order of the commands. The reply to a quiet command (M2) may not
 * come. */
enum mc_what {
    MC_REPLY,   /* the upstream's */
    MC_BARRIER, /* the same, to our own command (M2) */
    MC_LOCAL,   /* our own: `length` bytes follow */
    MC_TUNNEL   /* whatever comes (M4): the command's bytes are still in client->in */
};

struct mc_entry {
    struct memcached_expect expect; /* except of MC_LOCAL */
    uint32_t length;                /* MC_LOCAL */
    uint8_t what;                   /* enum mc_what */
};

struct mc_batch {
    struct batch base;
    struct memcached_command command; /* the one at the front of client->in, or being streamed */
    struct memcached_reply reply;     /* the one being read */
    size_t tunnel_length;             /* of the command that opens a tunnel; 0: unknown */
    bool parsing;                     /* command was begun */
    bool reading;                     /* reply was */
    bool had_quiet;                   /* has quiet commands */
    bool needs_barrier;               /* nothing shows when the last quiet ones are complete (M2) */
    bool relies_on_mn;                /* one of the client's mn does */
    bool uncounted; /* some of these are meta commands, whose replies cannot be counted */
    bool login;     /* opens a tunnel for that (M4) */
};

struct mc_session {
    struct batch_client base;
    struct pool_tag tag; /* of the connections that it can use */
    uint64_t swallow;    /* how much of a rejected command's value is still to come (M5) */
};

struct mc_listener {
    struct batch_listener base;
    usec_t login_until[MC_KINDS]; /* the upstream requires one, as far as we know (M4) */
};

static inline struct mc_session *mc_of(struct client *client)
{
    return container_of(batch_client_of(client), struct mc_session, base);
}

static inline struct mc_batch *mc_batch_of(const struct client *client)
{
    return container_of(batch_of(client), struct mc_batch, base);
}

static inline struct mc_listener *mc_listener_of(const struct client *client)
{
    return client->session.context->of_protocol;
}

static inline enum mc_kind mc_tag_kind(const struct pool_tag *tag)
{
    return (enum mc_kind)tag->identity[0];
}

static inline enum mc_kind mc_kind_of(struct client *client)
{
    return mc_tag_kind(&mc_of(client)->tag);
}

static inline bool mc_is_binary(struct client *client)
{
    return mc_kind_of(client) == MC_BINARY;
}

/* mc_queue.c */

/* Appends an expectation. 0, or -1 with ENOMEM. */
MUST_CHECK int mc_expect(struct client *client, enum mc_what what,
                         const struct memcached_expect *expect);
/* A reply of our own. */
MUST_CHECK int mc_expect_local(struct client *client, const char *data, size_t length);

/* The entry at `at`, which is moved past it. False: none. */
bool mc_queue_next(const struct batch *batch, size_t *at, struct mc_entry *entry);
/* The first entry; there is one. */
struct mc_entry mc_queue_front(const struct batch *batch);
/* The bytes of a MC_LOCAL entry at the front. */
const char *mc_queue_local(const struct batch *batch);
void mc_queue_pop(struct batch *batch);

/* mc_command.c; members of batch_protocol, also below */

enum batch_take mc_take(struct client *client);
ssize_t mc_go_on(struct client *client, const char *data, size_t length, bool *whole);

/* mc_prepare.c */

enum batch_prepare mc_prepare(struct client *client);
int mc_seal(struct client *client);
/* Handles the reply to mc_prepare's question. */
enum step mc_take_first(struct client *client);

/* mc_reply.c */

enum step mc_take_replies(struct client *client);
int mc_answer_rest(struct client *client, const char *text, bool *closes);
/* The same with the words of the upstream, or of the parser: a line's text, and a status. */
int mc_answer_rest_as(struct client *client, const char *error, uint16_t status, bool *closes);

#endif
