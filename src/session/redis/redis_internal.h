/* SPDX-License-Identifier: ISC */
/* Shared by the files of the redis session; for redis*.c alone. Numbers such as R1 are rules of
 * FRAMED.
 *
 *   redis_reply.c    what the upstream's replies change
 *   redis_command.c  what the client's commands need
 *   redis_ours.c     the replies to our own commands
 *   redis_prepare.c  preparing a connection: our commands before the client's
 *   redis_queue.c    which replies are expected
 *   redis_state.c    the state that a session wants, and that of a connection
 *   redis.c          the protocol, and its part of a listener */
#ifndef KAPROXY_REDIS_INTERNAL_H
#define KAPROXY_REDIS_INTERNAL_H

#include "resp/resp.h"
#include "resp/resp_commands.h"
#include "session/batch.h"
#include "tls/keyed_digest.h"

/* Soft state that is text (R4). */
enum redis_soft { REDIS_NAME, REDIS_LIB_NAME, REDIS_LIB_VER, REDIS_SOFT_COUNT };

/* A longer one is not remembered: its connection stays with its client. */
#define REDIS_SOFT_MAX 1024

/* How long it is remembered that an upstream does not know RESET. */
#define REDIS_NO_RESET_TIME (60 * USEC_PER_SEC)

struct redis_text {
    uint32_t length;
    char data[];
};

/* Who a session is, in its own words. Wiped when it is freed. */
struct redis_login {
    uint32_t user_length, password_length;
    bool is_default; /* AUTH PASSWORD, or user default */
    char data[];     /* user, password */
};

/* The state of a connection, or the one that a session wants. Its identity and database are also in
 * a tag, by which the pool chooses. */
struct redis_state {
    struct pool_tag tag; /* identity: of protocol version and login, zero: 2 and none; variant:
                            the database */
    struct redis_text *soft[REDIS_SOFT_COUNT]; /* NULL: not set, or empty */
    uint8_t version;                           /* protocol version: 2 or 3 */
};

/* Attached to a connection. */
struct redis_conn {
    struct redis_state state;
    usec_t judged_at; /* without login: when the upstream decided its permissions */
    bool knows_reset; /* RESET was answered as expected */
    bool in_multi;    /* R5 */
    bool watching;
};

/* What is expected next, one byte each, followed by its data. */
enum redis_expected {
    EXPECT_REPLY,  /* any reply */
    EXPECT_SELECT, /* uint32_t: the database */
    EXPECT_SOFT,   /* a byte: enum redis_soft; uint32_t: length; the text */
    EXPECT_AUTH,   /* as batch->login */
    EXPECT_HELLO,  /* as batch->login, version, name */
    EXPECT_RESET,
    EXPECT_REFUSAL, /* what else it may mean is unknown */
    EXPECT_MULTI,
    EXPECT_EXEC,
    EXPECT_DISCARD,
    EXPECT_WATCH,
    EXPECT_UNWATCH,
    EXPECT_TUNNEL, /* its bytes are still in client->in */
    EXPECT_LOCAL   /* uint32_t: length; the reply, our own */
};

/* Our own commands, in the order in which they are sent. */
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
    struct resp_command command; /* the one at the front of client->in, or being streamed */
    struct resp_reply reply;     /* the one being read */
    struct redis_login *login;   /* AUTH, HELLO: who the client says it is */
    struct redis_text *name;     /* HELLO: SETNAME; NULL: none */
    struct pool_tag tag;         /* with a login: the tag that the connection will have */
    size_t tunnel_length;        /* of the command that opens a tunnel; 0: incomplete */
    uint8_t version;             /* HELLO's; 0: none */
    uint8_t ours[OURS_COUNT];
    uint8_t ours_count, ours_done;
    usec_t prepared_at; /* when our own commands were composed */
    uint8_t verdict;    /* of the reply being read: enum redis_says */
    bool parsing;       /* command was begun */
    bool selects;       /* its one command is SELECT: the database before it is of no interest */
    bool must_select;   /* its only command is SELECT: the database before it does not matter */
    bool wrote;         /* nothing else may join: the connection is in another database */
    bool transaction_unsure; /* R9; or has started affinity */
    bool odd_hello;          /* its version is none that we know */
};

