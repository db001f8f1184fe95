/* SPDX-License-Identifier: ISC */
/* What the client's commands need. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/redis/redis_internal.h"

/* A command that was read. */
struct taken {
    struct client *client;
    struct redis_batch *batch;
    const struct resp_command *command;
    const struct resp_known *known;
    const char *data; /* of the command */
    size_t length;    /* of what has been read of it */
    size_t in_length; /* how many bytes of client->in that is: more or fewer if it was inline */
    bool whole;
};

static const char *arg(const struct taken *taken, unsigned i, size_t *length)
{
    *length = taken->command->args[i].length;
    return taken->data + taken->command->args[i].offset;
}

static bool arg_is(const struct taken *taken, unsigned i, const char *word)
{
    size_t length;
    const char *data = arg(taken, i, &length);
    return length == strlen(word) && strncasecmp(data, word, length) == 0;
}

/* The last reply of a client: a protocol error. */
static enum batch_take refuse(struct client *client, const char *error)
{
    char line[RESP_ERROR_MAX + 64];
    int n = snprintf(line, sizeof(line), "-ERR %s\r\n", error);
    client->end = SESSION_BAD_REQUEST;
    return redis_expect_local(client, line, (size_t)n) < 0 ? BATCH_NO_MEMORY : BATCH_LAST;
}

static bool is_empty(const struct redis_batch *batch)
{
    return batch->base.commands == 0 && buffer_length(&batch->base.expected) == 0;
}

/* The command is sent unchanged, and this is expected. */
static enum batch_take pass(const struct taken *taken, enum redis_expected what, const void *data,
                            size_t length)
{
    struct client *client = taken->client;
    bool safe = (taken->known->flags & RESP_READ) != 0 && taken->whole;
    if (redis_expect(client, what, data, length) < 0 ||
        batch_add_bytes(client, taken->data, taken->length, safe) < 0)
        return BATCH_NO_MEMORY;
    taken->batch->wrote = taken->batch->wrote || (taken->known->flags & RESP_WRITE) != 0;
    taken->batch->base.streaming = !taken->whole;
    if (taken->batch->base.base.secret)
        explicit_bzero(buffer_data(&client->in), taken->in_length);
    buffer_consume(&client->in, taken->in_length);
    return BATCH_TOOK;
}

/* The same, in a batch of its own. */
static enum batch_take pass_alone(const struct taken *taken, enum redis_expected what)
{
    enum batch_take result = pass(taken, what, NULL, 0);
    taken->batch->base.full = true;
    return result;
}

/* Our own error in the command's place. */
static enum batch_take answer(const struct taken *taken, const char *text)
{
    char line[256];
    int n = snprintf(line, sizeof(line), "-ERR kaproxy: %s\r\n", text);
    assert(taken->whole);
    if (redis_expect_local(taken->client, line, (size_t)n) < 0)
        return BATCH_NO_MEMORY;
    buffer_consume(&taken->client->in, taken->in_length);
    return BATCH_TOOK;
}

/* From here on a tunnel (R6). Bytes in `in` are left there. */
static enum batch_take open_tunnel(const struct taken *taken)
{
    struct redis_batch *batch = taken->batch;
    if (!is_empty(batch))
        return BATCH_APART;
    if (redis_expect(taken->client, EXPECT_TUNNEL, NULL, 0) < 0 ||
        batch_add_bytes(taken->client, NULL, 0, false) < 0)
        return BATCH_NO_MEMORY;
    batch->base.tunnel = batch->base.needs_hold = batch->base.full = true;
    redis_login_free(batch->login); /* it is prepared as for any other command */
    batch->login = NULL;
    taken->client->session.allocation.tag = &redis_of(taken->client)->state.tag;
    batch->tunnel_length = taken->whole ? taken->in_length : 0;
    return BATCH_TOOK;
}

static enum batch_take take_blocking(const struct taken *taken)
{
    if (!is_empty(taken->batch))
        return BATCH_APART;
    taken->batch->base.holds = taken->batch->base.needs_hold = true;
    return pass_alone(taken, EXPECT_REPLY);
}

