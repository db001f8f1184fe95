/* SPDX-License-Identifier: ISC */
/* What the upstream's replies to the client's commands change. */
#include <stdlib.h>
#include <string.h>

#include "session/redis/redis_internal.h"

/* Both have this text from now on. 0, or -1 with ENOMEM. */
static int set_soft(struct client *client, enum redis_soft soft, const char *data, size_t length)
{
    struct redis_text **of_session = &redis_of(client)->state.soft[soft];
    struct redis_text **of_conn = &redis_conn_of(client)->state.soft[soft];
    struct redis_text *one = NULL, *two = NULL;
    if (length > 0 && ((one = redis_text_new(data, length)) == NULL ||
                       (two = redis_text_new(data, length)) == NULL)) {
        free(one);
        return -1;
    }
    free(*of_session);
    free(*of_conn);
    *of_session = one;
    *of_conn = two;
    return 0;
}

/* The upstream has accepted the login, if there was one (R2). 0, or -1 with ENOMEM. */
static int logged_in(struct client *client, uint8_t conn_version)
{
    struct redis_session *redis = redis_of(client);
    struct redis_batch *batch = redis_batch_of(client);
    unsigned char identity[POOL_IDENTITY_SIZE];
    if (batch->login != NULL) {
        redis_login_free(redis->login);
        redis->login = batch->login;
        batch->login = NULL;
    }
    if (redis_identify(client, conn_version, redis->login, identity) < 0)
        return -1;
    redis_conn_set_identity(client, identity, conn_version);
    return redis_identify(client, redis->state.version, redis->login, redis->state.tag.identity);
}

/* What had to go alone was accepted, and the connection is in the session's state: what the client
 * has sent after it may use the same lease. */
static void go_on(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    const struct redis_conn *conn = redis_conn_of(client);
    batch->selects = false;
    batch->base.full = !redis_conn_suits(client);
    batch->must_select =
        conn->state.tag.variant != redis_of(client)->state.tag.variant && !client->affinity;
}

/* The upstream has understood a command differently: the state of the connection is unknown, and so
 * is what the client takes it for. */
static void lose_track(struct client *client)
{
    struct batch *batch = batch_of(client);
    exchange_set_unfit(&batch->base, DISCARD_UNKNOWN_STATE);
    batch->full = true;
    client->last = true;
}

static int said_hello(struct client *client)
{
    struct redis_session *redis = redis_of(client);
    struct redis_batch *batch = redis_batch_of(client);
    const struct redis_text *name = batch->name;
    if (batch->odd_hello) {
        lose_track(client);
        return 0;
    }
    if (batch->version != 0)
        redis->state.version = batch->version;
    if (name != NULL && set_soft(client, REDIS_NAME, name->data, name->length) < 0)
        return -1;
    if (batch->version != 0 && logged_in(client, batch->version) < 0)
        return -1;
    go_on(client);
    return 0;
}

/* Some servers have carried out a part of it by then (R2). */
static int refused_hello(struct client *client)
{
    exchange_set_unfit(client->exchange, DISCARD_UNKNOWN_STATE);
    return 0;
}

static void was_reset(struct client *client)
{
    struct redis_session *redis = redis_of(client);
    redis_conn_reset(client, redis_batch_of(client)->base.opened_at);
    redis_state_reset(&redis->state);
    redis_login_free(redis->login);
    redis->login = NULL;
    /* As if it were new: its permissions were decided with this. */
    redis->began = redis_conn_of(client)->judged_at;
}

static void select_database(struct client *client)
{
    uint32_t database = redis_number_at(buffer_data(&batch_of(client)->expected) + 1);
    redis_of(client)->state.tag.variant = database;
    redis_conn_set_database(client, database);
}

static void end_transaction(struct redis_conn *conn)
{
    conn->in_multi = conn->watching = false;
}

/* The reply at the front was read: applies what it changes of connection and session. 0, or -1: out
 * of memory. */
static int apply(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct redis_conn *conn = redis_conn_of(client);
    enum redis_says verdict = (enum redis_says)redis_batch_of(client)->verdict;
    const char *entry = buffer_data(&batch->expected);
    bool ok = verdict == SAYS_OK;
    switch (redis_next(batch)) {
    case EXPECT_SELECT:
        if (ok)
            select_database(client);
        if (ok && redis_batch_of(client)->selects)
            go_on(client);
        break;
    case EXPECT_SOFT:
        return ok ? set_soft(client, (enum redis_soft)entry[1], entry + 2 + sizeof(uint32_t),
                             redis_number_at(entry + 2))
                  : 0;
    case EXPECT_AUTH:
        if (ok && logged_in(client, conn->state.version) < 0)
            return -1;
        if (ok)
            go_on(client);
        break;
    case EXPECT_HELLO:
        return verdict == SAYS_ARRAY ? said_hello(client) : refused_hello(client);
    case EXPECT_REFUSAL:
        if (verdict != SAYS_ERROR)
            lose_track(client);
        break;
    case EXPECT_RESET:
        if (verdict == SAYS_RESET)
            was_reset(client);
        break;
    case EXPECT_MULTI:
        conn->in_multi = conn->in_multi || ok;
        break;
    case EXPECT_EXEC:
        if (verdict == SAYS_ARRAY || verdict == SAYS_EXECABORT)
            end_transaction(conn);
        break;
    case EXPECT_DISCARD:
        if (ok)
            end_transaction(conn);
        break;
    case EXPECT_WATCH:
        conn->watching = conn->watching || ok;
        break;
    case EXPECT_UNWATCH:
        conn->watching = conn->watching && !ok;
        break;
    case EXPECT_REPLY:
    case EXPECT_TUNNEL:
    case EXPECT_LOCAL:
        break;
    }
    return 0;
}

