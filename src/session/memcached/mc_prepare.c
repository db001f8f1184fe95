/* SPDX-License-Identifier: ISC */
/* What a connection needs before the first command, and after the last (M2, M4). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "session/memcached/mc_internal.h"

/* Servers that only speak the text protocol wait for the end of a line: with one in it they answer
 * too. */
#define FIRST_OPAQUE "kp\r\n"

static const char unauthenticated[] = "CLIENT_ERROR unauthenticated";

static uint32_t first_opaque(void)
{
    uint32_t opaque;
    memcpy(&opaque, FIRST_OPAQUE, sizeof(opaque));
    return opaque;
}

/* A new connection is checked for whether it can be used. In the binary protocol by NOOP, since
 * servers answer VERSION even without a login. */
enum batch_prepare mc_prepare(struct client *client)
{
    enum mc_kind kind = mc_tag_kind(pool_get_tag(&client->session.allocation));
    struct buffer *up = &client->exchange->up;
    char out[MEMCACHED_HEAD_SIZE];
    if (mc_batch_of(client)->login || kind == mc_kind_of(client))
        return BATCH_READY;
    if (kind != MC_UNKNOWN)
        return BATCH_NEW_CONN;
    const char *question = MEMCACHED_VERSION_LINE;
    size_t length = strlen(question);
    if (mc_is_binary(client)) {
        length = memcached_compose_noop(out, first_opaque());
        question = out;
    }
    return buffer_append(up, question, length) < 0 ? BATCH_CANNOT : BATCH_AWAIT;
}

/* The connection is used from now on. */
static void set_conn(struct client *client, uint32_t variant)
{
    struct pool_tag tag = mc_of(client)->tag;
    tag.variant = variant;
    pool_set_tag(&client->session.allocation, &tag);
}

/* mn came with 1.6, or shortly before. */
static bool is_without_mn(const char *line, size_t length)
{
    static const char old[] = "VERSION 1.";
    size_t at = strlen(old);
    return length > at + 1 && memcmp(line, old, at) == 0 && line[at] < '6' && line[at + 1] == '.';
}

static enum step refused_connection(struct client *client, const char *line, size_t length)
{
    struct failure failure = {.function = "connect", .number = ECONNREFUSED};
    snprintf(failure.text, sizeof(failure.text), "the upstream says: %.*s",
             (int)(length < 128 ? length : 128), line);
    session_set_failure(&client->session, &failure);
    return batch_fail_connection(client, &failure);
}

/* Is the batch exactly what the client has sent? */
static bool is_as_it_came(const struct batch *batch)
{
    struct mc_entry entry;
    size_t at = 0;
    while (mc_queue_next(batch, &at, &entry)) {
        if (entry.what != MC_REPLY && entry.what != MC_TUNNEL)
            return false;
    }
    return true;
}

/* The upstream requires a login: what the client has sent goes unchanged to a new connection, and
 * what follows is not interpreted. */
static enum step ask_for_login(struct client *client)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct buffer *held = &batch->base.held;
    struct memcached_expect expect = {0};
    usec_t now = loop_now(client->session.context->worker.loop);
    const char *error = mc_is_binary(client) ? "Auth failure." : unauthenticated;
    bool closes;
    mc_listener_of(client)->login_until[mc_kind_of(client)] = now + MC_LOGIN_TIME;
    if (!is_as_it_came(&batch->base)) {
        if (mc_answer_rest_as(client, error, MEMCACHED_STATUS_AUTH, &closes) < 0)
            return exchange_finish(client, SESSION_ERROR);
        pool_discard(&client->session.allocation, DISCARD_NOT_REUSABLE, true);
        return batch_answered(client, true, SESSION_COMPLETE);
    }
    if (buffer_length(&batch->base.expected) > 0)
        expect = mc_queue_front(&batch->base).expect;
    expect.quiet = false;
    buffer_clear(&batch->base.expected);
    if (buffer_append(held, buffer_data(&client->in), buffer_length(&client->in)) < 0 ||
        mc_expect(client, MC_TUNNEL, &expect) < 0)
        return exchange_finish(client, SESSION_ERROR);
    buffer_clear(&client->in);
    client->in = *held;
    *held = (struct buffer){0};
    batch->login = batch->base.fresh = batch->base.tunnel = batch->base.needs_hold = true;
    batch->base.full = true;
    batch->base.streaming = batch->needs_barrier = false;
    return batch_start_over(client, DISCARD_NOT_REUSABLE);
}