/* MULTI, WATCH: the connection is this client's until they have ended (R5, F9). */
static enum batch_take take_opening(const struct taken *taken, enum redis_expected what)
{
    struct client *client = taken->client;
    const struct batch *batch = &taken->batch->base;
    if (batch->stage == BATCH_GATHERING && !client->affinity && !is_empty(taken->batch) &&
        !pool_can_hold(client->session.context->pool_host))
        return BATCH_APART; /* it is refused, and what precedes it is not */
    if (!batch_needs_hold(client)) {
        struct failure failure;
        char text[sizeof(failure.text) + 32];
        batch_no_tunnel(client, &failure);
        snprintf(text, sizeof(text), "%s: %s", failure.function, failure.text);
        enum batch_take result = answer(taken, text);
        return result == BATCH_TOOK ? BATCH_LAST : result;
    }
    return pass(taken, what, NULL, 0);
}

/* What was started in the same batch, and ends in it, needs no place of its own. */
static enum batch_take take_closing(const struct taken *taken, enum redis_expected what)
{
    if (taken->batch->base.stage == BATCH_GATHERING)
        taken->batch->base.needs_hold = false;
    return pass(taken, what, NULL, 0);
}

/* A batch of its own. It may use a connection that is in a database other than the session's,
 * ideally in this one; but what follows must not, if it is refused. */
static enum batch_take select_first(const struct taken *taken, uint32_t database)
{
    struct redis_batch *batch = taken->batch;
    batch->tag = redis_of(taken->client)->state.tag;
    batch->tag.variant = database;
    batch->selects = batch->base.full = true;
    taken->client->session.allocation.tag = &batch->tag;
    return pass(taken, EXPECT_SELECT, &database, sizeof(database));
}

static enum batch_take take_select(const struct taken *taken)
{
    uint32_t database = 0;
    size_t length;
    const char *data = taken->command->argc == 2 ? arg(taken, 1, &length) : "";
    if (taken->command->argc != 2 || length == 0 || length > 9 || (length > 1 && data[0] == '0'))
        return pass(taken, EXPECT_REFUSAL, NULL, 0);
    for (size_t i = 0; i < length; i++) {
        if (data[i] < '0' || data[i] > '9')
            return pass(taken, EXPECT_REFUSAL, NULL, 0);
        database = database * 10 + (uint32_t)(data[i] - '0');
    }
    if (is_empty(taken->batch) && !taken->client->affinity)
        return select_first(taken, database);
    if (taken->batch->must_select) {
        taken->batch->must_select = false;
        taken->batch->selects = taken->batch->base.full = true;
    }
    return pass(taken, EXPECT_SELECT, &database, sizeof(database));
}

static enum batch_take take_soft(const struct taken *taken, enum redis_soft soft, unsigned at)
{
    char known[1 + sizeof(uint32_t) + REDIS_SOFT_MAX];
    size_t length;
    const char *data = arg(taken, at, &length);
    uint32_t size = (uint32_t)length;
    if (length > REDIS_SOFT_MAX)
        return open_tunnel(taken);
    known[0] = (char)soft;
    memcpy(known + 1, &size, sizeof(size));
    memcpy(known + 1 + sizeof(size), data, length);
    return pass(taken, EXPECT_SOFT, known, 1 + sizeof(size) + length);
}

static enum batch_take take_setinfo(const struct taken *taken)
{
    if (taken->command->argc == 4 && arg_is(taken, 2, "lib-name"))
        return take_soft(taken, REDIS_LIB_NAME, 3);
    if (taken->command->argc == 4 && arg_is(taken, 2, "lib-ver"))
        return take_soft(taken, REDIS_LIB_VER, 3);
    return pass(taken, EXPECT_REFUSAL, NULL, 0); /* the server objects to it */
}

