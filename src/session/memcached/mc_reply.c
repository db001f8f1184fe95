/* SPDX-License-Identifier: ISC */
/* What the upstream's replies mean, and our own (M1 to M3). */
#include <stdio.h>
#include <string.h>

#include "session/memcached/mc_internal.h"

/* No reply to one of our commands is longer than that. */
#define OURS_MAX BATCH_WHOLE_MAX

/* Our own, at the front of the queue. */
static enum step pass_local(struct client *client, struct batch_run *run)
{
    struct batch *batch = batch_of(client);
    size_t length = mc_queue_front(batch).length;
    enum step step = batch_pass_run(client, run);
    if (step != STEP_AGAIN)
        return step;
    if (batch_put_down(client, mc_queue_local(batch), length) < 0)
        return exchange_finish(client, SESSION_ERROR);
    mc_queue_pop(batch);
    if (length > 0)
        session_count_local_reply(&client->session);
    return STEP_AGAIN;
}

static void swallow(struct client *client, struct batch_run *run, size_t length)
{
    struct buffer *in = &client->exchange->response_in;
    buffer_consume(in, length);
    run->data = buffer_data(in);
}

/* The position in the protocol is no longer certain: what is expected is read, and then the
 * connection closed (M3). */
static void heed_doubt(struct mc_batch *batch)
{
    if (batch->reply.sure)
        return;
    exchange_set_unfit(&batch->base.base, DISCARD_UNKNOWN_STATE);
    batch->base.full = true;
}

/* An mn was answered. An error means that the upstream is too old for it: then something else has
 * to show that the quiet commands are complete. */
static void heed_mn(struct client *client)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct pool_tag tag = *pool_get_tag(&client->session.allocation);
    if (!batch->reply.is_error || tag.variant == MC_WITHOUT_MN)
        return; /* if that was known, there is another barrier already */
    tag.variant = MC_WITHOUT_MN;
    pool_set_tag(&client->session.allocation, &tag);
    batch->needs_barrier = batch->had_quiet;
}

/* The reply to our own barrier, in one piece, which the client does not see. */
static enum step take_barrier(struct client *client, struct batch_run *run)
{
    struct mc_batch *batch = mc_batch_of(client);
    const struct mc_entry entry = mc_queue_front(&batch->base);
    size_t used;
    if (batch_pass_run(client, run) == STEP_GONE)
        return STEP_GONE;
    size_t length = buffer_length(&batch->base.base.response_in);
    batch_reply_started(client);
    memcached_reply_begin(&batch->reply, &entry.expect);
    switch (memcached_reply_feed(&batch->reply, run->data, length, &used)) {
    case MEMCACHED_MORE:
        return length < OURS_MAX ? STEP_BLOCKED : batch_fail_malformed(client);
    case MEMCACHED_BAD:
        return batch_fail_malformed(client);
    case MEMCACHED_DONE:
        break;
    }
    if (batch->reply.is_error && entry.expect.reply != MEMCACHED_MN)
        return batch_fail_malformed(client);
    if (entry.expect.reply == MEMCACHED_MN)
        heed_mn(client);
    swallow(client, run, used);
    mc_queue_pop(&batch->base);
    return STEP_AGAIN;
}

/* With quiet meta commands at the front of the queue, what comes before a barrier's line cannot be
 * counted (M2). */
static bool is_uncounted(const struct mc_entry *entry)
{
    return entry->expect.quiet && entry->expect.reply == MEMCACHED_META;
}

/* The entry that the last line answers, if that line shows that everything before it is complete;
 * *end is where the next one is. */
static bool find_barrier(const struct mc_batch *batch, struct mc_entry *entry, size_t *end)
{
    uint8_t line = batch->reply.line;
    uint8_t framing = line == MEMCACHED_LINE_MN ? MEMCACHED_MN : MEMCACHED_VERSION;
    *end = 0;
    if (line != MEMCACHED_LINE_MN && line != MEMCACHED_LINE_VERSION)
        return false;
    while (mc_queue_next(&batch->base, end, entry)) {
        if (entry->expect.reply == framing)
            return true;
    }
    return false;
}

/* Such a line was read, this many bytes after the run. */
static enum step end_uncounted(struct client *client, struct batch_run *run, size_t length)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct mc_entry entry;
    size_t end;
    batch->base.reply_begun = !find_barrier(batch, &entry, &end);
    if (batch->base.reply_begun) {
        run->length += length;
        return STEP_AGAIN;
    }
    buffer_consume(&batch->base.expected, end);
    if (entry.what == MC_REPLY) {
        run->length += length;
        return STEP_AGAIN;
    }
    enum step step = batch_pass_run(client, run);
    if (step == STEP_AGAIN)
        swallow(client, run, length);
    return step;
}

/* The next reply begins. STEP_AGAIN: it can be parsed; STEP_YIELD: it is that of another entry,
 * which is at the front now. */
