#include "http1_internal.h"

#include <string.h>
#include <strings.h>

enum {
    TOKEN = 1, /* RFC 9110 5.6.2 */
    LINE = 2,  /* RFC 9110 5.5: field-vchar, SP, HTAB */
    URI = 4,   /* RFC 3986 3.3: pchar without pct-encoded, and "/" */
    QUERY = 8, /* the same, "?" and EXTRA */
    HOST = 16,
    DIGIT = 32
};

/* Letters and digits are in all classes of interest. */
#define WORD  (TOKEN | LINE | URI | QUERY | HOST)
#define PLAIN (TOKEN | LINE | URI | QUERY) /* token characters that are pchar too */
#define PCHAR (LINE | URI | QUERY)
/* Not in RFC 3986's query, but every browser and PHP's "a[]=1" send them as they are, and no peer
 * frames a message by them. */
#define EXTRA (LINE | QUERY)

/* In registered names RFC 3986 also allows sub-delims and percent encoding. No resolver knows such
 * names; they serve to be read as two different hosts by two peers. */
static const uint8_t classes[256] = {
    ['\t'] = LINE,
    [' '] = LINE,
    ['"'] = LINE,
    ['('] = PCHAR,
    [')'] = PCHAR,
    [','] = PCHAR,
    ['/'] = PCHAR,
    [':'] = PCHAR,
    [';'] = PCHAR,
    ['='] = PCHAR,
    ['@'] = PCHAR,
    ['<'] = LINE,
    ['>'] = LINE,
    ['\\'] = LINE,
    ['?'] = LINE | QUERY,
    ['['] = EXTRA,
    [']'] = EXTRA,
    ['{'] = EXTRA,
    ['}'] = EXTRA,
    ['|'] = EXTRA | TOKEN,
    ['^'] = EXTRA | TOKEN,
    ['`'] = EXTRA | TOKEN,
    ['#'] = LINE | TOKEN,
    ['%'] = LINE | TOKEN,
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
    [0x80 ... 0xff] = LINE,
};

bool http1_is_token(unsigned char c)
{
    return classes[c] & TOKEN;
}

bool http1_is_line(unsigned char c)
{
    return classes[c] & LINE;
}

bool http1_is_uri(unsigned char c)
{
    return classes[c] & URI;
}

bool http1_is_query(unsigned char c)
{
    return classes[c] & QUERY;
}

bool http1_is_host(unsigned char c)
{
    return classes[c] & HOST;
}

bool http1_is_digit(unsigned char c)
{
    return classes[c] & DIGIT;
}

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

bool http1_is_token_text(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!http1_is_token((unsigned char)text[i]))
            return false;
    return length > 0;
}

bool http1_text_is(const char *text, size_t length, const char *other)
{
    return length == strlen(other) && strncasecmp(text, other, length) == 0;
}

bool http1_parse_number(const char *text, size_t length, uint64_t *number)
{
    uint64_t value = 0;

    for (size_t i = 0; i < length; i++) {
        if (!http1_is_digit((unsigned char)text[i]))
            return false;
        unsigned digit = (unsigned)(text[i] - '0');
        if (value > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return length > 0;
}

void http1_list_begin(struct http1_list *list, const char *text, size_t length)
{
    list->at = text;
    list->end = text + length;
    list->more = length > 0;
}

/* The comma that ends the member at `at`, or `end`. */
static const char *member_end(const char *at, const char *end)
{
    bool quoted = false;

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

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

bool http1_list_next(struct http1_list *list, const char **member, size_t *length)
{
    if (!list->more)
        return false;

    const char *start = list->at, *comma = member_end(start, list->end), *end = comma;

    list->more = comma < list->end;
    list->at = list->more ? comma + 1 : comma;
    while (start < end && is_space(*start))
        start++;
    while (end > start && is_space(end[-1]))
        end--;
    *member = start;
    *length = (size_t)(end - start);
    return true;
}