/* Who the client says it is: the connection must have that identity, or be new. 0, or -1. */
static int note_login(const struct taken *taken, unsigned user_at, unsigned password_at)
{
    struct redis_batch *batch = taken->batch;
    size_t user_length = 0, password_length;
    const char *user = user_at > 0 ? arg(taken, user_at, &user_length) : "";
    const char *password = arg(taken, password_at, &password_length);
    redis_login_free(batch->login);
    batch->login = redis_login_new(user, user_length, password, password_length);
    if (batch->login == NULL)
        return -1;
    batch->base.base.secret = true;
    taken->client->session.allocation.tag = &batch->tag;
    uint8_t version = batch->version != 0 ? batch->version : redis_of(taken->client)->state.version;
    return redis_identify(taken->client, version, batch->login, batch->tag.identity);
}

/* A login is a batch of its own: what follows it waits for the result (R2). */
static enum batch_take take_auth(const struct taken *taken)
{
    unsigned argc = taken->command->argc;
    if (argc != 2 && argc != 3)
        return pass(taken, EXPECT_REFUSAL, NULL, 0);
    if (!is_empty(taken->batch))
        return BATCH_APART;
    if (note_login(taken, argc == 3 ? 1 : 0, argc - 1) < 0)
        return BATCH_NO_MEMORY;
    return pass_alone(taken, EXPECT_AUTH);
}

/* HELLO [version [AUTH user password] [SETNAME name]]. The server says what is wrong with it. */
static enum batch_take take_hello(const struct taken *taken)
{
    struct redis_batch *batch = taken->batch;
    unsigned argc = taken->command->argc;
    size_t length;
    if (!is_empty(batch))
        return BATCH_APART;
    if (argc > RESP_ARGS_KEPT) /* its contents are unknown */
        return open_tunnel(taken);
    if (argc > 1 && (arg_is(taken, 1, "2") || arg_is(taken, 1, "3")))
        batch->version = (uint8_t)(arg(taken, 1, &length)[0] - '0');
    else
        batch->odd_hello = argc > 1;
    for (unsigned i = 2; i < argc; i++) {
        if (i + 2 < argc && arg_is(taken, i, "auth")) {
            if (note_login(taken, i + 1, i + 2) < 0)
                return BATCH_NO_MEMORY;
            i += 2;
        } else if (i + 1 < argc && arg_is(taken, i, "setname")) {
            const char *name = arg(taken, i + 1, &length);
            if (length > REDIS_SOFT_MAX)
                return open_tunnel(taken);
            free(batch->name);
            batch->name = redis_text_new(name, length);
            if (batch->name == NULL)
                return BATCH_NO_MEMORY;
            i++;
        } else {
            break;
        }
    }
    return pass_alone(taken, EXPECT_HELLO);
}

static enum batch_take take_reset(const struct taken *taken)
{
    if (!is_empty(taken->batch))
        return BATCH_APART;
    return pass_alone(taken, EXPECT_RESET);
}

static enum batch_take take_wait(const struct taken *taken)
{
    if (taken->batch->wrote || taken->client->affinity)
        return pass(taken, EXPECT_REPLY, NULL, 0);
    return answer(taken,
                  "WAIT applies to the writes of its own connection: send it in one pipeline "
                  "with the write, or inside a transaction");
}

static enum batch_take take_quit(const struct taken *taken)
{
    static const char ok[] = "+OK\r\n";
    return redis_expect_local(taken->client, ok, sizeof(ok) - 1) < 0 ? BATCH_NO_MEMORY : BATCH_LAST;
}

/* A browser's request: no reply, as from the server. */
static enum batch_take take_browser(const struct taken *taken)
{
    taken->client->end = SESSION_BAD_REQUEST;
    return redis_expect_local(taken->client, "", 0) < 0 ? BATCH_NO_MEMORY : BATCH_LAST;
}

/* Inside a transaction, outside, or (UNSURE) that depends on replies to come. */
enum transaction { OUTSIDE, INSIDE, UNSURE };

static enum transaction transaction_of(const struct taken *taken)
{
    if (taken->batch->transaction_unsure)
        return UNSURE;
    if (!taken->client->affinity)
        return OUTSIDE;
    return redis_conn_of(taken->client)->in_multi ? INSIDE : OUTSIDE;
}

