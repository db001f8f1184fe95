/* SPDX-License-Identifier: ISC */
/* Words, numbers and base64. */
#include "memcached/memcached_internal.h"
#include "memcached/memcached_scan.h"

const bool memcached_in_word[256] = {
    ['!' ... '~'] = true,
    [0x80 ... 0xff] = true,
};

void memcached_words_split(struct memcached_words *words, const char *line, size_t length)
{
    const char *at = line, *end = line + length;
    size_t count = 0;

    words->unclean = false;
    words->indented = length > 0 && *line == ' ';
    while (at < end) {
        const char *start = at;

        at = memcached_scan_word(at, end);
        /* A control character is part of the word, so that no valid number or name has one. */
        while (at < end && *at != ' ') {
            words->unclean |= !memcached_is_word(*at);
            at++;
        }
        if (at > start) {
            if (count < MEMCACHED_WORDS_MAX)
                words->at[count] = (struct memcached_word){start, (size_t)(at - start)};
            count++;
        }
        while (at < end && *at == ' ')
            at++;
    }
    words->count = count;
}

bool memcached_parse_u64(const char *text, size_t length, uint64_t *number)
{
    uint64_t value = 0;

    if (length == 0 || length > sizeof("18446744073709551615") - 1)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';

        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *number = value;
    return true;
}

bool memcached_parse_u32(const char *text, size_t length, uint32_t *number)
{
    uint64_t value = 0;

    if (length == 0 || length > sizeof("4294967295") - 1)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';

        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *number = (uint32_t)value;
    return value <= UINT32_MAX;
}

bool memcached_is_i32(const char *text, size_t length)
{
    uint32_t number;
    bool negative = length > 0 && *text == '-';

    return memcached_parse_u32(text + negative, length - negative, &number) &&
           number <= (uint32_t)INT32_MAX + negative;
}

bool memcached_is_fraction(const char *text, size_t length)
{
    const char *point = memchr(text, '.', length);
    size_t whole = point ? (size_t)(point - text) : length;
    uint32_t number;

    if (!memcached_parse_u32(text, whole, &number))
        return false;
    return !point || memcached_parse_u32(point + 1, length - whole - 1, &number);
}

/* -1: not a base64 digit. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool memcached_base64_parse(const char *text, size_t length, bool *breaks_line)
{
    *breaks_line = false;
    if (length == 0 || length % 4 != 0)
        return false;

    size_t padding = text[length - 1] != '=' ? 0 : text[length - 2] != '=' ? 1 : 2;
    uint32_t bits = 0;

    for (size_t i = 0; i < length - padding; i++) {
        int value = base64_value(text[i]);

        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 > 0) { /* another byte is complete */
            unsigned char byte = (unsigned char)(bits >> (6 - 2 * (i % 4)));

            *breaks_line |= byte == '\r' || byte == '\n';
        }
    }
    return true;
}
