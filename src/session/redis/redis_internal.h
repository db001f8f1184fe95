/* SPDX-License-Identifier: ISC */
/* What the files of the redis session share; for redis*.c alone. Numbers such as R1 are rules of
 * FRAMED.
 *
 *   redis_reply.c    what the upstream's replies do
 *   redis_command.c  what the client's commands need
 *   redis_ours.c     the replies to commands of ours
 *   redis_prepare.c  making a connection good: ours before theirs
 *   redis_queue.c    what is expected of replies
 *   redis_state.c    what a session asked for, and what a connection is in
 *   redis.c          the protocol, and its part of a listener
 */
#ifndef KAPROXY_REDIS_INTERNAL_H
#define KAPROXY_REDIS_INTERNAL_H

#include "resp/resp.h"
#include "resp/resp_commands.h"
#include "session/batch.h"
#include "tls/keyed_digest.h"

/* Soft state that is text (R4). */
enum redis_soft { REDIS_NAME, REDIS_LIB_NAME, REDIS_LIB_VER, REDIS_SOFT_COUNT };

/* A longer one is not remembered: its connection stays its client's. */
#define REDIS_SOFT_MAX 1024

/* How long it is remembered that an upstream does not know RESET. */
#define REDIS_NO_RESET_TIME (60 * USEC_PER_SEC)

struct redis_text {
    uint32_t length;
    char data[];
};

/* Who a session is, as it said so itself. Wiped when it is freed. */
struct redis_login {
    uint32_t user_length, password_length;
    bool is_default; /* AUTH PASSWORD, or user default */
    char data[];     /* user, password */
};

/* What a connection is in, or a session wants one to be in. Its identity and database are in a
 * tag, too, by which the pool chooses. */
struct redis_state {
    struct pool_tag tag; /* identity: of protocol version and login, zero: 2 and none; variant:
                            the database */
    struct redis_text *soft[REDIS_SOFT_COUNT]; /* NULL: not set, or empty */
    uint8_t version;                           /* of the protocol: 2 or 3 */
};

/* Attached to a connection. */
struct redis_conn {
    struct redis_state state;
    usec_t judged_at; /* without login: when the upstream decided what it may do */
    bool knows_reset; /* RESET was answered well */
    bool in_multi;    /* R5 */
    bool watching;
};

/* What is expected next, one byte each, with what follows it. */
enum redis_expected {
    EXPECT_REPLY,  /* whatever it is */
    EXPECT_SELECT, /* uint32_t: the database */
    EXPECT_SOFT,   /* a byte: enum redis_soft; uint32_t: length; the text */
    EXPECT_AUTH,   /* batch->login */
    EXPECT_HELLO,  /* batch->login, version, name */
    EXPECT_RESET,
    EXPECT_REFUSAL, /* what else it may mean nobody knows */
    EXPECT_MULTI,
    EXPECT_EXEC,
    EXPECT_DISCARD,
    EXPECT_WATCH,
    EXPECT_UNWATCH,
    EXPECT_TUNNEL, /* its bytes are in client->in still */
    EXPECT_LOCAL   /* uint32_t: length; the reply, ours */
};

/* Commands of ours, in the order in which they are sent. */
enum redis_ours {
    OURS_RESET,
    OURS_LOGIN,
    OURS_NAME, /* in the order of enum redis_soft */
    OURS_LIB_NAME,
    OURS_LIB_VER,
    OURS_SELECT,
    OURS_COUNT
};

struct redis_batch {
    struct batch base;
    struct resp_command command; /* the one at the front of client->in, or that is streamed */
    struct resp_reply reply;     /* the one that is read */
    struct redis_login *login;   /* AUTH, HELLO: who the client says that it is */
    struct redis_text *name;     /* HELLO: SETNAME; NULL: none */
    struct pool_tag tag;         /* with a login: what the connection is to have */
    size_t tunnel_length;        /* of the command that opens a tunnel; 0: not whole */
    uint8_t version;             /* HELLO's; 0: none */
    uint8_t ours[OURS_COUNT];
    uint8_t ours_count, ours_done;
    usec_t prepared_at; /* when ours were composed */
    uint8_t verdict;    /* of the reply that is read: enum redis_says */
    bool parsing;       /* command was begun */
    bool selects;       /* its one command is SELECT: the database before it is of no interest */
    bool must_select;   /* nothing else may join: the connection is in another database */
    bool wrote;         /* R9; or has opened affinity */
    bool transaction_unsure; /* has MULTI, EXEC or DISCARD */
    bool odd_hello;          /* its version is none that we know */
};