struct redis_session {
    struct batch_client base;
    struct redis_state state; /* its version is unknown to us */
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

/* Of the leased connection; created by redis_prepare. */
static inline struct redis_conn *redis_conn_of(const struct client *client)
{
    return pool_attached(&client->session.allocation);
}

/* redis_state.c */

/* NULL: out of memory. */
struct redis_login *redis_login_new(const char *user, size_t user_length, const char *password,
                                    size_t password_length);
void redis_login_free(struct redis_login *login); /* NULL is harmless */

struct redis_text *redis_text_new(const char *data, size_t length); /* NULL: out of memory */
bool redis_text_equal(const struct redis_text *a, const struct redis_text *b);

/* The identity of a version and a login, which may be NULL. 0, or -1 with ENOMEM. */
MUST_CHECK int redis_identify(const struct client *client, uint8_t version,
                              const struct redis_login *login,
                              unsigned char identity[POOL_IDENTITY_SIZE]);

/* As RESET leaves it (R7). */
void redis_state_reset(struct redis_state *state);
void redis_state_clear(struct redis_state *state); /* frees its contents */

/* The state of the leased connection from now on: its tag is also the pool's. */
void redis_conn_set_identity(struct client *client,
                             const unsigned char identity[POOL_IDENTITY_SIZE], uint8_t version);
void redis_conn_set_database(struct client *client, uint32_t database);
/* RESET, sent then or later, has taken effect. */
void redis_conn_reset(struct client *client, usec_t sent_at);

/* Is the leased connection in the state that the session wants, apart from the database? */
bool redis_conn_suits(const struct client *client);

/* The leased connection's, created and attached if it has none. NULL: out of memory. */
struct redis_conn *redis_conn_get(struct client *client);

/* redis_command.c; members of batch_protocol, also below */

enum batch_take redis_take(struct client *client);
ssize_t redis_go_on(struct client *client, const char *data, size_t length, bool *whole);

/* redis_prepare.c */

enum batch_prepare redis_prepare(struct client *client);

/* redis_queue.c: batch->expected */

/* Appends an expectation, followed by these bytes. 0, or -1 with ENOMEM. */
MUST_CHECK int redis_expect(struct client *client, enum redis_expected what, const void *data,
                            size_t length);
/* A reply of our own. */
MUST_CHECK int redis_expect_local(struct client *client, const char *line, size_t length);
/* The next one; there is one. */
enum redis_expected redis_next(const struct batch *batch);
void redis_pop(struct batch *batch);
/* The number in these bytes of an entry. */
uint32_t redis_number_at(const char *data);
int redis_answer_rest(struct client *client, const char *text, bool *closes);
/* The same with an entire line. */
int redis_answer_rest_line(struct client *client, const char *line, size_t length, bool *closes);

/* redis_ours.c */

/* What a reply says, as far as it matters. */
enum redis_says { SAYS_SOMETHING, SAYS_OK, SAYS_RESET, SAYS_ARRAY, SAYS_EXECABORT, SAYS_ERROR };
enum redis_says redis_says(const struct resp_head *head);

/* Does what arrives on a new connection say that none is available (F5)? Then that is reported. */
bool redis_is_unwelcome(const struct client *client, const struct resp_head *head);
enum step redis_refused_connection(struct client *client, const struct resp_head *head);
/* Takes them. STEP_AGAIN: all were read, and the client's commands are sent already. */
enum step redis_take_ours(struct client *client);

/* redis_reply.c */

enum step redis_take_replies(struct client *client);
enum pool_discard redis_verdict(struct client *client, bool *keeps);
bool redis_is_for_client(const struct client *client);

#endif
