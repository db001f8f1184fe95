/* SPDX-License-Identifier: ISC */
/* The state that a session wants, and that of a connection. */
#include <stdlib.h>
#include <string.h>

#include "session/redis/redis_internal.h"

static const char default_user[] = "default";

struct redis_login *redis_login_new(const char *user, size_t user_length, const char *password,
                                    size_t password_length)
{
    struct redis_login *login = malloc(sizeof(*login) + user_length + password_length);
    if (login == NULL)
        return NULL;
    login->user_length = (uint32_t)user_length;
    login->password_length = (uint32_t)password_length;
    login->is_default = user_length == 0 || (user_length == strlen(default_user) &&
                                             memcmp(user, default_user, user_length) == 0);
    memcpy(login->data, user, user_length);
    memcpy(login->data + user_length, password, password_length);
    return login;
}

void redis_login_free(struct redis_login *login)
{
    if (login != NULL)
        explicit_bzero(login, sizeof(*login) + login->user_length + login->password_length);
    free(login);
}

struct redis_text *redis_text_new(const char *data, size_t length)
{
    struct redis_text *text = malloc(sizeof(*text) + length);
    if (text == NULL)
        return NULL;
    text->length = (uint32_t)length;
    memcpy(text->data, data, length);
    return text;
}

bool redis_text_equal(const struct redis_text *a, const struct redis_text *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return a->length == b->length && memcmp(a->data, b->data, a->length) == 0;
}

int redis_identify(const struct client *client, uint8_t version, const struct redis_login *login,
                   unsigned char identity[POOL_IDENTITY_SIZE])
{
    struct keyed_digest *digest = client->session.context->worker.digest;
    struct iovec parts[3] = {{.iov_base = &version, .iov_len = sizeof(version)}};
    int count = 1;
    static_assert(POOL_IDENTITY_SIZE == KEYED_DIGEST_SIZE, "an identity is a digest");
    if (login == NULL && version == 2) {
        memset(identity, 0, POOL_IDENTITY_SIZE);
        return 0;
    }
    if (login != NULL) {
        const char *user = login->is_default ? default_user : login->data;
        size_t length = login->is_default ? strlen(default_user) : login->user_length;
        parts[count++] = (struct iovec){.iov_base = (char *)(uintptr_t)user, .iov_len = length};
        parts[count++] =
            (struct iovec){.iov_base = (char *)(uintptr_t)login->data + login->user_length,
                           .iov_len = login->password_length};
    }
    return keyed_digest_make(digest, parts, count, identity);
}

void redis_state_clear(struct redis_state *state)
{
    for (int i = 0; i < REDIS_SOFT_COUNT; i++) {
        free(state->soft[i]);
        state->soft[i] = NULL;
    }
}

void redis_state_reset(struct redis_state *state)
{
    free(state->soft[REDIS_NAME]);
    state->soft[REDIS_NAME] = NULL; /* the library's name stays */
    state->tag = (struct pool_tag){.variant = 0};
    state->version = 2;
}

static void tell_pool(struct client *client, const struct redis_conn *conn)
{
    pool_set_tag(&client->session.allocation, &conn->state.tag);
}

void redis_conn_set_identity(struct client *client,
                             const unsigned char identity[POOL_IDENTITY_SIZE], uint8_t version)
{
    struct redis_conn *conn = redis_conn_of(client);
    memcpy(conn->state.tag.identity, identity, POOL_IDENTITY_SIZE);
    conn->state.version = version;
    tell_pool(client, conn);
}

void redis_conn_set_database(struct client *client, uint32_t database)
{
    struct redis_conn *conn = redis_conn_of(client);
    conn->state.tag.variant = database;
    tell_pool(client, conn);
}

void redis_conn_reset(struct client *client, usec_t sent_at)
{
    struct redis_conn *conn = redis_conn_of(client);
    redis_state_reset(&conn->state);
    conn->judged_at = sent_at;
    conn->knows_reset = true;
    conn->in_multi = conn->watching = false;
    tell_pool(client, conn);
}

bool redis_conn_suits(const struct client *client)
{
    const struct redis_session *redis =
        container_of_const(client, struct redis_session, base.client);
    const struct redis_state *is = &redis_conn_of(client)->state, *wanted = &redis->state;
    if (!pool_tag_is_of(&is->tag, wanted->tag.identity))
        return false;
    for (int i = 0; i < REDIS_SOFT_COUNT; i++) {
        if (!redis_text_equal(is->soft[i], wanted->soft[i]))
            return false;
    }
    return true;
}

static void free_conn(void *attached)
{
    struct redis_conn *conn = attached;
    redis_state_clear(&conn->state);
    free(conn);
}

struct redis_conn *redis_conn_get(struct client *client)
{
    struct allocation *lease = &client->session.allocation;
    struct redis_conn *conn = pool_attached(lease);
    struct conn_info info;
    if (conn != NULL)
        return conn;
    conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    pool_describe(lease, &info);
    conn->judged_at = info.dialled_at;
    conn->state.version = 2;
    pool_attach(lease, conn, free_conn);
    return conn;
}