/* Does the command mean something else inside MULTI? */
static bool depends_on_transaction(const struct resp_known *known)
{
    switch ((enum resp_effect)known->effect) {
    case RESP_AUTH:
    case RESP_HELLO:
    case RESP_SELECT:
    case RESP_CLIENT_SETNAME:
    case RESP_CLIENT_SETINFO:
    case RESP_BLOCKS:
        return true;
    default:
        return (known->flags & RESP_OF_CLIENT) != 0;
    }
}

static enum batch_take take_transaction(const struct taken *taken)
{
    switch ((enum resp_effect)taken->known->effect) {
    case RESP_MULTI:
        taken->batch->transaction_unsure = taken->batch->wrote = true;
        return take_opening(taken, EXPECT_MULTI);
    case RESP_WATCH:
        taken->batch->wrote = true;
        return take_opening(taken, EXPECT_WATCH);
    case RESP_EXEC:
        taken->batch->transaction_unsure = true;
        return take_closing(taken, EXPECT_EXEC);
    case RESP_DISCARD:
        taken->batch->transaction_unsure = true;
        return take_closing(taken, EXPECT_DISCARD);
    default:
        return take_closing(taken, EXPECT_UNWATCH);
    }
}

static enum batch_take take_special(const struct taken *taken)
{
    switch ((enum resp_effect)taken->known->effect) {
    case RESP_AUTH:
        return take_auth(taken);
    case RESP_HELLO:
        return take_hello(taken);
    case RESP_SELECT:
        return take_select(taken);
    case RESP_CLIENT_SETNAME:
        return taken->command->argc == 3 ? take_soft(taken, REDIS_NAME, 2)
                                         : pass(taken, EXPECT_REFUSAL, NULL, 0);
    case RESP_CLIENT_SETINFO:
        return take_setinfo(taken);
    case RESP_RESET:
        return take_reset(taken);
    case RESP_QUIT:
        return take_quit(taken);
    case RESP_MULTI:
    case RESP_EXEC:
    case RESP_DISCARD:
    case RESP_WATCH:
    case RESP_UNWATCH:
        return take_transaction(taken);
    case RESP_TUNNEL:
        return open_tunnel(taken);
    case RESP_BLOCKS:
        return take_blocking(taken);
    case RESP_WAIT:
        return take_wait(taken);
    case RESP_CLOSE:
        return take_browser(taken);
    case RESP_PLAIN:
        break;
    }
    return pass(taken, EXPECT_REPLY, NULL, 0);
}

/* Commands of modules which the configuration declares to leave no state behind. */
static bool is_stateless(const struct taken *taken)
{
    const char *list = taken->client->session.context->config->stateless_commands;
    size_t length, word;
    const char *name = arg(taken, 0, &length);
    for (; *list != '\0'; list += word) {
        list += strspn(list, " \t,");
        word = strcspn(list, " \t,");
        bool prefix = word > 0 && list[word - 1] == '*';
        size_t compared = prefix ? word - 1 : word;
        if (word > 0 && (prefix ? length >= compared : length == compared) &&
            strncasecmp(list, name, compared) == 0)
            return true;
    }
    return false;
}

static enum batch_take take_command(struct taken *taken)
{
    static const struct resp_known stateless = {.effect = RESP_PLAIN, .flags = RESP_WRITE};
    taken->known = resp_classify(taken->command, taken->data);
    if ((taken->known->flags & RESP_UNKNOWN) != 0 && is_stateless(taken))
        taken->known = &stateless;
    if (!batch_may_grow(taken->client)) {
        if (taken->known->effect != RESP_WAIT || !taken->batch->wrote)
            return BATCH_APART;
        taken->batch->base.full = true; /* it belongs to what precedes it, and is the last one */
    }
    if (taken->batch->must_select && taken->known->effect != RESP_SELECT)
        return BATCH_APART;
    if (taken->known->effect == RESP_PLAIN && (taken->known->flags & RESP_OF_CLIENT) == 0)
        return pass(taken, EXPECT_REPLY, NULL, 0);
    if (depends_on_transaction(taken->known)) {
        switch (transaction_of(taken)) {
        case UNSURE:
            return BATCH_APART;
        case INSIDE:
            return taken->known->effect == RESP_BLOCKS ? pass(taken, EXPECT_REPLY, NULL, 0)
                                                       : open_tunnel(taken);
        case OUTSIDE:
            break;
        }
    }
    return take_special(taken);
}

