/* SPDX-License-Identifier: ISC */
/* What the client's commands need. */
#include "session/memcached/mc_internal.h"

#include "base/log.h"

static bool is_empty(const struct batch *batch)
{
    return batch->commands == 0 && buffer_length(&batch->expected) == 0;
}

/* Our own reply in the command's place. Among replies that cannot be counted, that place is known
 * when the barrier is answered. */
static enum batch_take answer(struct client *client, const char *data, size_t length,
                              enum batch_take result)
{
    if (mc_batch_of(client)->uncounted || !batch_may_grow(client))
        return BATCH_APART;
    return mc_expect_local(client, data, length) < 0 ? BATCH_NO_MEMORY : result;
}

/* The command is malformed (M5): answers with its error, and passes nothing of it on. */
static enum batch_take refuse(struct client *client)
{
    const struct memcached_command *command = &mc_batch_of(client)->command;
    const struct memcached_expect expect = memcached_command_expect(command);
    char out[MEMCACHED_COMPOSE_MAX];
    size_t length = 0;
    if (mc_is_binary(client))
        length = memcached_compose_packet(out, &expect, command->status, command->error);
    else if (!command->quiet)
        length = memcached_compose_line(out, command->error, "");
    enum batch_take result = answer(client, out, length, command->close ? BATCH_LAST : BATCH_TOOK);
    if (result == BATCH_LAST)
        client->end = SESSION_BAD_REQUEST;
    if (result == BATCH_TOOK) {
        buffer_consume(&client->in, command->length);
        mc_of(client)->swallow = command->swallow;
    }
    return result;
}

/* F6 */
static enum batch_take take_quit(struct client *client)
{
    const struct memcached_command *command = &mc_batch_of(client)->command;
    const struct memcached_expect expect = memcached_command_expect(command);
    char out[MEMCACHED_COMPOSE_MAX];
    size_t length = 0;
    if (mc_is_binary(client) && !command->quiet)
        length = memcached_compose_packet(out, &expect, MEMCACHED_STATUS_OK, "");
    return answer(client, out, length, BATCH_LAST);
}

/* From here on a tunnel (M4); the command's bytes stay in `in`. */
static enum batch_take open_tunnel(struct client *client, size_t length)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct memcached_expect expect = memcached_command_expect(&batch->command);
    expect.quiet = false; /* if it cannot be opened, that is reported */
    if (!is_empty(&batch->base))
        return BATCH_APART;
    if (mc_expect(client, MC_TUNNEL, &expect) < 0 || batch_add_bytes(client, NULL, 0, false) < 0)
        return BATCH_NO_MEMORY;
    batch->base.tunnel = batch->base.needs_hold = batch->base.full = true;
    batch->tunnel_length = length;
    return BATCH_TOOK;
}

/* Nothing that this client sends can be interpreted: the upstream requires a login first. */
static enum batch_take open_for_login(struct client *client)
{
    struct mc_batch *batch = mc_batch_of(client);
    enum batch_take result = open_tunnel(client, 0);
    batch->login = batch->base.fresh = result == BATCH_TOOK;
    return result;
}

static bool wants_login(struct client *client)
{
    usec_t until = mc_listener_of(client)->login_until[mc_kind_of(client)];
    return until != 0 && until > loop_now(client->session.context->worker.loop);
}

/* Does the command need our own barrier after it (M2)? */
static void note_quiet(struct mc_batch *batch, const struct memcached_command *command)
{
    if (command->quiet) {
        batch->had_quiet = batch->needs_barrier = true;
        batch->uncounted = batch->uncounted || command->reply == MEMCACHED_META;
    } else if ((command->traits & MEMCACHED_BARRIER) != 0) {
        batch->relies_on_mn = batch->relies_on_mn || (batch->needs_barrier && !command->binary);
        batch->needs_barrier = false;
    }
}

