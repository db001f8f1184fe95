/* What the upstream's replies do, and ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "session/redis/redis_internal.h"

/* What a reply says, as far as it matters. */
enum reply_verdict { SAYS_SOMETHING, SAYS_OK, SAYS_RESET, SAYS_ARRAY, SAYS_EXECABORT, SAYS_ERROR };

static bool line_is(const struct resp_head *head, const char *word)
{
    return head->length == strlen(word) && memcmp(head->line, word, head->length) == 0;
}

static bool line_begins(const struct resp_head *head, const char *word)
{
    return head->length >= strlen(word) && memcmp(head->line, word, strlen(word)) == 0;
}

static enum reply_verdict verdict_of(const struct resp_head *head)
{
    if (head->type == '-' || head->type == '!')
        return line_begins(head, "EXECABORT") ? SAYS_EXECABORT : SAYS_ERROR;
    if (head->type == '+')
        return line_is(head, "OK") ? SAYS_OK : line_is(head, "RESET") ? SAYS_RESET : SAYS_SOMETHING;
    bool array = head->type == '*' || head->type == '%' || head->type == '~' || head->null;
    return array ? SAYS_ARRAY : SAYS_SOMETHING;
}

int redis_expect(struct client *client, enum redis_expected what, const void *data, size_t length)
{
    struct buffer *expected = &batch_of(client)->expected;
    char code = (char)what;
    if (buffer_append(expected, &code, 1) < 0)
        return -1;
    return length > 0 ? buffer_append(expected, data, length) : 0;
}

int redis_expect_local(struct client *client, const char *line, size_t length)
{
    uint32_t size = (uint32_t)length;
    if (redis_expect(client, EXPECT_LOCAL, &size, sizeof(size)) < 0)
        return -1;
    return length > 0 ? buffer_append(&batch_of(client)->expected, line, length) : 0;
}

static enum redis_expected next_of(const struct batch *batch)
{
    return (enum redis_expected)(unsigned char)buffer_data(&batch->expected)[0];
}

static uint32_t number_at(const char *data)
{
    uint32_t number;
    memcpy(&number, data, sizeof(number));
    return number;
}

/* How long the entry at the front is. */
static size_t entry_length(const struct batch *batch)
{
    const char *entry = buffer_data(&batch->expected);
    switch (next_of(batch)) {
    case EXPECT_SELECT:
        return 1 + sizeof(uint32_t);
    case EXPECT_SOFT:
        return 2 + sizeof(uint32_t) + number_at(entry + 2);
    case EXPECT_LOCAL:
        return 1 + sizeof(uint32_t) + number_at(entry + 1);
    case EXPECT_REPLY:
    case EXPECT_AUTH:
    case EXPECT_HELLO:
    case EXPECT_RESET:
    case EXPECT_MULTI:
    case EXPECT_EXEC:
    case EXPECT_DISCARD:
    case EXPECT_WATCH:
    case EXPECT_UNWATCH:
    case EXPECT_TUNNEL:
        break;
    }
    return 1;
}

static void pop(struct batch *batch)
{
    buffer_consume(&batch->expected, entry_length(batch));
}

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

/* The upstream has taken the login, if there was one (R2). 0, or -1 with ENOMEM. */
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

static int said_hello(struct client *client)
{
    struct redis_session *redis = redis_of(client);
    struct redis_batch *batch = redis_batch_of(client);
    const struct redis_text *name = batch->name;
    if (batch->version != 0)
        redis->state.version = batch->version;
    if (name != NULL && set_soft(client, REDIS_NAME, name->data, name->length) < 0)
        return -1;
    return batch->version != 0 ? logged_in(client, batch->version) : 0;
}

static void was_reset(struct client *client)
{
    struct redis_session *redis = redis_of(client);
    redis_conn_reset(client);
    redis_state_reset(&redis->state);
    redis_login_free(redis->login);
    redis->login = NULL;
    /* As if it had just come: what it may do was decided with this. */
    redis->began = redis_conn_of(client)->judged_at;
}

static void select_database(struct client *client)
{
    uint32_t database = number_at(buffer_data(&batch_of(client)->expected) + 1);
    redis_of(client)->state.tag.variant = database;
    redis_conn_set_database(client, database);
}

static void end_transaction(struct redis_conn *conn)
{
    conn->in_multi = conn->watching = false;
}

