/* A growing run of bytes: appended behind, consumed in front. Holds no memory while it is empty. */
#ifndef KAPROXY_BUFFER_H
#define KAPROXY_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

/* All zero: empty. */
struct buffer {
    char *memory;
    size_t start, end; /* what is held */
    size_t size;
};

static inline size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

/* The first byte held, NULL for none; the pointer stands until the buffer is changed. */
static inline char *buffer_data(const struct buffer *buffer)
{
    return buffer->memory == NULL ? NULL : buffer->memory + buffer->start;
}

/* 0, or -1 with ENOMEM; then nothing was appended. */
MUST_CHECK int buffer_append(struct buffer *buffer, const void *data, size_t length);

/* Drops bytes in front; memory is given back when nothing is left. */
void buffer_consume(struct buffer *buffer, size_t length);

void buffer_clear(struct buffer *buffer);

#endif