/* This much of the command at the front is sent unchanged. */
static enum batch_take pass(struct client *client, size_t length, bool whole)
{
    struct mc_batch *batch = mc_batch_of(client);
    const struct memcached_command *command = &batch->command;
    const struct memcached_expect expect = memcached_command_expect(command);
    /* A barrier is harmless when repeated, too. */
    bool safe = whole && (command->traits & (MEMCACHED_READ | MEMCACHED_BARRIER)) != 0;
    if (expect.reply != MEMCACHED_NONE && mc_expect(client, MC_REPLY, &expect) < 0)
        return BATCH_NO_MEMORY;
    if (batch_add(client, length, safe) < 0)
        return BATCH_NO_MEMORY;
    batch->base.streaming = !whole;
    note_quiet(batch, command);
    return BATCH_TOOK;
}

/* Its header has arrived, and possibly some of its value. */
static enum batch_take take_command(struct client *client, bool whole)
{
    struct memcached_command *command = &mc_batch_of(client)->command;
    const char *value = buffer_data(&client->in) + command->length;
    size_t length = buffer_length(&client->in) - command->length, used = 0;
    if (!batch_may_grow(client))
        return BATCH_APART;
    if ((command->traits & MEMCACHED_QUIT) != 0)
        return take_quit(client);
    if ((command->traits & MEMCACHED_OPENS) != 0)
        return open_tunnel(client, whole ? command->length + (size_t)command->value_left : 0);
    if (command->value_left > 0 &&
        memcached_command_value(command, value, length, &used) == MEMCACHED_BAD)
        return refuse(client);
    return pass(client, command->length + used, whole);
}

/* get and gets with so many keys that not all are held. */
static enum batch_take take_keys(struct client *client)
{
    struct memcached_command *command = &mc_batch_of(client)->command;
    if (!batch_may_grow(client))
        return BATCH_APART;
    if (command->passable == 0) {
        command->error = "CLIENT_ERROR line too long";
        command->close = true;
        return refuse(client);
    }
    enum batch_take result = pass(client, command->passable, false);
    memcached_command_pass(command);
    return result;
}

/* What is at the front is to be discarded. */
static enum batch_take swallow(struct client *client)
{
    struct mc_session *mc = mc_of(client);
    size_t length = buffer_length(&client->in);
    if (length > mc->swallow)
        length = (size_t)mc->swallow;
    mc->swallow -= length;
    buffer_consume(&client->in, length);
    return BATCH_TOOK;
}

enum batch_take mc_take(struct client *client)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct memcached_command *command = &batch->command;
    size_t length = buffer_length(&client->in);
    bool holds_more = length < BATCH_WHOLE_MAX;
    if (mc_of(client)->swallow > 0)
        return swallow(client);
    if (!batch->parsing)
        memcached_command_begin(command, mc_is_binary(client));
    batch->parsing = false;
    enum memcached_result result =
        memcached_command_parse(command, buffer_data(&client->in), length);
    if (wants_login(client))
        return open_for_login(client);
    switch (result) {
    case MEMCACHED_MORE:
        batch->parsing = holds_more;
        return holds_more ? BATCH_MORE : take_keys(client);
    case MEMCACHED_BAD:
        return refuse(client);
    case MEMCACHED_DONE:
        break;
    }
    bool whole = command->value_left <= length - command->length;
    batch->parsing = !whole && holds_more;
    return batch->parsing ? BATCH_MORE : take_command(client, whole);
}

static enum memcached_result go_on_keys(struct memcached_command *command, const char *data,
                                        size_t length, size_t *used)
{
    enum memcached_result result = memcached_command_parse(command, data, length);
    if (result == MEMCACHED_DONE) {
        *used = command->length;
    } else if (result == MEMCACHED_MORE && command->passable > 0) {
        *used = command->passable;
        memcached_command_pass(command);
    }
    return result;
}

ssize_t mc_go_on(struct client *client, const char *data, size_t length, bool *whole)
{
    struct mc_batch *batch = mc_batch_of(client);
    struct memcached_command *command = &batch->command;
    bool closes, keys = command->passed > 0;
    size_t used = 0;
    enum memcached_result result = keys ? go_on_keys(command, data, length, &used)
                                        : memcached_command_value(command, data, length, &used);
    *whole = result == MEMCACHED_DONE;
    if (result != MEMCACHED_BAD)
        return (ssize_t)used;
    if (!batch->base.reply_begun && !batch->base.sinking &&
        mc_answer_rest_as(client, command->error, MEMCACHED_STATUS_INVALID, &closes) < 0)
        log_debug("no memory for an error");
    return -1;
}