/* The reply at the front is read: what it has done to connection and session. 0, or -1: no memory.
 */
static int apply(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct redis_conn *conn = redis_conn_of(client);
    enum reply_verdict verdict = (enum reply_verdict)redis_batch_of(client)->verdict;
    const char *entry = buffer_data(&batch->expected);
    bool ok = verdict == SAYS_OK;
    switch (next_of(batch)) {
    case EXPECT_SELECT:
        if (ok)
            select_database(client);
        break;
    case EXPECT_SOFT:
        return ok ? set_soft(client, (enum redis_soft)entry[1], entry + 2 + sizeof(uint32_t),
                             number_at(entry + 2))
                  : 0;
    case EXPECT_AUTH:
        return ok ? logged_in(client, conn->state.version) : 0;
    case EXPECT_HELLO:
        if (verdict == SAYS_ARRAY)
            return said_hello(client);
        exchange_set_unfit(&batch->base, DISCARD_UNKNOWN_STATE); /* R2: some took a part of it */
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

/* Does what comes on a new connection say that there is none to be had (F5)? */
static bool is_unwelcome(const struct client *client, const struct resp_head *head)
{
    return head->type == '-' && !client->session.allocation.reused &&
           (line_begins(head, "ERR max number of clients") || line_begins(head, "DENIED "));
}

static enum step refused_connection(struct client *client, const struct resp_head *head)
{
    struct failure failure = {.function = "connect", .number = ECONNREFUSED};
    snprintf(failure.text, sizeof(failure.text), "the upstream says: %.*s",
             (int)(head->length < 128 ? head->length : 128), head->line);
    session_set_failure(&client->session, &failure);
    return batch_fail_connection(client, &failure);
}

static enum step malformed(struct client *client)
{
    return batch_fail(client, "read: the upstream sent what is no reply", SESSION_BAD_RESPONSE,
                      DISCARD_PROTOCOL_ERROR);
}

/* RESET does not do what it should: that connection is of no use, another one may be. */
static enum step cannot_reset(struct client *client)
{
    usec_t now = loop_now(client->session.context->worker.loop);
    redis_listener_of(client)->no_reset_until = now + REDIS_NO_RESET_TIME;
    return batch_start_over(client, DISCARD_UNKNOWN_STATE);
}

/* Something of ours was refused, and the batch is answered with the same. A connection on which
 * nothing else is to be answered is in the state that is known of it. */
static enum step refused(struct client *client, const struct resp_head *head, bool known,
                         enum pool_discard reason)
{
    bool closes;
    const struct redis_batch *batch = redis_batch_of(client);
    bool alone = batch->ours_done + 1 == batch->ours_count &&
                 buffer_length(&client->exchange->response_in) == head->size;
    char line[1024];
    int n = snprintf(line, sizeof(line), "-%.*s\r\n",
                     (int)(head->length < 900 ? head->length : 900), head->line);
    if (redis_answer_rest_line(client, line, (size_t)n, &closes) < 0)
        return exchange_finish(client, SESSION_ERROR);
    if (known && alone && client->session.context->config->reuse != REUSE_NEVER)
        pool_release(&client->session.allocation, RELEASE_PEEK);
    else
        pool_discard(&client->session.allocation, reason, true);
    buffer_clear(&client->exchange->response_in);
    return batch_answered(client, closes, SESSION_COMPLETE);
}

static enum step refused_login(struct client *client, const struct resp_head *head)
{
    pool_discard_tagged(client->session.context->pool_host, redis_of(client)->state.tag.identity,
                        DISCARD_LOGIN_REFUSED); /* R3 */
    /* R2: a refused HELLO may have done a part of what it was to. */
    return refused(client, head, redis_of(client)->state.version == 2, DISCARD_LOGIN_REFUSED);
}

/* A command of ours is answered. STEP_AGAIN: well. */
static enum step apply_ours(struct client *client, const struct resp_head *head)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct redis_session *redis = redis_of(client);
    struct redis_conn *conn = redis_conn_of(client);
    enum redis_ours ours = (enum redis_ours)batch->ours[batch->ours_done];
    enum reply_verdict verdict = verdict_of(head);
    switch (ours) {
    case OURS_RESET:
        if (verdict != SAYS_RESET)
            return cannot_reset(client);
        redis_conn_reset(client);
        break;
    case OURS_LOGIN:
        if (verdict != SAYS_OK && verdict != SAYS_ARRAY)
            return refused_login(client, head);
        redis_conn_set_identity(client, redis->state.tag.identity, redis->state.version);
        break;
    case OURS_NAME:
    case OURS_LIB_NAME:
    case OURS_LIB_VER: {
        enum redis_soft soft = (enum redis_soft)(ours - OURS_NAME);
        const struct redis_text *text = redis->state.soft[soft];
        if (verdict != SAYS_OK && soft == REDIS_NAME)
            return refused(client, head, true, DISCARD_UNKNOWN_STATE);
        if (verdict == SAYS_OK) {
            free(conn->state.soft[soft]);
            conn->state.soft[soft] = text == NULL ? NULL : redis_text_new(text->data, text->length);
            if (text != NULL && conn->state.soft[soft] == NULL)
                return exchange_finish(client, SESSION_ERROR);
        }
        break;
    }
    case OURS_SELECT:
        if (verdict != SAYS_OK)
            return refused(client, head, true, DISCARD_UNKNOWN_STATE);
        redis_conn_set_database(client, redis->state.tag.variant);
        break;
    case OURS_COUNT:
        break;
    }
    return STEP_AGAIN;
}

/* Replies to commands of ours, which the client does not see. STEP_AGAIN: all are read. */
static enum step take_ours(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct buffer *in = &batch->base.base.response_in;
    struct resp_head head;
    while (batch->ours_done < batch->ours_count) {
        size_t used;
        if (buffer_length(in) == 0)
            return STEP_BLOCKED;
        resp_reply_begin(&batch->reply); /* they are short: each is walked through at once */
        switch (resp_head_parse(&head, buffer_data(in), buffer_length(in))) {
        case RESP_MORE:
            return STEP_BLOCKED;
        case RESP_BAD:
            return malformed(client);
        case RESP_DONE:
            break;
        }
        if (is_unwelcome(client, &head))
            return refused_connection(client, &head);
        switch (resp_reply_feed(&batch->reply, buffer_data(in), buffer_length(in), &used)) {
        case RESP_MORE:
            return buffer_length(in) < BATCH_WHOLE_MAX ? STEP_BLOCKED : malformed(client);
        case RESP_BAD:
            return malformed(client);
        case RESP_DONE:
            break;
        }
        enum step step = apply_ours(client, &head);
        if (step != STEP_AGAIN || client->session.state != SESSION_RELAYING)
            return step == STEP_AGAIN ? STEP_BLOCKED : step;
        batch->ours_done++;
        buffer_consume(in, used);
    }
    resp_reply_begin(&batch->reply);
    if (batch->base.stage != BATCH_PREPARING)
        return STEP_AGAIN;
    if (buffer_length(in) > 0) /* nothing was asked that this could answer */
        return malformed(client);
    enum step step = batch_open(client);
    return step == STEP_AGAIN ? STEP_BLOCKED : step;
}

/* Bytes for the client that come one after the other, from response_in. */
struct run {
    const char *data;
    size_t length;
};

static enum step pass_run(struct client *client, struct run *run)
{
    size_t length = run->length;
    if (length == 0)
        return STEP_AGAIN;
    enum step step = batch_pass_down(client, run->data, length);
    if (step == STEP_AGAIN)
        buffer_consume(&client->exchange->response_in, length);
    run->length = 0;
    return step;
}

static enum step pass_local(struct client *client)
{
    struct batch *batch = batch_of(client);
    const char *entry = buffer_data(&batch->expected);
    enum step step = batch_pass_down(client, entry + 1 + sizeof(uint32_t), number_at(entry + 1));
    if (step == STEP_AGAIN)
        pop(batch);
    return step;
}

/* What comes next is no reply; those before it are. */
static enum step malformed_after(struct client *client, struct run *run)
{
    return pass_run(client, run) == STEP_GONE ? STEP_GONE : malformed(client);
}

/* The next reply begins. STEP_AGAIN: it may be walked through; STEP_YIELD: it is a push. */
static enum step begin_reply(struct client *client, struct run *run, const char *data,
                             size_t length)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct resp_head head;
    bool first = batch->base.base.down_stage == DOWN_NONE;
    if (data[0] == '>')
        return STEP_YIELD;
    /* What an ordinary reply says is of no interest. */
    batch->verdict = SAYS_SOMETHING;
    if (next_of(&batch->base) != EXPECT_REPLY || (first && data[0] == '-')) {
        enum resp_result result = resp_head_parse(&head, data, length);
        if (result != RESP_DONE)
            return result == RESP_MORE ? STEP_BLOCKED : malformed_after(client, run);
        if (first && is_unwelcome(client, &head))
            return refused_connection(client, &head);
        batch->verdict = (uint8_t)verdict_of(&head);
    }
    resp_reply_begin(&batch->reply);
    batch_reply_started(client);
    return STEP_AGAIN;
}

