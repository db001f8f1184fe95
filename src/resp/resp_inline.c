/* SPDX-License-Identifier: ISC */
/* Inline commands, split as the server splits them. */
#include "resp/resp_internal.h"

#include <stdio.h>
#include <string.h>

enum resp_result resp_inline_find(const char *data, size_t length, size_t *line_length)
{
    size_t seen = length <= RESP_LINE_MAX ? length : RESP_LINE_MAX + 1;
    const char *lf = length > 0 ? memchr(data, '\n', seen) : NULL;

    if (lf != NULL) {
        *line_length = (size_t)(lf - data) + 1;
        return RESP_DONE;
    }
    return length > RESP_LINE_MAX ? RESP_BAD : RESP_MORE;
}

/* isspace(3) of the C locale: skipped before a word, and allowed after a closing quote. The line's
 * end is whitespace too. */
static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What ends an unquoted word: not all of these. */
static bool ends_word(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Walks through the words; out NULL: only measures. */
struct reader {
    const char *at, *end;
    char *out;
    size_t length; /* of the word so far */
};

static void put(struct reader *reader, char c)
{
    if (reader->out != NULL)
        reader->out[reader->length] = c;
    reader->length++;
}

/* The text after a backslash in double quotes; there is at least one byte. */
static void read_escape(struct reader *reader)
{
    static const char names[] = "nrtba", bytes[] = "\n\r\t\b\a";
    char c = *reader->at++;

    if (c == 'x' && reader->end - reader->at >= 2 && hex_value(reader->at[0]) >= 0 &&
        hex_value(reader->at[1]) >= 0) {
        put(reader, (char)(hex_value(reader->at[0]) << 4 | hex_value(reader->at[1])));
        reader->at += 2;
        return;
    }
    const char *name = memchr(names, c, sizeof(names) - 1);
    put(reader, name != NULL ? bytes[name - names] : c);
}

/* Up to the closing quote, after which the word must end. */
static bool read_quoted(struct reader *reader, char quote)
{
    while (reader->at < reader->end) {
        char c = *reader->at++;

        if (c == quote)
            return reader->at == reader->end || is_space(*reader->at);
        if (c == '\\' && quote == '"' && reader->at < reader->end)
            read_escape(reader);
        else if (c == '\\' && reader->at < reader->end && *reader->at == '\'')
            put(reader, *reader->at++);
        else
            put(reader, c);
    }
    return false;
}

/* A quote in the middle of a word begins a quoted part, which ends it. */
static bool read_word(struct reader *reader)
{
    reader->length = 0;
    while (reader->at < reader->end && !ends_word(*reader->at)) {
        char c = *reader->at++;

        if (c == '"' || c == '\'')
            return read_quoted(reader, c);
        put(reader, c);
    }
    return true;
}

static bool find_word(struct reader *reader)
{
    while (reader->at < reader->end && is_space(*reader->at))
        reader->at++;
    return reader->at < reader->end;
}

/* How many words there are; -1: unbalanced quotes. */
static long count_words(struct reader reader)
{
    long count = 0;

    for (; find_word(&reader); count++)
        if (!read_word(&reader))
            return -1;
    return count;
}

/* "*3\r\n", "$3\r\n". Returns its length, 0 if there is not enough space for it and the `behind`
 * bytes after it. */
static size_t put_count(char *out, size_t size, char type, size_t count, size_t behind)
{
    char line[24];
    size_t length = (size_t)snprintf(line, sizeof(line), "%c%zu\r\n", type, count);

    if (size < length || size - length < behind)
        return 0;
    memcpy(out, line, length);
    return length;
}

static ssize_t compose(char *out, size_t size, struct reader reader, size_t count)
{
    size_t at = put_count(out, size, '*', count, 0);

    if (at == 0)
        return -1;
    while (find_word(&reader)) {
        struct reader measured = {.at = reader.at, .end = reader.end};

        if (!read_word(&measured))
            return -1;
        size_t line = put_count(out + at, size - at, '$', measured.length, measured.length + 2);
        if (line == 0)
            return -1;
        reader.out = out + at + line;
        if (!read_word(&reader))
            return -1;
        at += line + reader.length;
        memcpy(out + at, "\r\n", 2);
        at += 2;
    }
    return (ssize_t)at;
}

ssize_t resp_inline_compose(char *out, size_t size, const char *line, size_t length,
                            const char **error)
{
    if (length > 0 && memchr(line, '\0', length) != NULL) {
        *error = "Protocol error: NUL in an inline request";
        return -1;
    }

    struct reader reader = {.at = line, .end = line + length};
    long count = count_words(reader);

    if (count < 0) {
        *error = "Protocol error: unbalanced quotes in request";
        return -1;
    }
    if (count == 0)
        return 0;
    *error = "Protocol error: too big inline request";
    return compose(out, size, reader, (size_t)count);
}
