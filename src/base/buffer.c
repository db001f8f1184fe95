/* SPDX-License-Identifier: ISC */
/* Bytes appended at the end and consumed at the front, in borrowed or owned memory. */
#include "base/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Moves the contents to the front of new memory of this size. 0, or -1 with ENOMEM. */
static int move(struct buffer *buffer, size_t size)
{
    size_t length = buffer_length(buffer);
    char *memory = malloc(size);
    if (memory == NULL)
        return -1;
    if (length > 0)
        memcpy(memory, buffer_data(buffer), length);
    if (buffer->size > 0)
        free(buffer->memory);
    *buffer = (struct buffer){.memory = memory, .end = length, .size = size};
    return 0;
}

/* Makes room after the contents, in the existing memory if that is large enough. */
static int make_room(struct buffer *buffer, size_t need)
{
    size_t length = buffer_length(buffer);
    if (buffer->size == 0 || buffer->size - length < need)
        return move(buffer, buffer->size * 2 > length + need ? buffer->size * 2 : length + need);
    memmove(buffer->memory, buffer_data(buffer), length);
    buffer->start = 0;
    buffer->end = length;
    return 0;
}

char *buffer_reserve(struct buffer *buffer, size_t length)
{
    if ((buffer->size == 0 || buffer->size - buffer->end < length) && make_room(buffer, length) < 0)
        return NULL;
    return buffer->memory + buffer->end;
}

void buffer_extend(struct buffer *buffer, size_t length)
{
    assert(length <= buffer->size - buffer->end);
    buffer->end += length;
    if (buffer->start == buffer->end)
        buffer_clear(buffer);
}

int buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return 0;
    char *room = buffer_reserve(buffer, length);
    if (room == NULL)
        return -1;
    memcpy(room, data, length);
    buffer_extend(buffer, length);
    return 0;
}

void buffer_borrow(struct buffer *buffer, char *data, size_t length)
{
    assert(buffer->memory == NULL);
    if (length > 0)
        *buffer = (struct buffer){.memory = data, .end = length};
}

int buffer_own(struct buffer *buffer)
{
    return buffer_is_borrowed(buffer) ? move(buffer, buffer_length(buffer)) : 0;
}

void buffer_consume(struct buffer *buffer, size_t length)
{
    assert(length <= buffer_length(buffer));
    buffer->start += length;
    if (buffer->start == buffer->end)
        buffer_clear(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    if (buffer->size > 0)
        free(buffer->memory);
    *buffer = (struct buffer){0};
}

void buffer_wipe(struct buffer *buffer)
{
    if (buffer->size > 0)
        explicit_bzero(buffer->memory, buffer->size);
    buffer_clear(buffer);
}
