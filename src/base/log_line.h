/* SPDX-License-Identifier: ISC */
/* Values of a log line, and a line of the access log while it is composed. Every exchange has one,
 * so nothing here goes through printf.
 *
 * A line consists of fields, each a name with a value, in one of two formats: logfmt, or JSON (an
 * object, in ASCII). The caller says what kind of value a field has, and the format decides how it
 * is written. */
#ifndef KAPROXY_LOG_LINE_H
#define KAPROXY_LOG_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"

/* Writes text as a logfmt value: in double quotes, with quotes, backslashes, control characters and
 * non-ASCII bytes escaped, truncated to fit. Always ends with NUL when size > 0; returns the
 * length. */
size_t log_quote(char *out, size_t size, const char *text, size_t length);

/* Like log_quote, but without quotes if the text needs none. */
size_t log_value(char *out, size_t size, const char *text, size_t length);

/* The current time as 2026-11-22T10:00:00.123Z; returns its length. */
#define LOG_TIMESTAMP_MAX 40
size_t log_timestamp(char text[LOG_TIMESTAMP_MAX]);

/* A time limit with its unit, as it could be written in kaproxy.ini: 30s, 1500ms. Returns text. */
#define LOG_LIMIT_MAX 32
const char *log_limit(char text[LOG_LIMIT_MAX], usec_t limit);

/* Writes a number's digits, at most LOG_DIGITS_MAX, without a NUL; returns their end. */
#define LOG_DIGITS_MAX 20
char *log_digits(char *at, uint64_t number);

/* Writes text as a JSON string, in ASCII: invalid UTF-8 becomes U+FFFD, byte by byte. Truncated to
 * fit, at a character boundary; without a NUL. Returns the length, 0 if size is below 2. */
#define LOG_JSON_MAX(length) (6 * (length) + 2)
size_t log_json(char *out, size_t size, const char *text, size_t length);

enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* What no longer fits is left out, and there is always room for the newline. */
#define LOG_LINE_MAX 12288
struct log_line {
    enum log_format format;
    size_t length;
    char text[LOG_LINE_MAX];
};

static inline void log_line_start(struct log_line *line, enum log_format format)
{
    line->format = format;
    line->length = 0;
}

/* If the compiler knows the length, this is a few stores. */
static ALWAYS_INLINE void log_line_put(struct log_line *line, const char *text, size_t length)
{
    size_t room = sizeof(line->text) - 1 - line->length;
    if (length <= room) {
        memcpy(line->text + line->length, text, length);
        line->length += length;
    } else {
        memcpy(line->text + line->length, text, room);
        line->length += room;
    }
}

/* A string literal. */
#define LOG_LINE_PUT(line, literal) log_line_put(line, "" literal, sizeof(literal) - 1)

static inline void log_line_text(struct log_line *line, const char *text)
{
    log_line_put(line, text, strlen(text));
}

void log_line_number(struct log_line *line, uint64_t number);

/* A span in milliseconds, with one decimal. */
void log_line_ms(struct log_line *line, usec_t span);

void log_line_timestamp(struct log_line *line);
void log_line_quote(struct log_line *line, const char *text, size_t length);
void log_line_value(struct log_line *line, const char *text, size_t length);
void log_line_json(struct log_line *line, const char *text, size_t length);

/* The line's first field: the current time. */
void log_field_time(struct log_line *line);

/* Fields, whose names are literals. A word is a text that needs no quotes in logfmt. */
#define LOG_FIELD_NUMBER(line, name, number)                                                       \
    do {                                                                                           \
        LOG_FIELD_NAME(line, name);                                                                \
        log_line_number(line, number);                                                             \
    } while (0)

#define LOG_FIELD_MS(line, name, span)                                                             \
    do {                                                                                           \
        LOG_FIELD_NAME(line, name);                                                                \
        log_line_ms(line, span);                                                                   \
    } while (0)

#define LOG_FIELD_WORD(line, name, text)                                                           \
    do {                                                                                           \
        LOG_FIELD_NAME(line, name);                                                                \
        log_field_word(line, text);                                                                \
    } while (0)

/* With quotes if needed, or always. */
#define LOG_FIELD_VALUE(line, name, text, length)                                                  \
    do {                                                                                           \
        LOG_FIELD_NAME(line, name);                                                                \
        (line)->format == LOG_FORMAT_LOGFMT ? log_line_value(line, text, length)                   \
                                            : log_line_json(line, text, length);                   \
    } while (0)

#define LOG_FIELD_QUOTE(line, name, text, length)                                                  \
    do {                                                                                           \
        LOG_FIELD_NAME(line, name);                                                                \
        (line)->format == LOG_FORMAT_LOGFMT ? log_line_quote(line, text, length)                   \
                                            : log_line_json(line, text, length);                   \
    } while (0)

/* No value: "-", or null. */
#define LOG_FIELD_NONE(line, name)                                                                 \
    do {                                                                                           \
        LOG_FIELD_NAME(line, name);                                                                \
        (line)->format == LOG_FORMAT_LOGFMT ? LOG_LINE_PUT(line, "-")                              \
                                            : LOG_LINE_PUT(line, "null");                          \
    } while (0)

/* Ends the line. */
static inline void log_line_end(struct log_line *line)
{
    if (line->format == LOG_FORMAT_JSON)
        LOG_LINE_PUT(line, "}");
    line->text[line->length++] = '\n';
}

/* For the macros above. JSON is out of line: it is not the fast path. */

void log_field_put_json(struct log_line *line, const char *text, size_t length);

#define LOG_FIELD_NAME(line, name)                                                                 \
    ((line)->format == LOG_FORMAT_LOGFMT                                                           \
         ? LOG_LINE_PUT(line, " " name "=")                                                        \
         : log_field_put_json(line, ",\"" name "\":", sizeof(name) + 3))

static inline void log_field_word(struct log_line *line, const char *text)
{
    if (line->format == LOG_FORMAT_LOGFMT)
        log_line_text(line, text);
    else
        log_line_json(line, text, strlen(text));
}

#endif
