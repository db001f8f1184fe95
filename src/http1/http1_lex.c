/* SPDX-License-Identifier: ISC */
/* Character classes, lists and numbers of RFC 9110 and 9112. */
#include "http1/http1_internal.h"

enum {
    TOKEN = HTTP1_CLASS_TOKEN,
    LINE = HTTP1_CLASS_LINE,
    PATH = HTTP1_CLASS_PATH,
    HOST = HTTP1_CLASS_HOST,
    DIGIT = HTTP1_CLASS_DIGIT
};

/* Letters and digits are in all relevant classes. */
#define WORD  (TOKEN | LINE | PATH | HOST)
#define PLAIN (TOKEN | LINE | PATH) /* also allowed in a token */

/* RFC 3986 3.3 requires many of these to be percent-encoded in a path or query, and "%" to be
 * followed by two digits. But they are sent as they are, no peer frames a message by them, and we
 * pass them on unmodified. Only "#" ends it; what follows is not for the upstream.
 *
 * In registered names RFC 3986 also allows sub-delims and percent-encoding. No resolver knows such
 * names; their only use is to make two peers read two different hosts. */
const uint8_t http1_classes[256] = {
    ['\t'] = LINE,
    [' '] = LINE,
    ['"'] = LINE | PATH,
    ['('] = LINE | PATH,
    [')'] = LINE | PATH,
    [','] = LINE | PATH,
    ['/'] = LINE | PATH,
    [':'] = LINE | PATH,
    [';'] = LINE | PATH,
    ['='] = LINE | PATH,
    ['@'] = LINE | PATH,
    ['<'] = LINE | PATH,
    ['>'] = LINE | PATH,
    ['\\'] = LINE | PATH,
    ['?'] = LINE | PATH,
    ['['] = LINE | PATH,
    [']'] = LINE | PATH,
    ['{'] = LINE | PATH,
    ['}'] = LINE | PATH,
    ['#'] = LINE | TOKEN,
    ['|'] = PLAIN,
    ['^'] = PLAIN,
    ['`'] = PLAIN,
    ['%'] = PLAIN,
    ['!'] = PLAIN,
    ['$'] = PLAIN,
    ['&'] = PLAIN,
    ['\''] = PLAIN,
    ['*'] = PLAIN,
    ['+'] = PLAIN,
    ['-'] = WORD,
    ['.'] = WORD,
    ['_'] = WORD,
    ['~'] = WORD,
    ['0' ... '9'] = WORD | DIGIT,
    ['A' ... 'Z'] = WORD,
    ['a' ... 'z'] = WORD,
    [0x80 ... 0xff] = LINE | PATH,
};

int http1_hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool http1_parse_number(const char *text, size_t length, uint64_t *number)
{
    int64_t value = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned)text[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *number = (uint64_t)value;
    return length > 0;
}

/* The comma that ends the member at `at`, or `end`. */
static const char *member_end(const char *at, const char *end)
{
    bool quoted = false;

    at += http1_token_length(at, (size_t)(end - at)); /* most are just a token */
    for (; at < end; at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (quoted && *at == '\\' && at + 1 < end)
            at++;
        else if (*at == ',' && !quoted)
            break;
    }
    return at;
}

bool http1_list_next(struct http1_list *list, const char **member, size_t *length)
{
    if (!list->more)
        return false;

    const char *start = list->at, *comma = member_end(start, list->end), *end = comma;

    list->more = comma < list->end;
    list->at = list->more ? comma + 1 : comma;
    while (start < end && http1_is_space(*start))
        start++;
    while (end > start && http1_is_space(end[-1]))
        end--;
    *member = start;
    *length = (size_t)(end - start);
    return true;
}

enum http1_result http1_bad(struct http1_head *head, uint16_t status, const char *text)
{
    head->stage = STAGE_BAD;
    head->bad_class = status;
    head->bad_status = head->kind == HTTP1_KIND_RESPONSE ? 502 : status;
    head->bad_text = text;
    return HTTP1_BAD;
}