static enum batch_take take_inline(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    const char *data = buffer_data(&client->in), *error = "Protocol error: too big inline request";
    size_t line_length;
    struct buffer composed = {0};
    switch (resp_inline_find(data, buffer_length(&client->in), &line_length)) {
    case RESP_MORE:
        return BATCH_MORE;
    case RESP_BAD:
        return refuse(client, error);
    case RESP_DONE:
        break;
    }
    size_t room = line_length / 2 * 7 + 64;
    char *out = buffer_reserve(&composed, room);
    if (out == NULL)
        return BATCH_NO_MEMORY;
    ssize_t n = resp_inline_compose(out, room, data, line_length, &error);
    enum batch_take result = BATCH_TOOK;
    if (n < 0) {
        result = refuse(client, error);
    } else if (n == 0) {
        buffer_consume(&client->in, line_length);
    } else {
        resp_command_begin(&batch->command);
        if (resp_command_parse(&batch->command, out, (size_t)n) != RESP_DONE) {
            result = refuse(client, batch->command.error);
        } else {
            struct taken taken = {.client = client,
                                  .batch = batch,
                                  .command = &batch->command,
                                  .data = out,
                                  .length = (size_t)n,
                                  .in_length = line_length,
                                  .whole = true};
            result = take_command(&taken);
        }
    }
    buffer_wipe(&composed);
    return result;
}

static bool may_be_streamed(const struct resp_known *known)
{
    switch ((enum resp_effect)known->effect) {
    case RESP_PLAIN:
    case RESP_TUNNEL:
    case RESP_WATCH:
        return true;
    default:
        return false;
    }
}

/* A command of which more is to come than is held: it is streamed, if it is one that may be. */
static enum batch_take take_beginning(struct client *client, struct taken *taken)
{
    if (!resp_may_be_incomplete(taken->command, taken->data) ||
        !may_be_streamed(resp_classify(taken->command, taken->data)))
        return refuse(client, "kaproxy: this command is too large to buffer");
    taken->length = taken->in_length = taken->command->length;
    return take_command(taken);
}

enum batch_take redis_take(struct client *client)
{
    struct redis_batch *batch = redis_batch_of(client);
    const char *data = buffer_data(&client->in);
    size_t length = buffer_length(&client->in);
    if (!batch->parsing && data[0] != '*')
        return take_inline(client);
    if (!batch->parsing)
        resp_command_begin(&batch->command);
    struct taken taken = {
        .client = client, .batch = batch, .command = &batch->command, .data = data};
    enum resp_result result = resp_command_parse(&batch->command, data, length);
    batch->parsing = result == RESP_MORE;
    switch (result) {
    case RESP_MORE:
        if (length < BATCH_WHOLE_MAX)
            return BATCH_MORE;
        batch->parsing = false;
        return take_beginning(client, &taken);
    case RESP_BAD:
        return refuse(client, batch->command.error);
    case RESP_DONE:
        break;
    }
    taken.length = taken.in_length = batch->command.length;
    taken.whole = true;
    if (batch->command.argc > 0)
        return take_command(&taken);
    buffer_consume(&client->in, taken.in_length);
    return BATCH_TOOK;
}

ssize_t redis_go_on(struct client *client, const char *data, size_t length, bool *whole)
{
    struct redis_batch *batch = redis_batch_of(client);
    char line[RESP_ERROR_MAX + 64];
    bool closes;
    size_t used = 0;
    enum resp_result result = resp_command_feed(&batch->command, data, length, &used);
    *whole = result == RESP_DONE;
    if (result != RESP_BAD)
        return (ssize_t)used;
    int n = snprintf(line, sizeof(line), "-ERR %s\r\n", batch->command.error);
    if (!batch->base.reply_begun && !batch->base.sinking &&
        redis_answer_rest_line(client, line, (size_t)n, &closes) < 0)
        log_debug("no memory for an error");
    return -1;
}