/* A push, among replies: from now on nothing is counted any more (R6). */
static enum step open_for_push(struct client *client)
{
    if (!exchange_is_sent(client->exchange))
        return malformed(client);
    if (!pool_reserve_hold(&client->session.allocation))
        return batch_fail_no_tunnel(client);
    pool_hold(&client->session.allocation);
    return exchange_open_tunnel(client);
}

/* Walks on through the reply at the front. STEP_AGAIN: it is whole; STEP_BLOCKED: not yet. */
static enum step walk(struct client *client, struct run *run)
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
    pop(&batch->base);
    return STEP_AGAIN;
}

enum step redis_take_replies(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct buffer *in = &batch->base.base.response_in;
    enum step step = STEP_AGAIN;
    if (batch->ours_done < batch->ours_count) {
        step = take_ours(client);
        if (step != STEP_AGAIN)
            return step;
    }
    struct run run = {.data = buffer_data(in)};
    while (step == STEP_AGAIN && buffer_length(&batch->base.expected) > 0 &&
           client->session.state != SESSION_DRAINING) {
        if (next_of(&batch->base) == EXPECT_LOCAL) {
            step = pass_run(client, &run);
            if (step == STEP_AGAIN)
                step = pass_local(client);
            run.data = buffer_data(in);
        } else if (run.length < buffer_length(in)) {
            step = walk(client, &run);
        } else {
            step = STEP_BLOCKED;
        }
    }
    if (step == STEP_GONE || client->session.state == SESSION_DRAINING)
        return step; /* it has failed, and all is answered, or cut */
    if (pass_run(client, &run) == STEP_GONE)
        return STEP_GONE;
    if (step == STEP_YIELD)
        return open_for_push(client);
    return STEP_BLOCKED;
}