static enum step begin_reply(struct client *client, struct batch_run *run, const char *data,
                             size_t length)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct mc_entry entry = mc_queue_front(&batch->base);
    struct memcached_expect expect = entry.expect;
    struct memcached_head head;
    if (mc_is_binary(client) && expect.quiet) {
        switch (memcached_head_parse(&head, data, length)) {
        case MEMCACHED_MORE:
            return STEP_BLOCKED;
        case MEMCACHED_BAD:
            return batch_pass_run(client, run) == STEP_GONE ? STEP_GONE
                                                            : batch_fail_malformed(client);
        case MEMCACHED_DONE:
            break;
        }
        if (head.opcode != expect.opcode || head.opaque != expect.opaque) {
            mc_queue_pop(&batch->base); /* it did not answer */
            return STEP_YIELD;
        }
    } else if (is_uncounted(&entry)) {
        /* An error may be about a value. */
        expect = (struct memcached_expect){.reply = MEMCACHED_ANY, .traits = MEMCACHED_VALUED};
    }
    memcached_reply_begin(&batch->reply, &expect);
    batch->reading = true;
    batch_reply_started(client);
    return STEP_AGAIN;
}

/* The reply is complete, with this many bytes after the run. */
static enum step end_reply(struct client *client, struct batch_run *run, size_t length)
{
    struct mc_batch *batch = mc_batch_of(client);
    uint8_t framing = batch->reply.expect.reply;
    batch->reading = false;
    heed_doubt(batch);
    if (framing == MEMCACHED_ANY)
        return end_uncounted(client, run, length);
    if (framing == MEMCACHED_MN)
        heed_mn(client);
    run->length += length;
    batch->base.reply_begun = false;
    mc_queue_pop(&batch->base);
    return STEP_AGAIN;
}

/* Parses more of the reply at the front. STEP_AGAIN: it is complete; STEP_BLOCKED: not yet. */
static enum step walk(struct client *client, struct batch_run *run)
{
    struct mc_batch *batch = mc_batch_of(client);
    size_t used, left = buffer_length(&batch->base.base.response_in) - run->length;
    const char *data = run->data + run->length;
    if (!batch->reading) {
        enum step step = begin_reply(client, run, data, left);
        if (step != STEP_AGAIN || client->session.state != SESSION_RELAYING)
            return step == STEP_YIELD ? STEP_AGAIN : step;
    }
    switch (memcached_reply_feed(&batch->reply, data, left, &used)) {
    case MEMCACHED_MORE:
        run->length += used;
        batch->base.reply_begun = batch->base.reply_begun || used > 0;
        return STEP_BLOCKED;
    case MEMCACHED_BAD: /* nothing of what was just read is passed on */
        return batch_pass_run(client, run) == STEP_GONE ? STEP_GONE : batch_fail_malformed(client);
    case MEMCACHED_DONE:
        break;
    }
    return end_reply(client, run, used);
}

/* The next entry of the queue. */
static enum step take_next(struct client *client, struct batch_run *run)
{
    const struct batch *batch = batch_of(client);
    uint8_t what = mc_queue_front(batch).what;
    if (what == MC_LOCAL)
        return pass_local(client, run);
    if (run->length == buffer_length(&batch->base.response_in))
        return STEP_BLOCKED;
    return what == MC_BARRIER ? take_barrier(client, run) : walk(client, run);
}

enum step mc_take_replies(struct client *client)
{
    struct batch *batch = batch_of(client);
    struct batch_run run = batch_run_begin(client);
    enum step step = STEP_AGAIN;
    if (batch->stage == BATCH_PREPARING)
        return mc_take_first(client);
    while (step == STEP_AGAIN && client->session.state != SESSION_DRAINING &&
           buffer_length(&batch->expected) > 0)
        step = take_next(client, &run);
    if (step == STEP_GONE)
        return STEP_GONE;
    if (client->session.state == SESSION_DRAINING)
        return step; /* it has failed, and everything is answered */
    return batch_pass_run(client, &run) == STEP_GONE ? STEP_GONE : STEP_BLOCKED;
}

/* Our own error in the place of a reply that is not quiet. */
static int put_error(struct client *client, const struct memcached_expect *expect,
                     const char *error, uint16_t status)
{
    char out[MEMCACHED_COMPOSE_MAX];
    size_t length;
    if (expect->quiet)
        return 0;
    if (mc_is_binary(client))
        length = memcached_compose_packet(out, expect, status, error);
    else
        length = memcached_compose_line(out, error, "");
    return buffer_append(&client->down, out, length);
}

int mc_answer_rest_as(struct client *client, const char *error, uint16_t status, bool *closes)
{
    struct mc_batch *batch = mc_batch_of(client);
    *closes = false;
    for (; buffer_length(&batch->base.expected) > 0; mc_queue_pop(&batch->base)) {
        struct mc_entry entry = mc_queue_front(&batch->base);
        size_t before = buffer_length(&client->down);
        int done = 0;
        if (entry.what == MC_LOCAL && entry.length > 0)
            done = buffer_append(&client->down, mc_queue_local(&batch->base), entry.length);
        else if (entry.what == MC_REPLY || entry.what == MC_TUNNEL)
            done = put_error(client, &entry.expect, error, status);
        if (done < 0)
            return -1;
        if (buffer_length(&client->down) > before)
            session_count_local_reply(&client->session);
    }
    if (batch->base.tunnel) { /* after a login that was not sent anything would be wrong (F5) */
        *closes = batch->tunnel_length == 0 || mc_is_binary(client);
        buffer_consume(&client->in, batch->tunnel_length);
    }
    return 0;
}

int mc_answer_rest(struct client *client, const char *text, bool *closes)
{
    const char *first = mc_is_binary(client) ? "kaproxy:" : "SERVER_ERROR kaproxy:";
    char error[MEMCACHED_COMPOSE_MAX];
    snprintf(error, sizeof(error), "%s %s", first, text);
    return mc_answer_rest_as(client, error, MEMCACHED_STATUS_TEMPORARY, closes);
}
