/* SPDX-License-Identifier: ISC */
/* Where a word ends: the loop that reads most bytes of commands.
 *
 * Sixteen bytes at a time if the compiler has SSE2; otherwise, or with the macro
 * MEMCACHED_SCAN_PORTABLE, byte by byte. No byte outside the data is read. */
#ifndef KAPROXY_MEMCACHED_SCAN_H
#define KAPROXY_MEMCACHED_SCAN_H

#include "memcached/memcached_internal.h"

#if defined(__SSE2__) && !defined(MEMCACHED_SCAN_PORTABLE)
#include <emmintrin.h>

/* A bit for each byte that is not part of a word: up to the blank, and DEL. */
static inline unsigned memcached_scan_ends(__m128i bytes)
{
    const __m128i blank = _mm_set1_epi8(' ');
    __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(bytes, blank), blank);

    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f))));
}
#endif

/* The end of the word at `at`, or `end`. */
static inline const char *memcached_scan_word(const char *at, const char *end)
{
#if defined(__SSE2__) && !defined(MEMCACHED_SCAN_PORTABLE)
    while (end - at >= 16) {
        unsigned ends = memcached_scan_ends(_mm_loadu_si128((const __m128i *)(const void *)at));

        if (ends != 0)
            return at + __builtin_ctz(ends);
        at += 16;
    }
#endif
    while (at < end && memcached_is_word(*at))
        at++;
    return at;
}

#endif
