/* SPDX-License-Identifier: ISC */
/* Data in pieces, as they arrive. */
#include "pieces.h"

#include <stdlib.h>
#include <string.h>

#include "require.h"

unsigned pieces_random(unsigned *random)
{
    *random = *random * 1103515245U + 12345U;
    return *random >> 16;
}

size_t pieces_next(size_t end, size_t length, unsigned *random)
{
    size_t step = pieces_random(random) % 7;

    if (step == 0)
        step = 1 + pieces_random(random) % 200;
    return length - end < step ? length : end + step;
}

char *pieces_copy(const char *data, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);

    REQUIRE(copy);
    memcpy(copy, data, length);
    return copy;
}