/* Would what follows a command that we have answered run in the wrong place, or as somebody else?
 */
static bool closes_after(const struct batch *batch)
{
    switch (next_of(batch)) {
    case EXPECT_SELECT:
    case EXPECT_AUTH:
    case EXPECT_HELLO:
    case EXPECT_RESET:
    case EXPECT_MULTI:
    case EXPECT_WATCH:
        return true;
    case EXPECT_TUNNEL:
        return redis_batch_of_batch(batch)->tunnel_length == 0;
    default:
        return false;
    }
}

int redis_answer_rest_line(struct client *client, const char *line, size_t length, bool *closes)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct buffer *expected = &batch->base.expected;
    const struct redis_conn *conn = exchange_is_leased(client) ? redis_conn_of(client) : NULL;
    *closes = conn != NULL && (conn->in_multi || conn->watching);
    while (buffer_length(expected) > 0) {
        const char *entry = buffer_data(expected);
        int done;
        if (next_of(&batch->base) == EXPECT_LOCAL)
            done = buffer_append(&client->down, entry + 1 + sizeof(uint32_t), number_at(entry + 1));
        else
            done = buffer_append(&client->down, line, length);
        if (done < 0)
            return -1;
        *closes = *closes || closes_after(&batch->base);
        pop(&batch->base);
    }
    if (batch->base.tunnel)
        buffer_consume(&client->in, batch->tunnel_length);
    return 0;
}

int redis_answer_rest(struct client *client, const char *text, bool *closes)
{
    char line[512];
    int n = snprintf(line, sizeof(line) - 2, "-ERR kaproxy: %s", text);
    size_t length = (size_t)n < sizeof(line) - 2 ? (size_t)n : sizeof(line) - 3;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    }
    memcpy(line + length, "\r\n", 2);
    return redis_answer_rest_line(client, line, length + 2, closes);
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
