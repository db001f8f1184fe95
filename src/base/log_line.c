/* SPDX-License-Identifier: ISC */
/* Puts values into a log line without printf: numbers, times, quoted text. */
#include "base/log_line.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "base/utf8.h"

size_t log_quote(char *out, size_t size, const char *text, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    if (size < 3) {
        if (size > 0)
            out[0] = '\0';
        return 0;
    }
    out[n++] = '"';
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[4];
        size_t width = 0;
        if (c == '"' || c == '\\') {
            escaped[width++] = '\\';
            escaped[width++] = (char)c;
        } else if (c < 0x20 || c >= 0x7f) {
            escaped[width++] = '\\';
            escaped[width++] = 'x';
            escaped[width++] = digits[c >> 4];
            escaped[width++] = digits[c & 15];
        } else {
            escaped[width++] = (char)c;
        }
        if (n + width + 2 > size)
            break;
        memcpy(out + n, escaped, width);
        n += width;
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

size_t log_value(char *out, size_t size, const char *text, size_t length)
{
    bool plain = length > 0 && length < size;
    for (size_t i = 0; plain && i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        plain = c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
    }
    if (!plain)
        return log_quote(out, size, text, length);
    memcpy(out, text, length);
    out[length] = '\0';
    return length;
}

/* \u1234; returns its end. */
static char *put_unit(char *at, uint32_t unit)
{
    static const char digits[] = "0123456789abcdef";
    *at++ = '\\';
    *at++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4)
        *at++ = digits[unit >> shift & 15];
    return at;
}

/* One character of a JSON string, 12 bytes at most; returns its end. */
static char *put_character(char *at, uint32_t c)
{
    if (c >= 0x10000) {
        at = put_unit(at, 0xd800 + ((c - 0x10000) >> 10));
        return put_unit(at, 0xdc00 + ((c - 0x10000) & 0x3ff));
    }
    if (c < 0x20 || c >= 0x7f)
        return put_unit(at, c);
    if (c == '"' || c == '\\')
        *at++ = '\\';
    *at++ = (char)c;
    return at;
}

size_t log_json(char *out, size_t size, const char *text, size_t length)
{
    size_t n = 0;
    if (size < 2)
        return 0;
    out[n++] = '"';
    while (length > 0) {
        uint32_t character = 0;
        char escaped[12];
        size_t width = utf8_decode(text, length, &character);
        if (width == 0) {
            character = 0xfffd;
            width = 1;
        }
        size_t put = (size_t)(put_character(escaped, character) - escaped);
        if (n + put + 1 > size)
            break;
        memcpy(out + n, escaped, put);
        n += put;
        text += width;
        length -= width;
    }
    out[n++] = '"';
    return n;
}

const char *log_limit(char text[LOG_LIMIT_MAX], usec_t limit)
{
    bool whole = limit % USEC_PER_SEC == 0;
    snprintf(text, LOG_LIMIT_MAX, "%" PRId64 "%s", limit / (whole ? USEC_PER_SEC : USEC_PER_MSEC),
             whole ? "s" : "ms");
    return text;
}

char *log_digits(char *at, uint64_t number)
{
    char *end = at + 1;
    for (uint64_t rest = number; rest >= 10; rest /= 10)
        end++;
    at = end;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return end;
}

/* The part that does not change within a second is composed once. */
size_t log_timestamp(char text[LOG_TIMESTAMP_MAX])
{
    static _Thread_local struct {
        size_t length; /* 0: none yet */
        time_t second;
        char text[LOG_TIMESTAMP_MAX - 5];
    } last;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (last.length == 0 || now.tv_sec != last.second) {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        last.length = strftime(last.text, sizeof(last.text), "%Y-%m-%dT%H:%M:%S", &tm);
        last.second = now.tv_sec;
    }
    unsigned ms = (unsigned)(now.tv_nsec / 1000000);
    memcpy(text, last.text, last.length);
    char *at = text + last.length;
    *at++ = '.';
    *at++ = (char)('0' + ms / 100);
    *at++ = (char)('0' + ms / 10 % 10);
    *at++ = (char)('0' + ms % 10);
    *at++ = 'Z';
    return (size_t)(at - text);
}

/* Whether this many bytes certainly fit; they are then composed in place. */
static bool has_room(const struct log_line *line, size_t length)
{
    return length <= sizeof(line->text) - 1 - line->length;
}

void log_line_number(struct log_line *line, uint64_t number)
{
    char digits[LOG_DIGITS_MAX];
    if (has_room(line, sizeof(digits)))
        line->length = (size_t)(log_digits(line->text + line->length, number) - line->text);
    else
        log_line_put(line, digits, (size_t)(log_digits(digits, number) - digits));
}

#define MS_MAX (LOG_DIGITS_MAX + 2)

static char *put_ms(char *at, usec_t span)
{
    uint64_t tenths = span < 0 ? 0 : ((uint64_t)span + 50) / 100;
    at = log_digits(at, tenths / 10);
    *at++ = '.';
    *at++ = (char)('0' + tenths % 10);
    return at;
}

void log_line_ms(struct log_line *line, usec_t span)
{
    char text[MS_MAX];
    if (has_room(line, sizeof(text)))
        line->length = (size_t)(put_ms(line->text + line->length, span) - line->text);
    else
        log_line_put(line, text, (size_t)(put_ms(text, span) - text));
}

void log_line_timestamp(struct log_line *line)
{
    char text[LOG_TIMESTAMP_MAX];
    log_line_put(line, text, log_timestamp(text));
}

void log_line_quote(struct log_line *line, const char *text, size_t length)
{
    line->length +=
        log_quote(line->text + line->length, sizeof(line->text) - line->length, text, length);
}

void log_line_value(struct log_line *line, const char *text, size_t length)
{
    line->length +=
        log_value(line->text + line->length, sizeof(line->text) - line->length, text, length);
}

void log_line_json(struct log_line *line, const char *text, size_t length)
{
    /* As everywhere, leave room for the newline. */
    size_t room = sizeof(line->text) - 1 - line->length;
    line->length += log_json(line->text + line->length, room, text, length);
}

void log_field_put_json(struct log_line *line, const char *text, size_t length)
{
    log_line_put(line, text, length);
}

void log_field_time(struct log_line *line)
{
    bool json = line->format == LOG_FORMAT_JSON;
    if (json)
        LOG_LINE_PUT(line, "{\"ts\":\"");
    else
        LOG_LINE_PUT(line, "ts=");
    log_line_timestamp(line);
    if (json)
        LOG_LINE_PUT(line, "\"");
}
