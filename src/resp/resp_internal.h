/* What the resp_*.c files share. */
#ifndef KAPROXY_RESP_INTERNAL_H
#define KAPROXY_RESP_INTERNAL_H

#include "resp/resp.h"

/* Reads a count and its CRLF from *at on, and moves *at behind it. What is refused is so at its
 * first wrong byte. `max` is at most RESP_COUNT_MAX. */
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

#endif
