/* SPDX-License-Identifier: ISC */
/* The reference reader of Redis' protocol. */
#include "redis_reference.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 1048576
#define BULK_MAX      536870912
#define LINE_LIMIT    65536
#define REPLY_MAX     1152921504606846976 /* 2^60 */

/* What is left to read. */
struct input {
    const char *at;
    size_t left;
};

static void take(struct input *input, size_t length)
{
    input->at += length;
    input->left -= length;
}

static bool starts_with(const struct input *input, const char *text)
{
    return input->left >= strlen(text) && memcmp(input->at, text, strlen(text)) == 0;
}

/* Is all that is left a prefix of the text? */
static bool may_become(const struct input *input, const char *text)
{
    return input->left < strlen(text) && memcmp(input->at, text, input->left) == 0;
}

static enum redis_verdict take_text(struct input *input, const char *text)
{
    if (starts_with(input, text)) {
        take(input, strlen(text));
        return REDIS_WHOLE;
    }
    return may_become(input, text) ? REDIS_MORE : REDIS_BAD;
}

/* The number in its canonical form, and CRLF. */
static enum redis_verdict take_number(struct input *input, uintmax_t max, uintmax_t *number)
{
    char digits[32] = "", again[32];
    size_t count = 0;

    while (count < input->left && isdigit((unsigned char)input->at[count])) {
        if (count == sizeof(digits) - 1)
            return REDIS_BAD;
        digits[count] = input->at[count];
        count++;
    }
    if (count == 0)
        return input->left == 0 ? REDIS_MORE : REDIS_BAD;
    errno = 0;
    *number = strtoumax(digits, NULL, 10);
    snprintf(again, sizeof(again), "%ju", *number);
    if (errno != 0 || strcmp(again, digits) != 0 || *number > max)
        return REDIS_BAD;
    take(input, count);
    return take_text(input, "\r\n");
}

static void add_word(struct redis_command *command, const char *data, size_t length)
{
    struct redis_word *word;

    command->words = realloc(command->words, (command->word_count + 1) * sizeof(*word));
    word = &command->words[command->word_count++];
    word->length = length;
    word->data = calloc(length + 1, 1);
    memcpy(word->data, data, length);
}

static enum redis_verdict bad(struct redis_command *command, const char *text)
{
    snprintf(command->error, sizeof(command->error), "Protocol error: %s", text);
    return REDIS_BAD;
}

/* One bulk string. */
static enum redis_verdict take_word(struct redis_command *command, struct input *input)
{
    char text[40];
    uintmax_t length;

    if (input->left == 0)
        return REDIS_MORE;
    if (*input->at != '$') {
        char c = memchr("\r\n", *input->at, 3) ? ' ' : *input->at;

        snprintf(text, sizeof(text), "expected '$', got '%c'", c);
        return bad(command, text);
    }
    take(input, 1);

    enum redis_verdict verdict = take_number(input, BULK_MAX, &length);
    if (verdict == REDIS_BAD)
        return bad(command, "invalid bulk length");
    if (verdict == REDIS_MORE || input->left < length)
        return REDIS_MORE;

    const char *word = input->at;
    take(input, length);
    verdict = take_text(input, "\r\n");
    if (verdict == REDIS_BAD)
        return bad(command, "expected CRLF after a bulk string");
    if (verdict == REDIS_WHOLE)
        add_word(command, word, length);
    return verdict;
}

enum redis_verdict redis_read_command(struct redis_command *command, const char *data,
                                      size_t length)
{
    struct input input = {data, length};
    uintmax_t count;
    enum redis_verdict verdict = take_text(&input, "*");

    memset(command, 0, sizeof(*command));
    if (verdict == REDIS_WHOLE && take_text(&input, "-") == REDIS_WHOLE) {
        verdict = take_number(&input, REPLY_MAX, &count);
        if (verdict == REDIS_WHOLE && count == 0)
            verdict = REDIS_BAD;
        count = 0;
    } else if (verdict == REDIS_WHOLE) {
        verdict = take_number(&input, ARGUMENTS_MAX, &count);
    }
    if (verdict == REDIS_BAD)
        return bad(command, "invalid multibulk length");
    while (verdict == REDIS_WHOLE && command->word_count < count)
        verdict = take_word(command, &input);
    command->length = (size_t)(input.at - data);
    return verdict;
}

void redis_command_clear(struct redis_command *command)
{
    for (size_t i = 0; i < command->word_count; i++)
        free(command->words[i].data);
    free(command->words);
    memset(command, 0, sizeof(*command));
}

/* The byte that an escape in double quotes means, and how many bytes it takes. */
static char escaped(const char *at, size_t *taken)
{
    char hex[3] = {0};

    *taken = 2;
    switch (at[1]) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    case 'x':
        if (!isxdigit((unsigned char)at[2]) || !isxdigit((unsigned char)at[3]))
            return 'x';
        *taken = 4;
        memcpy(hex, at + 2, 2);
        return (char)strtoul(hex, NULL, 16);
    default:
        return at[1];
    }
}

/* One word of a NUL-terminated line, starting at *at. False: its quotes do not close, or close in
 * mid-word. */
