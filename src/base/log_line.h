/* Values of a line in a log, and a line of the access log while it is put together. There is one
 * for each exchange, so nothing here goes through printf. */
#ifndef KAPROXY_LOG_LINE_H
#define KAPROXY_LOG_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"

/* Writes text as a logfmt value: in double quotes, with quotes, backslashes and control characters
 * escaped, cut to fit. Always ends with NUL when size > 0; returns the length. */
size_t log_quote(char *out, size_t size, const char *text, size_t length);

/* As log_quote, but without quotes where the text needs none. */
size_t log_value(char *out, size_t size, const char *text, size_t length);

/* The present time as 2026-11-22T10:00:00.123Z; returns its length. */
#define LOG_TIMESTAMP_MAX 40
size_t log_timestamp(char text[LOG_TIMESTAMP_MAX]);

/* A time limit with its unit, as it could be written in kaproxy.ini: 30s, 1500ms. Returns text. */
#define LOG_LIMIT_MAX 32
const char *log_limit(char text[LOG_LIMIT_MAX], usec_t limit);

/* Writes a number's digits, LOG_DIGITS_MAX at most, without a NUL; returns their end. */
#define LOG_DIGITS_MAX 20
char *log_digits(char *at, uint64_t number);

/* What does not fit any more is left out, and there is always room for the newline. */
#define LOG_LINE_MAX 8192
struct log_line {
    size_t length;
    char text[LOG_LINE_MAX];
};

static inline void log_line_start(struct log_line *line)
{
    line->length = 0;
}

/* Where the length is known to the compiler, this is a few stores. */
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

/* A text that the compiler knows. */
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

static inline void log_line_end(struct log_line *line)
{
    line->text[line->length++] = '\n';
}

#endif
