/* SPDX-License-Identifier: ISC */
/* UTF-8 (RFC 3629). */
#ifndef KAPROXY_UTF8_H
#define KAPROXY_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the character at `at`, and its code point; 0: invalid. `length` is at least 1. */
static inline size_t utf8_decode(const char *at, size_t length, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *text = (const unsigned char *)at;
    unsigned char first = text[0];
    size_t width = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (width == 0 || width > length || first >= 0xf8)
        return 0;
    *character = width == 1 ? first : first & (0x7fu >> width);
    for (size_t i = 1; i < width; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *character = *character << 6 | (text[i] & 0x3f);
    }
    bool surrogate = *character >= 0xd800 && *character < 0xe000;
    return *character < least[width] || surrogate || *character > 0x10ffff ? 0 : width;
}

#endif