struct redis_session {
    struct batch_client base;
    struct redis_state state; /* what it has asked for */
    struct redis_login *login;
    usec_t began;
};

struct redis_listener {
    struct batch_listener base;
    usec_t no_reset_until; /* the upstream does not know RESET, as far as we know */
};

static inline struct redis_session *redis_of(struct client *client)
{
    return container_of(batch_client_of(client), struct redis_session, base);
}

static inline struct redis_batch *redis_batch_of(const struct client *client)
{
    return container_of(batch_of(client), struct redis_batch, base);
}

static inline const struct redis_batch *redis_batch_of_batch(const struct batch *batch)
{
    return container_of_const(batch, struct redis_batch, base);
}

static inline struct redis_listener *redis_listener_of(const struct client *client)
{
    return client->session.context->of_protocol;
}

/* Of the leased connection; made by redis_prepare. */
static inline struct redis_conn *redis_conn_of(const struct client *client)
{
    return pool_attached(&client->session.allocation);
}

/* redis_state.c */

/* NULL: no memory. */
struct redis_login *redis_login_new(const char *user, size_t user_length, const char *password,
                                    size_t password_length);
void redis_login_free(struct redis_login *login); /* NULL is harmless */

struct redis_text *redis_text_new(const char *data, size_t length); /* NULL: no memory */
bool redis_text_equal(const struct redis_text *a, const struct redis_text *b);

/* The identity of a version and a login, which may be NULL. 0, or -1 with ENOMEM. */
MUST_CHECK int redis_identify(const struct client *client, uint8_t version,
                              const struct redis_login *login,
                              unsigned char identity[POOL_IDENTITY_SIZE]);

/* As RESET leaves it (R7). */
void redis_state_reset(struct redis_state *state);
void redis_state_clear(struct redis_state *state); /* frees what it holds */

/* The leased connection is in this from now on: its tag is the pool's as well. */
void redis_conn_set_identity(struct client *client,
                             const unsigned char identity[POOL_IDENTITY_SIZE], uint8_t version);
void redis_conn_set_database(struct client *client, uint32_t database);
/* RESET, sent then or later, has done its work. */
void redis_conn_reset(struct client *client, usec_t sent_at);

/* Is the leased connection in what the session has asked for, but for the database? */
bool redis_conn_suits(const struct client *client);

/* The leased connection's, made and attached if it has none. NULL: no memory. */
struct redis_conn *redis_conn_get(struct client *client);

/* redis_command.c; batch_protocol's, also below */

enum batch_take redis_take(struct client *client);
ssize_t redis_go_on(struct client *client, const char *data, size_t length, bool *whole);

/* redis_prepare.c */

enum batch_prepare redis_prepare(struct client *client);

/* redis_queue.c: batch->expected */

/* Something is expected, with these bytes behind it. 0, or -1 with ENOMEM. */
MUST_CHECK int redis_expect(struct client *client, enum redis_expected what, const void *data,
                            size_t length);
/* A reply of ours. */
MUST_CHECK int redis_expect_local(struct client *client, const char *line, size_t length);
/* What is next; there is something. */
enum redis_expected redis_next(const struct batch *batch);
void redis_pop(struct batch *batch);
/* The number in these bytes of an entry. */
uint32_t redis_number_at(const char *data);
int redis_answer_rest(struct client *client, const char *text, bool *closes);
/* The same with a whole line. */
int redis_answer_rest_line(struct client *client, const char *line, size_t length, bool *closes);

/* redis_ours.c */

/* What a reply says, as far as it matters. */
enum redis_says { SAYS_SOMETHING, SAYS_OK, SAYS_RESET, SAYS_ARRAY, SAYS_EXECABORT, SAYS_ERROR };
enum redis_says redis_says(const struct resp_head *head);

/* Does what comes on a new connection say that there is none to be had (F5)? Then that is told. */
bool redis_is_unwelcome(const struct client *client, const struct resp_head *head);
enum step redis_refused_connection(struct client *client, const struct resp_head *head);
/* Takes them. STEP_AGAIN: all are read, and the client's commands are sent already. */
enum step redis_take_ours(struct client *client);

/* redis_reply.c */

enum step redis_take_replies(struct client *client);
enum pool_discard redis_verdict(struct client *client, bool *keeps);
bool redis_is_for_client(const struct client *client);

#endif