/* The question is answered by a complete line or packet. STEP_AGAIN: as expected. */
static enum step judge(struct client *client, const char *data, size_t length)
{
    const struct memcached_reply *reply = &mc_batch_of(client)->reply;
    bool packet = reply->expect.reply == MEMCACHED_PACKET;
    size_t skip = packet ? MEMCACHED_HEAD_SIZE : 0;
    if (!packet)
        length -= strlen("\r\n");
    if (!reply->is_error) {
        bool without = !packet && is_without_mn(data, length);
        mc_listener_of(client)->login_until[mc_kind_of(client)] = 0;
        set_conn(client, without ? MC_WITHOUT_MN : 0);
        return STEP_AGAIN;
    }
    bool login = packet ? reply->status == MEMCACHED_STATUS_AUTH
                        : !mc_is_binary(client) && length == strlen(unauthenticated) &&
                              memcmp(data, unauthenticated, length) == 0;
    return login ? ask_for_login(client) : refused_connection(client, data + skip, length - skip);
}

enum step mc_take_first(struct client *client)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct buffer *in = &batch->base.base.response_in;
    struct memcached_expect expect = {.opcode = MEMCACHED_OPCODE_NOOP, .opaque = first_opaque()};
    struct memcached_head head;
    size_t used, length = buffer_length(in);
    if (length == 0)
        return STEP_BLOCKED;
    bool packet =
        mc_is_binary(client) && memcached_head_parse(&head, buffer_data(in), 1) != MEMCACHED_BAD;
    expect.reply = packet ? MEMCACHED_PACKET : MEMCACHED_VERSION;
    memcached_reply_begin(&batch->reply, &expect); /* short: it is parsed at once */
    switch (memcached_reply_feed(&batch->reply, buffer_data(in), length, &used)) {
    case MEMCACHED_MORE:
        return length < BATCH_WHOLE_MAX ? STEP_BLOCKED : batch_fail_malformed(client);
    case MEMCACHED_BAD:
        return batch_fail_malformed(client);
    case MEMCACHED_DONE:
        break;
    }
    enum step step = judge(client, buffer_data(in), used);
    if (step != STEP_AGAIN || client->session.state != SESSION_RELAYING)
        return step == STEP_AGAIN ? STEP_BLOCKED : step;
    if (used < length) /* nothing was asked that this could answer */
        return batch_fail_malformed(client);
    buffer_consume(in, used);
    step = batch_open(client);
    return step == STEP_AGAIN ? STEP_BLOCKED : step;
}

/* NOOP's opaque, which identifies its reply: none that the client waits for has it. */
static uint32_t barrier_opaque(const struct batch *batch)
{
    /* There are fewer entries than values, so one is free. */
    enum { CANDIDATES = BATCH_EXPECTED_MAX / sizeof(struct mc_entry) + BATCH_COMMANDS_MAX };
    bool used[CANDIDATES] = {false};
    uint32_t first = first_opaque(), i = 0;
    struct mc_entry entry;
    size_t at = 0;
    while (mc_queue_next(batch, &at, &entry)) {
        if (entry.what != MC_LOCAL && entry.expect.opaque - first < CANDIDATES)
            used[entry.expect.opaque - first] = true;
    }
    while (i < CANDIDATES - 1 && used[i])
        i++;
    return first + i;
}

int mc_seal(struct client *client)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct memcached_expect expect = {.reply = MEMCACHED_MN, .traits = MEMCACHED_BARRIER};
    bool without_mn = pool_get_tag(&client->session.allocation)->variant == MC_WITHOUT_MN;
    const char *barrier = MEMCACHED_MN_LINE;
    size_t length = strlen(barrier);
    char noop[MEMCACHED_HEAD_SIZE];
    if (!batch->needs_barrier && !(batch->relies_on_mn && without_mn))
        return 0;
    batch->needs_barrier = batch->relies_on_mn = false;
    if (mc_is_binary(client)) {
        expect.opcode = MEMCACHED_OPCODE_NOOP;
        expect.opaque = barrier_opaque(&batch->base);
        expect.reply = MEMCACHED_PACKET;
        length = memcached_compose_noop(noop, expect.opaque);
        barrier = noop;
    } else if (without_mn) {
        expect.reply = MEMCACHED_VERSION;
        barrier = MEMCACHED_VERSION_LINE;
        length = strlen(barrier);
    }
    if (mc_expect(client, MC_BARRIER, &expect) < 0)
        return -1;
    return batch_add_ours(client, barrier, length);
}
