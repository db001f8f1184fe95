/* SPDX-License-Identifier: ISC */
/* Where a command ends. */
#include "resp/resp_internal.h"

#include <assert.h>
#include <string.h>

/* What is expected next. */
enum stage {
    COUNT,  /* the first line */
    LENGTH, /* a bulk string's */
    BODY,   /* the rest of one */
    BODY_CR,
    BODY_LF,
    END,
    BROKEN
};

void resp_command_begin(struct resp_command *command)
{
    command->announced = 0;
    command->argc = 0;
    command->length = 0;
    command->left = 0;
    command->stage = COUNT;
    command->error[0] = '\0';
}

static COLD enum resp_result broken(struct resp_command *command, const char *text)
{
    assert(strlen(text) < sizeof(command->error));
    memcpy(command->error, text, strlen(text) + 1);
    command->left = 0;
    command->stage = BROKEN;
    return RESP_BAD;
}

/* Not a bulk string. The server names the byte; it replaces CR and LF with spaces, and never
 * answers NUL. */
static COLD enum resp_result broken_type(struct resp_command *command, char c)
{
    broken(command, "Protocol error: expected '$', got '?'");
    command->error[strlen(command->error) - 2] = c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    return RESP_BAD;
}

static NOINLINE enum resp_result read_announced(struct resp_command *command, const char *data,
                                                size_t length)
{
    const char *at = data, *end = data + length;
    uint64_t count;

    if (length == 0)
        return RESP_MORE;
    if (*at++ != '*')
        return broken(command, "Protocol error: invalid multibulk length");
    bool negative = at < end && *at == '-';
    at += negative;

    enum resp_result result =
        resp_read_count(&at, end, negative ? RESP_COUNT_MAX : RESP_ARGUMENTS_MAX, &count);
    if (result == RESP_BAD || (result == RESP_DONE && negative && count == 0))
        return broken(command, "Protocol error: invalid multibulk length");
    if (result == RESP_MORE)
        return RESP_MORE;
    command->length = (size_t)(at - data);
    command->announced = negative ? 0 : (uint32_t)count;
    command->stage = command->announced > 0 ? LENGTH : END;
    return RESP_DONE;
}

/* The first line. */
static ALWAYS_INLINE enum resp_result begin_arguments(struct resp_command *command,
                                                      const char *data, size_t length)
{
    uint64_t count;
    size_t line = length > 4 && data[0] == '*' ? resp_quick_count(data + 1, &count) : 0;

    if (line == 0)
        return read_announced(command, data, length);
    command->length = line + 1;
    command->announced = (uint32_t)count;
    command->stage = LENGTH;
    return RESP_DONE;
}

/* A bulk string's first line. */
static ALWAYS_INLINE enum resp_result read_length(struct resp_command *command, const char **at,
                                                  const char *end)
{
    const char *next = *at;

    if (next == end)
        return RESP_MORE;
    if (*next != '$')
        return broken_type(command, *next);
    next++;

    enum resp_result result = resp_read_count(&next, end, RESP_BULK_MAX, &command->left);
    if (result == RESP_BAD)
        return broken(command, "Protocol error: invalid bulk length");
    if (result == RESP_DONE)
        *at = next;
    return result;
}

/* As much of a bulk string as is present, and its CRLF. */
static enum resp_result read_body(struct resp_command *command, const char **at, const char *end)
{
    if (command->stage == BODY) {
        size_t there = (size_t)(end - *at);
        size_t length = there < command->left ? there : (size_t)command->left;

        *at += length;
        command->left -= length;
        if (command->left > 0)
            return RESP_MORE;
        command->stage = BODY_CR;
    }
    for (; command->stage != LENGTH; (*at)++) {
        if (*at == end)
            return RESP_MORE;
        if (**at != (command->stage == BODY_CR ? '\r' : '\n'))
            return broken(command, "Protocol error: expected CRLF after a bulk string");
        command->stage = command->stage == BODY_CR ? BODY_LF : LENGTH;
    }
    command->argc++;
    return RESP_DONE;
}

/* One bulk string that may be incomplete, or is wrong. `offset`: *at's. */
static NOINLINE enum resp_result read_argument(struct resp_command *command, const char **at,
                                               const char *end, size_t offset)
{
    if (command->stage == LENGTH) {
        const char *line = *at;
        enum resp_result result = read_length(command, at, end);

        if (result != RESP_DONE)
            return result;
        if (command->argc < RESP_ARGS_KEPT)
            command->args[command->argc] =
                (struct resp_arg){offset + (size_t)(*at - line), (size_t)command->left};
        command->stage = BODY;
    }
    return read_body(command, at, end);
}

/* The bulk strings that are complete, from `offset` on; moves *at past them. */
static ALWAYS_INLINE void read_whole_arguments(struct resp_command *command, const char **at,
                                               const char *end, size_t offset)
{
    uint32_t argc = command->argc, announced = command->announced;
    const char *data = *at, *next = data, *behind, *start;
    size_t length;

    while (argc < announced && next < end && *next == '$') {
        behind = resp_whole_bulk(next + 1, end, RESP_BULK_MAX, &start, &length);
        if (behind == NULL)
            break;
        if (argc < RESP_ARGS_KEPT)
            command->args[argc] = (struct resp_arg){offset + (size_t)(start - data), length};
        argc++;
        next = behind;
    }
    command->argc = argc;
    *at = next;
}

/* The bulk strings in `data`, which begins `command->length` bytes after the command's first
 * byte. */
static ALWAYS_INLINE enum resp_result read_arguments(struct resp_command *command, const char *data,
                                                     size_t length)
{
    const char *at = data, *end = data + length;
    size_t before = command->length;
    enum resp_result result = RESP_DONE;

    while (result == RESP_DONE) {
        if (command->stage == LENGTH)
            read_whole_arguments(command, &at, end, before + (size_t)(at - data));
        if (command->argc == command->announced) {
            command->stage = END;
            break;
        }
        result = read_argument(command, &at, end, before + (size_t)(at - data));
    }
    command->length = before + (size_t)(at - data);
    return result;
}

enum resp_result resp_command_parse(struct resp_command *command, const char *data, size_t length)
{
    if (command->stage == COUNT) {
        enum resp_result result = begin_arguments(command, data, length);
        if (result != RESP_DONE)
            return result;
    }
    if (command->stage == BROKEN)
        return RESP_BAD;
    if (command->stage == END)
        return RESP_DONE;
    assert(length >= command->length);
    return read_arguments(command, data + command->length, length - command->length);
}

enum resp_result resp_command_feed(struct resp_command *command, const char *data, size_t length,
                                   size_t *used)
{
    size_t before = command->length;
    enum resp_result result;

    if (command->stage == COUNT)
        result = resp_command_parse(command, data, length);
    else if (command->stage == BROKEN)
        result = RESP_BAD;
    else
        result = read_arguments(command, data, length);
    *used = command->length - before;
    return result;
}

uint64_t resp_command_body_left(const struct resp_command *command)
{
    return command->left;
}

void resp_command_skip(struct resp_command *command, uint64_t length)
{
    assert(length <= command->left);
    command->left -= length;
    command->length += (size_t)length;
}
