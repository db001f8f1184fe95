/* Puts values into a line of a log, without printf: numbers, times, quoted text. */
#include "base/log_line.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

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

/* What does not change within a second is composed once. */
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

void log_line_number(struct log_line *line, uint64_t number)
{
    char digits[LOG_DIGITS_MAX];
    log_line_put(line, digits, (size_t)(log_digits(digits, number) - digits));
}

void log_line_ms(struct log_line *line, usec_t span)
{
    uint64_t tenths = span < 0 ? 0 : ((uint64_t)span + 50) / 100;
    char text[LOG_DIGITS_MAX + 2], *at = log_digits(text, tenths / 10);
    *at++ = '.';
    *at++ = (char)('0' + tenths % 10);
    log_line_put(line, text, (size_t)(at - text));
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
