/* SPDX-License-Identifier: ISC */
/* Shared by the resp_*.c files. */
#ifndef KAPROXY_RESP_INTERNAL_H
#define KAPROXY_RESP_INTERNAL_H

#include <endian.h>
#include <string.h>

#include "resp/resp.h"

#define RESP_CRLF 0x0a0d /* as a number whose first byte is the lowest */

static ALWAYS_INLINE bool resp_is_crlf(const char *at)
{
    uint16_t word;

    memcpy(&word, at, sizeof(word));
    return le16toh(word) == RESP_CRLF;
}

/* Most counts: one or two digits and CRLF, within the four bytes present. Returns how many of these
 * they use; 0: anything else, for resp_read_count. */
static ALWAYS_INLINE size_t resp_quick_count(const char *at, uint64_t *count)
{
    uint32_t word;

    memcpy(&word, at, sizeof(word));
    word = le32toh(word);

    uint32_t first = (word & 0xff) - '0', second = (word >> 8 & 0xff) - '0';
    if ((word >> 8 & 0xffff) == RESP_CRLF && first <= 9) {
        *count = first;
        return 3;
    }
    if (word >> 16 == RESP_CRLF && first - 1 <= 8 && second <= 9) {
        *count = first * 10 + second;
        return 4;
    }
    return 0;
}

/* Reads a count and its CRLF from *at on, and moves *at past it. Anything invalid is rejected at
 * its first wrong byte. `max` is at most RESP_COUNT_MAX. */
static ALWAYS_INLINE enum resp_result resp_read_count(const char **at, const char *end,
                                                      uint64_t max, uint64_t *count)
{
    const char *first = *at, *next = first;
    uint64_t number = 0;

    for (; next < end; next++) {
        unsigned digit = (unsigned)(unsigned char)*next - '0';

        if (digit > 9)
            break;
        number = number * 10 + digit;
        if (number > max || (next > first && *first == '0'))
            return RESP_BAD;
    }
    if (next == end)
        return RESP_MORE;
    if (next == first || *next != '\r')
        return RESP_BAD;
    if (++next == end)
        return RESP_MORE;
    if (*next != '\n')
        return RESP_BAD;
    *at = next + 1;
    *count = number;
    return RESP_DONE;
}

/* The common case: a bulk string that is complete, after its type, and valid. Returns the position
 * after it; NULL: anything else. */
static ALWAYS_INLINE const char *resp_whole_bulk(const char *at, const char *end, uint64_t max,
                                                 const char **start, size_t *length)
{
    uint64_t count;

    if (end - at < 5)
        return NULL;
    size_t line = resp_quick_count(at, &count);
    at += line;
    if (line == 0 && resp_read_count(&at, end, max, &count) != RESP_DONE)
        return NULL;
    if ((uint64_t)(end - at) < count + 2 || !resp_is_crlf(at + count))
        return NULL;
    *start = at;
    *length = (size_t)count;
    return at + count + 2;
}

#endif
