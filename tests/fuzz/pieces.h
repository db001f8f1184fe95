/* SPDX-License-Identifier: ISC */
/* Data in pieces, as they arrive. */
#ifndef KAPROXY_FUZZ_PIECES_H
#define KAPROXY_FUZZ_PIECES_H

#include <stddef.h>

unsigned pieces_random(unsigned *random);

/* Where the next piece ends; now and then it is a large one. */
size_t pieces_next(size_t end, size_t length, unsigned *random);

/* In a block of exactly its size, so that reads past the end are detected. To be freed. */
char *pieces_copy(const char *data, size_t length);

#endif
