/* SPDX-License-Identifier: ISC */
/* A growing run of bytes: appended at the end, consumed at the front. Holds no memory while
 * empty. */
#ifndef KAPROXY_BUFFER_H
#define KAPROXY_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/* All zero: empty. */
struct buffer {
    char *memory;
    size_t start, end; /* the contents */
    size_t size;       /* of the owned memory; 0: the bytes are borrowed */
};

static inline size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* The first byte, or NULL if there is none; valid until the buffer is changed. */
static inline char *buffer_data(const struct buffer *buffer)
{
    return buffer->memory == NULL ? NULL : buffer->memory + buffer->start;
}

static inline bool buffer_is_borrowed(const struct buffer *buffer)
{
    return buffer->size == 0 && buffer->memory != NULL;
}

/* 0, or -1 with ENOMEM, and nothing was appended. */
MUST_CHECK int buffer_append(struct buffer *buffer, const void *data, size_t length);

/* Room after the contents for `length` bytes to be written; buffer_extend then adds as many as
 * were. NULL with ENOMEM. */
MUST_CHECK char *buffer_reserve(struct buffer *buffer, size_t length);
void buffer_extend(struct buffer *buffer, size_t length);

/* Lets an empty buffer hold bytes that remain the caller's: they are not copied unless something is
 * appended. Before that memory is used for something else, call buffer_own. */
void buffer_borrow(struct buffer *buffer, char *data, size_t length);

/* Copies the borrowed bytes that are left to memory of the buffer's own. 0, or -1 with ENOMEM (they
 * remain borrowed). */
MUST_CHECK int buffer_own(struct buffer *buffer);

/* Drops bytes at the front; memory is freed when nothing is left. */
void buffer_consume(struct buffer *buffer, size_t length);

void buffer_clear(struct buffer *buffer);

/* buffer_clear for bytes that must not be found in freed memory. Borrowed bytes are left to their
 * owner. */
void buffer_wipe(struct buffer *buffer);

#endif
