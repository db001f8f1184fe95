/* SPDX-License-Identifier: ISC */
/* Replies to our own commands, which the client does not see. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/redis/redis_internal.h"

static bool line_is(const struct resp_head *head, const char *word)
{
    return head->length == strlen(word) && memcmp(head->line, word, head->length) == 0;
}

static bool line_begins(const struct resp_head *head, const char *word)
{
    return head->length >= strlen(word) && memcmp(head->line, word, strlen(word)) == 0;
}

enum redis_says redis_says(const struct resp_head *head)
{
    if (head->type == '-' || head->type == '!')
        return line_begins(head, "EXECABORT") ? SAYS_EXECABORT : SAYS_ERROR;
    if (head->type == '+')
        return line_is(head, "OK") ? SAYS_OK : line_is(head, "RESET") ? SAYS_RESET : SAYS_SOMETHING;
    bool array = head->type == '*' || head->type == '%' || head->type == '~' || head->null;
    return array ? SAYS_ARRAY : SAYS_SOMETHING;
}

bool redis_is_unwelcome(const struct client *client, const struct resp_head *head)
{
    return head->type == '-' && !client->session.allocation.reused &&
           (line_begins(head, "ERR max number of clients") || line_begins(head, "DENIED "));
}

enum step redis_refused_connection(struct client *client, const struct resp_head *head)
{
    struct failure failure = {.function = "connect", .number = ECONNREFUSED};
    snprintf(failure.text, sizeof(failure.text), "the upstream says: %.*s",
             (int)(head->length < 128 ? head->length : 128), head->line);
    session_set_failure(&client->session, &failure);
    return batch_fail_connection(client, &failure);
}

/* RESET does not do what it should: that connection is useless, another one may not be. If it has
 * worked before, the server's behaviour cannot be followed. */
static enum step cannot_reset(struct client *client)
{
    if (batch_of(client)->stage == BATCH_OPEN)
        return batch_fail_malformed(client);
    usec_t now = loop_now(client->session.context->worker.loop);
    redis_listener_of(client)->no_reset_until = now + REDIS_NO_RESET_TIME;
    return batch_start_over(client, DISCARD_UNKNOWN_STATE);
}

/* One of our commands was refused, and the batch is answered with the same error. If nothing else
 * is to be answered on the connection its state is known. */
static enum step refused(struct client *client, const struct resp_head *head, bool known,
                         enum pool_discard reason)
{
    bool closes;
    struct failure failure = {.function = "prepare", .number = EACCES};
    const struct redis_batch *batch = redis_batch_of(client);
    bool alone = batch->ours_done + 1 == batch->ours_count &&
                 buffer_length(&client->exchange->response_in) == head->size;
    char line[1024];
    int n = snprintf(line, sizeof(line), "-%.*s\r\n",
                     (int)(head->length < 900 ? head->length : 900), head->line);
    snprintf(failure.text, sizeof(failure.text), "the upstream says: %.*s",
             (int)(head->length < 128 ? head->length : 128), head->line);
    batch_note_failure(client, &failure);
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
    /* R2: a refused HELLO may have been carried out in part. */
    return refused(client, head, redis_of(client)->state.version == 2, DISCARD_LOGIN_REFUSED);
}

/* The connection has the session's text. */
static enum step take_over(struct client *client, enum redis_soft soft)
{
    const struct redis_text *text = redis_of(client)->state.soft[soft];
    struct redis_text **has = &redis_conn_of(client)->state.soft[soft];
    free(*has);
    *has = text == NULL ? NULL : redis_text_new(text->data, text->length);
    return text != NULL && *has == NULL ? exchange_finish(client, SESSION_ERROR) : STEP_AGAIN;
}

/* A refused text is not one that commands depend on: the session continues without it. A name can
 * have come with HELLO, which requires no permission, or have been set as another user. */
static void forget(struct redis_state *state, enum redis_soft soft)
{
    free(state->soft[soft]);
    state->soft[soft] = NULL;
}

/* One of our commands is answered. STEP_AGAIN: as expected. */
static enum step apply_ours(struct client *client, const struct resp_head *head)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct redis_session *redis = redis_of(client);
    enum redis_ours ours = (enum redis_ours)batch->ours[batch->ours_done];
    enum redis_says verdict = redis_says(head);
    switch (ours) {
    case OURS_RESET:
        if (verdict != SAYS_RESET)
            return cannot_reset(client);
        redis_conn_reset(client, batch->prepared_at);
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
        if (verdict == SAYS_OK)
            return take_over(client, soft);
        forget(&redis->state, soft);
        break;
    }
    case OURS_SELECT:
        if (verdict != SAYS_OK && redis->state.tag.variant == 0) /* where a new one is by default */
            return batch_start_over(client, DISCARD_UNKNOWN_STATE);
        if (verdict != SAYS_OK)
            return refused(client, head, true, DISCARD_UNKNOWN_STATE);
        redis_conn_set_database(client, redis->state.tag.variant);
        break;
    case OURS_COUNT:
        break;
    }
    return STEP_AGAIN;
}

enum step redis_take_ours(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    struct buffer *in = &batch->base.base.response_in;
    struct resp_head head;
    while (batch->ours_done < batch->ours_count) {
        size_t used;
        if (buffer_length(in) == 0)
            return STEP_BLOCKED;
        resp_reply_begin(&batch->reply); /* they are short: each is parsed at once */
        switch (resp_head_parse(&head, buffer_data(in), buffer_length(in))) {
        case RESP_MORE:
            return STEP_BLOCKED;
        case RESP_BAD:
            return batch_fail_malformed(client);
        case RESP_DONE:
            break;
        }
        if (redis_is_unwelcome(client, &head))
            return redis_refused_connection(client, &head);
        switch (resp_reply_feed(&batch->reply, buffer_data(in), buffer_length(in), &used)) {
        case RESP_MORE:
            return buffer_length(in) < BATCH_WHOLE_MAX ? STEP_BLOCKED
                                                       : batch_fail_malformed(client);
        case RESP_BAD:
            return batch_fail_malformed(client);
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
        return batch_fail_malformed(client);
    enum step step = batch_open(client);
    return step == STEP_AGAIN ? STEP_BLOCKED : step;
}
