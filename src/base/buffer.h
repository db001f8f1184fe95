/* SPDX-License-Identifier: ISC */
/* A growing run of bytes: appended behind, consumed in front. Holds no memory while it is empty. */
#ifndef KAPROXY_BUFFER_H
#define KAPROXY_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/* All zero: empty. */
struct buffer {
    char *memory;
    size_t start, end; /* what is held */
    size_t size;       /* of its own memory; 0: the bytes are borrowed */
};

static inline size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* The first byte held, NULL for none; the pointer is valid until the buffer is changed. */
static inline char *buffer_data(const struct buffer *buffer)
{
    return buffer->memory == NULL ? NULL : buffer->memory + buffer->start;
}

static inline bool buffer_is_borrowed(const struct buffer *buffer)
{
    return buffer->size == 0 && buffer->memory != NULL;
}

/* 0, or -1 with ENOMEM; then nothing was appended. */
MUST_CHECK int buffer_append(struct buffer *buffer, const void *data, size_t length);

/* Room behind what is held, to be written to: `length` bytes, of which buffer_extend then takes as
 * many as were. NULL with ENOMEM. */
MUST_CHECK char *buffer_reserve(struct buffer *buffer, size_t length);
void buffer_extend(struct buffer *buffer, size_t length);

/* Lets an empty buffer hold bytes that stay the caller's: they are not copied unless something is
 * appended. Whoever uses that memory for something else calls buffer_own before. */
void buffer_borrow(struct buffer *buffer, char *data, size_t length);

/* What is left of borrowed bytes gets memory of its own. 0, or -1 with ENOMEM (they are borrowed
 * still). */
MUST_CHECK int buffer_own(struct buffer *buffer);

/* Drops bytes in front; memory is given back when nothing is left. */
void buffer_consume(struct buffer *buffer, size_t length);

void buffer_clear(struct buffer *buffer);

/* The same for bytes that nobody may find in memory that is free again. Borrowed ones are left to
 * whom they belong to. */
void buffer_wipe(struct buffer *buffer);

#endif
