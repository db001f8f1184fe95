#include "buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Moves what is held to the front, into larger memory when `need` bytes more do not fit. */
static int make_room(struct buffer *buffer, size_t need)
{
    size_t length = buffer_length(buffer);
    if (buffer->size - length < need) {
        size_t size = buffer->size * 2 > length + need ? buffer->size * 2 : length + need;
        char *memory = malloc(size);
        if (memory == NULL)
            return -1;
        if (length > 0)
            memcpy(memory, buffer_data(buffer), length);
        free(buffer->memory);
        buffer->memory = memory;
        buffer->size = size;
    } else {
        memmove(buffer->memory, buffer_data(buffer), length);
    }
    buffer->start = 0;
    buffer->end = length;
    return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (length == 0)
        return 0;
    if (buffer->size - buffer->end < length && make_room(buffer, length) < 0)
        return -1;
    memcpy(buffer->memory + buffer->end, data, length);
    buffer->end += length;
    return 0;
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
    free(buffer->memory);
    *buffer = (struct buffer){0};
}
