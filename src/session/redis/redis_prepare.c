/* SPDX-License-Identifier: ISC */
/* Prepares a connection for a session: our commands before the client's (F3). */
#include <stdio.h>
#include <string.h>

#include "session/redis/redis_internal.h"

struct word {
    const char *data;
    size_t length;
};

#define WORD(literal) ((struct word){"" literal, sizeof(literal) - 1})

static struct word word_of(const struct redis_text *text)
{
    return text == NULL ? WORD("") : (struct word){text->data, text->length};
}

/* Appends a command. 0, or -1 with ENOMEM. */
static int put(struct buffer *to, const struct word *words, unsigned count)
{
    char line[32];
    int n = snprintf(line, sizeof(line), "*%u\r\n", count);
    if (buffer_append(to, line, (size_t)n) < 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        n = snprintf(line, sizeof(line), "$%zu\r\n", words[i].length);
        if (buffer_append(to, line, (size_t)n) < 0 ||
            buffer_append(to, words[i].data, words[i].length) < 0 ||
            buffer_append(to, "\r\n", 2) < 0)
            return -1;
    }
    return 0;
}

static void note(struct redis_batch *batch, enum redis_ours ours)
{
    batch->ours[batch->ours_count++] = (uint8_t)ours;
}

static int put_reset(struct redis_batch *batch)
{
    static const char command[] = "*1\r\n$5\r\nRESET\r\n";
    note(batch, OURS_RESET);
    return buffer_append(&batch->base.base.up, command, sizeof(command) - 1);
}

/* Allocates memory for all of ours at once: growing it would leave a part of a password behind. */
static int reserve(struct client *client)
{
    const struct redis_session *redis = redis_of(client);
    size_t size = 512;
    if (redis->login == NULL)
        return 0;
    size += redis->login->user_length + redis->login->password_length;
    for (int i = 0; i < REDIS_SOFT_COUNT; i++)
        size += redis->state.soft[i] == NULL ? 0 : redis->state.soft[i]->length;
    return buffer_reserve(&client->exchange->up, size) == NULL ? -1 : 0;
}

/* The session's version and login. */
static int put_login(struct client *client)
{
    const struct redis_session *redis = redis_of(client);
    const struct redis_login *login = redis->login;
    struct redis_batch *batch = redis_batch_of(client);
    struct buffer *up = &batch->base.base.up;
    struct word words[5];
    unsigned count = 0;
    struct word user = WORD("default"), password = WORD("");
    if (login != NULL) {
        password = (struct word){login->data + login->user_length, login->password_length};
        if (login->user_length > 0)
            user = (struct word){login->data, login->user_length};
        batch->base.base.secret = true;
    }
    note(batch, OURS_LOGIN);
    if (redis->state.version == 3) {
        words[count++] = WORD("HELLO");
        words[count++] = WORD("3");
    }
    if (login != NULL) {
        words[count++] = WORD("AUTH");
        if (redis->state.version == 3 || login->user_length > 0) /* as the client did */
            words[count++] = user;
        words[count++] = password;
    }
    return put(up, words, count);
}

static int put_soft(struct client *client, enum redis_soft soft)
{
    const struct redis_session *redis = redis_of(client);
    struct redis_batch *batch = redis_batch_of(client);
    struct word text = word_of(redis->state.soft[soft]);
    const struct word setname[] = {WORD("CLIENT"), WORD("SETNAME"), text};
    const struct word setinfo[] = {WORD("CLIENT"), WORD("SETINFO"),
                                   soft == REDIS_LIB_NAME ? WORD("LIB-NAME") : WORD("LIB-VER"),
                                   text};
    note(batch, (enum redis_ours)(OURS_NAME + soft));
    return soft == REDIS_NAME ? put(&batch->base.base.up, setname, ARRAY_LEN(setname))
                              : put(&batch->base.base.up, setinfo, ARRAY_LEN(setinfo));
}

static int put_select(struct redis_batch *batch, uint32_t database)
{
    char number[16];
    int n = snprintf(number, sizeof(number), "%u", database);
    const struct word words[] = {WORD("SELECT"), {number, (size_t)n}};
    note(batch, OURS_SELECT);
    return put(&batch->base.base.up, words, ARRAY_LEN(words));
}

/* The library's name only matters if the session sets one (RESET does not change it). */
static bool differs(const struct redis_state *wanted, const struct redis_state *is,
                    enum redis_soft soft, bool reset)
{
    if (soft != REDIS_NAME && wanted->soft[soft] == NULL)
        return false;
    const struct redis_text *has = soft == REDIS_NAME && reset ? NULL : is->soft[soft];
    return !redis_text_equal(wanted->soft[soft], has);
}

/* What a session's own login requires to be prepared before it. */
static bool needs_reset(const struct client *client, const struct redis_conn *conn,
                        const unsigned char identity[POOL_IDENTITY_SIZE])
{
    const struct redis_session *redis =
        container_of_const(client, struct redis_session, base.client);
    if (!pool_tag_is_of(&conn->state.tag, identity))
        return client->session.allocation.reused;
    bool logs_in = redis->login != NULL || redis_batch_of(client)->login != NULL;
    return !logs_in && conn->judged_at < redis->began; /* R1: outdated permissions */
}

static int put_differences(struct client *client, const struct redis_conn *conn, bool reset)
{
    const struct redis_state *wanted = &redis_of(client)->state;
    uint32_t database = reset ? 0 : conn->state.tag.variant;
    bool other = reset || !pool_tag_is_of(&conn->state.tag, wanted->tag.identity);
    bool logs_in = redis_of(client)->login != NULL || wanted->version != 2;
    if (other && logs_in && put_login(client) < 0)
        return -1;
    for (int soft = 0; soft < REDIS_SOFT_COUNT; soft++) {
        if (differs(wanted, &conn->state, (enum redis_soft)soft, reset) &&
            put_soft(client, (enum redis_soft)soft) < 0)
            return -1;
    }
    if (database != wanted->tag.variant && !redis_batch_of(client)->selects)
        return put_select(redis_batch_of(client), wanted->tag.variant);
    return 0;
}

enum batch_prepare redis_prepare(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct redis_conn *conn = redis_conn_get(client);
    if (conn == NULL)
        return BATCH_CANNOT;
    bool logs_in_itself = batch->login != NULL;
    const struct pool_tag *tag = logs_in_itself ? &batch->tag : &redis_of(client)->state.tag;
    bool reset = needs_reset(client, conn, tag->identity);
    usec_t now = loop_now(client->session.context->worker.loop);
    batch->ours_count = batch->ours_done = 0;
    batch->prepared_at = now;
    if (reset && redis_listener_of(client)->no_reset_until > now)
        return BATCH_NEW_CONN; /* one that was dialled since does not need it */
    if (!logs_in_itself && reserve(client) < 0)
        return BATCH_CANNOT;
    if (reset && put_reset(batch) < 0)
        return BATCH_CANNOT;
    if (!logs_in_itself && put_differences(client, conn, reset) < 0)
        return BATCH_CANNOT;
    if (batch->ours_count == 0)
        return BATCH_READY;
    /* RESET has one answer if the server knows it, and need not be awaited (what must be awaited is
     * a refusal, after which the batch would run as another user, or in another database). */
    bool only_reset = batch->ours_count == 1 && reset;
    return only_reset && conn->knows_reset && !batch->base.tunnel ? BATCH_READY : BATCH_AWAIT;
}
