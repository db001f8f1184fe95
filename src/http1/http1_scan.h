/* SPDX-License-Identifier: ISC */
/* Where a line of a head ends, and where its first token does: the two loops that read most bytes.
 *
 * Sixteen bytes at a time if the compiler has SSE2; otherwise, or with the macro
 * HTTP1_SCAN_PORTABLE, byte by byte. No byte outside the data is read. */
#ifndef KAPROXY_HTTP1_SCAN_H
#define KAPROXY_HTTP1_SCAN_H

#include "http1/http1_internal.h"

#if defined(__SSE2__) && !defined(HTTP1_SCAN_PORTABLE)
#define HTTP1_SCAN_SSE2 1
#include <emmintrin.h>
#else
#define HTTP1_SCAN_SSE2 0
#endif

/* Byte by byte: for short data, and as the reference for the other way. For tokens the reference is
 * http1_token_length. */
static inline size_t http1_scan_line_portable(const char *data, size_t length)
{
    size_t at = 0;

    while (at < length && http1_is_line((unsigned char)data[at]))
        at++;
    return at;
}

#if HTTP1_SCAN_SSE2
static inline __m128i http1_scan_load16(const char *data)
{
    return _mm_loadu_si128((const __m128i *)(const void *)data);
}

/* Eight bytes, followed by eight NULs, which stop either scan. */
static inline __m128i http1_scan_load8(const char *data)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)data);
}

/* A bit for each byte that is not allowed in a line: up to 0x1f except HTAB; DEL. */
static inline unsigned http1_scan_controls(__m128i bytes)
{
    const __m128i last = _mm_set1_epi8(0x1f);
    __m128i low = _mm_cmpeq_epi8(_mm_max_epu8(bytes, last), last);
    __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}

/* A bit for each byte that is a letter or "-". Lower-case letters are moved to the lowest signed
 * values, as SSE2 only compares signed bytes. */
static inline unsigned http1_scan_letters(__m128i bytes)
{
    __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    __m128i moved = _mm_add_epi8(lower, _mm_set1_epi8((char)(0x80 - 'a')));
    __m128i letter = _mm_cmplt_epi8(moved, _mm_set1_epi8((char)(0x80 + 'z' - 'a' + 1)));
    __m128i hyphen = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(letter, hyphen));
}
#endif

/* How many leading bytes are allowed in a line; `length` if all are. */
static inline size_t http1_scan_line(const char *data, size_t length)
{
    size_t at = 0;

#if HTTP1_SCAN_SSE2
    for (; length - at >= 16; at += 16) {
        unsigned controls = http1_scan_controls(http1_scan_load16(data + at));

        if (controls != 0)
            return at + (size_t)__builtin_ctz(controls);
    }
    if (length - at >= 8)
        at += (size_t)__builtin_ctz(http1_scan_controls(http1_scan_load8(data + at)));
#endif
    return at + http1_scan_line_portable(data + at, length - at);
}

/* How many leading bytes are token characters. Most field names are short and consist of letters
 * and "-": these are skipped at once. */
static inline size_t http1_scan_token(const char *data, size_t length)
{
    size_t at = 0;

#if HTTP1_SCAN_SSE2
    if (length >= 16) /* the mask's upper half is always clear */
        at = (size_t)__builtin_ctz(~http1_scan_letters(http1_scan_load16(data)));
    else if (length >= 8)
        at = (size_t)__builtin_ctz(~http1_scan_letters(http1_scan_load8(data)));
#endif
    return at + http1_token_length(data + at, length - at);
}

#endif
