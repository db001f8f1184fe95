/* SPDX-License-Identifier: ISC */
/* What replies are expected, in order; and which of them are our own. */
#include <stdio.h>
#include <string.h>

#include "session/redis/redis_internal.h"

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

enum redis_expected redis_next(const struct batch *batch)
{
    return (enum redis_expected)(unsigned char)buffer_data(&batch->expected)[0];
}

uint32_t redis_number_at(const char *data)
{
    uint32_t number;
    memcpy(&number, data, sizeof(number));
    return number;
}

/* The length of the entry at the front. */
static size_t entry_length(const struct batch *batch)
{
    const char *entry = buffer_data(&batch->expected);
    switch (redis_next(batch)) {
    case EXPECT_SELECT:
        return 1 + sizeof(uint32_t);
    case EXPECT_SOFT:
        return 2 + sizeof(uint32_t) + redis_number_at(entry + 2);
    case EXPECT_LOCAL:
        return 1 + sizeof(uint32_t) + redis_number_at(entry + 1);
    case EXPECT_REPLY:
    case EXPECT_AUTH:
    case EXPECT_HELLO:
    case EXPECT_RESET:
    case EXPECT_REFUSAL:
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

void redis_pop(struct batch *batch)
{
    buffer_consume(&batch->expected, entry_length(batch));
}

/* Would what follows a command that we have answered run in the wrong database, or as another
 * user? */
static bool closes_after(const struct batch *batch)
{
    switch (redis_next(batch)) {
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
        bool is_local = redis_next(&batch->base) == EXPECT_LOCAL;
        const char *reply = is_local ? entry + 1 + sizeof(uint32_t) : line;
        size_t size = is_local ? redis_number_at(entry + 1) : length;
        if (buffer_append(&client->down, reply, size) < 0)
            return -1;
        if (size > 0)
            session_count_local_reply(&client->session);
        *closes = *closes || closes_after(&batch->base);
        redis_pop(&batch->base);
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