static enum step pass_local(struct client *client)
{
    struct batch *batch = batch_of(client);
    const char *entry = buffer_data(&batch->expected);
    uint32_t length = redis_number_at(entry + 1);
    if (batch_put_down(client, entry + 1 + sizeof(uint32_t), length) < 0)
        return exchange_finish(client, SESSION_ERROR);
    if (length > 0)
        session_count_local_reply(&client->session);
    redis_pop(batch);
    return STEP_AGAIN;
}

/* What comes next is not a reply; what precedes it is. */
static enum step malformed_after(struct client *client, struct batch_run *run)
{
    return batch_pass_run(client, run) == STEP_GONE ? STEP_GONE : batch_fail_malformed(client);
}

/* The next reply begins. STEP_AGAIN: it can be parsed; STEP_YIELD: it is a push. */
static enum step begin_reply(struct client *client, struct batch_run *run, const char *data,
                             size_t length)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct resp_head head;
    bool first = batch->base.base.down_stage == DOWN_NONE;
    if (data[0] == '>')
        return STEP_YIELD;
    /* The contents of an ordinary reply do not matter. */
    batch->verdict = SAYS_SOMETHING;
    if (redis_next(&batch->base) != EXPECT_REPLY || (first && data[0] == '-')) {
        enum resp_result result = resp_head_parse(&head, data, length);
        if (result != RESP_DONE)
            return result == RESP_MORE ? STEP_BLOCKED : malformed_after(client, run);
        if (first && redis_is_unwelcome(client, &head))
            return redis_refused_connection(client, &head);
        batch->verdict = (uint8_t)redis_says(&head);
    }
    resp_reply_begin(&batch->reply);
    batch_reply_started(client);
    return STEP_AGAIN;
}

/* A push among replies: from now on nothing is counted (R6). */
static enum step open_for_push(struct client *client)
{
    if (!exchange_is_sent(client->exchange) || relay_keeps(&client->exchange->bulk_down))
        return batch_fail_malformed(client);
    if (!pool_reserve_hold(&client->session.allocation))
        return batch_fail_no_tunnel(client);
    pool_hold(&client->session.allocation);
    return exchange_open_tunnel(client);
}

/* Parses more of the reply at the front. STEP_AGAIN: it is complete; STEP_BLOCKED: not yet. */
static enum step walk(struct client *client, struct batch_run *run)
{
    struct redis_batch *batch = redis_batch_of(client);
    const struct buffer *in = &batch->base.base.response_in;
    size_t used, left = buffer_length(in) - run->length;
    const char *data = run->data + run->length;
    if (!batch->base.reply_begun) {
        enum step step = begin_reply(client, run, data, left);
        if (step != STEP_AGAIN || client->session.state != SESSION_RELAYING)
            return step;
    }
    enum resp_result result = resp_reply_feed(&batch->reply, data, left, &used);
    run->length += used;
    batch->base.reply_begun = batch->base.reply_begun || used > 0;
    if (result == RESP_BAD)
        return malformed_after(client, run);
    if (result == RESP_MORE)
        return STEP_BLOCKED;
    batch->base.reply_begun = false;
    if (apply(client) < 0)
        return exchange_finish(client, SESSION_ERROR);
    redis_pop(&batch->base);
    return STEP_AGAIN;
}

enum step redis_take_replies(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct buffer *in = &batch->base.base.response_in;
    enum step step = STEP_AGAIN;
    if (batch->ours_done < batch->ours_count) {
        step = redis_take_ours(client);
        if (step != STEP_AGAIN)
            return step;
    }
    struct batch_run run = batch_run_begin(client);
    while (step == STEP_AGAIN && buffer_length(&batch->base.expected) > 0 &&
           client->session.state != SESSION_DRAINING) {
        if (redis_next(&batch->base) == EXPECT_LOCAL) {
            step = batch_pass_run(client, &run);
            if (step == STEP_AGAIN)
                step = pass_local(client);
        } else if (run.length < buffer_length(in)) {
            step = walk(client, &run);
        } else {
            step = STEP_BLOCKED;
        }
    }
    if (step == STEP_GONE || client->session.state == SESSION_DRAINING)
        return step; /* it has failed, and everything is answered, or truncated */
    if (batch_pass_run(client, &run) == STEP_GONE)
        return STEP_GONE;
    if (step == STEP_YIELD)
        return open_for_push(client);
    return STEP_BLOCKED;
}

enum pool_discard redis_verdict(struct client *client, bool *keeps)
{
    const struct redis_conn *conn = redis_conn_of(client);
    *keeps = conn->in_multi || conn->watching;
    return POOL_DISCARD_COUNT;
}

bool redis_is_for_client(const struct client *client)
{
    return buffer_data(&client->exchange->response_in)[0] == '>';
}