static bool split_word(struct redis_command *command, const char **at)
{
    char *word = calloc(strlen(*at) + 1, 1), quote = 0;
    const char *next = *at;
    size_t length = 0;
    bool good = true, ended = false;

    while (!ended) {
        size_t taken = 1;
        char c = *next;

        if (c == '\0') {
            good = quote == 0;
            break;
        }
        if (quote == 0 && strchr(" \t\r\n", c)) {
            ended = true;
        } else if (quote == 0 && (c == '"' || c == '\'')) {
            quote = c;
        } else if (quote != 0 && c == quote) {
            good = next[1] == '\0' || isspace((unsigned char)next[1]);
            ended = true;
        } else if (quote == '"' && c == '\\' && next[1] != '\0') {
            word[length++] = escaped(next, &taken);
        } else if (quote == '\'' && c == '\\' && next[1] == '\'') {
            word[length++] = '\'';
            taken = 2;
        } else {
            word[length++] = c;
        }
        next += taken;
    }
    if (good)
        add_word(command, word, length);
    free(word);
    *at = next;
    return good;
}

enum redis_verdict redis_read_inline(struct redis_command *command, const char *data, size_t length)
{
    size_t end = 0;

    memset(command, 0, sizeof(*command));
    while (end < length && data[end] != '\n' && end <= LINE_LIMIT)
        end++;
    if (end > LINE_LIMIT)
        return bad(command, "too big inline request");
    if (end == length)
        return REDIS_MORE;
    command->length = end + 1;
    if (end > 0 && data[end - 1] == '\r')
        end--;
    if (memchr(data, '\0', end))
        return bad(command, "NUL in an inline request");

    char *line = strndup(data, end);
    const char *at = line;
    bool good = true;

    while (good) {
        while (*at != '\0' && isspace((unsigned char)*at))
            at++;
        if (*at == '\0')
            break;
        good = split_word(command, &at);
    }
    free(line);
    return good ? REDIS_WHOLE : bad(command, "unbalanced quotes in request");
}

/* What is still to arrive of a reply, of which the current element is a part. */
struct reply {
    struct input input;
    unsigned __int128 pending;
};

static enum redis_verdict take_line(struct input *input)
{
    size_t length = 0;

    while (length < input->left && input->at[length] != '\r' && input->at[length] != '\n')
        length++;
    if (length > LINE_LIMIT)
        return REDIS_BAD;
    take(input, length);
    return take_text(input, "\r\n");
}

static enum redis_verdict take_bulk(struct input *input)
{
    uintmax_t length;
    enum redis_verdict verdict = take_number(input, REPLY_MAX, &length);

    if (verdict != REDIS_WHOLE)
        return verdict;
    if (input->left < length)
        return REDIS_MORE;
    take(input, length);
    return take_text(input, "\r\n");
}

static enum redis_verdict take_element(struct reply *reply, bool first);

/* What follows an aggregate's first line: this many elements in place of one. */
static enum redis_verdict take_elements(struct reply *reply, uintmax_t count)
{
    enum redis_verdict verdict = REDIS_WHOLE;

    reply->pending += count;
    reply->pending--;
    if (reply->pending > (unsigned __int128)1 << 62)
        return REDIS_BAD;
    for (uintmax_t i = 0; i < count && verdict == REDIS_WHOLE; i++)
        verdict = take_element(reply, false);
    return verdict;
}

static enum redis_verdict take_aggregate(struct reply *reply, char type, bool first)
{
    bool pairs = type == '%' || type == '|';
    uintmax_t count;
    enum redis_verdict verdict =
        take_number(&reply->input, pairs ? REPLY_MAX / 2 : REPLY_MAX, &count);

    if (verdict != REDIS_WHOLE)
        return verdict;
    if (type == '>' && !first)
        return REDIS_BAD;
    if (type != '|')
        return take_elements(reply, pairs ? 2 * count : count);
    /* The element that it belongs to is still the current one. */
    reply->pending++;
    verdict = take_elements(reply, 2 * count);
    return verdict == REDIS_WHOLE ? take_element(reply, false) : verdict;
}

static enum redis_verdict take_element(struct reply *reply, bool first)
{
    struct input *input = &reply->input;
    enum redis_verdict verdict;

    if (input->left == 0)
        return REDIS_MORE;
    char type = *input->at;
    take(input, 1);
    if (type == '\0' || !strchr("+-:(,#_$!=*~>%|", type))
        return REDIS_BAD;
    if (strchr("$*", type) && input->left > 0 && *input->at == '-')
        verdict = take_text(input, "-1\r\n");
    else if (strchr("*~>%|", type))
        return take_aggregate(reply, type, first);
    else if (strchr("$!=", type))
        verdict = take_bulk(input);
    else if (type == '_')
        verdict = take_text(input, "\r\n");
    else
        verdict = take_line(input);
    reply->pending--;
    return verdict;
}

enum redis_verdict redis_read_reply(const char *data, size_t length, size_t *reply_length)
{
    struct reply reply = {.input = {data, length}, .pending = 1};
    enum redis_verdict verdict = take_element(&reply, true);

    *reply_length = (size_t)(reply.input.at - data);
    return verdict;
}
