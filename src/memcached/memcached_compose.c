/* SPDX-License-Identifier: ISC */
/* Barriers and local errors. */
#include "memcached/memcached_compose.h"
#include "memcached/memcached_internal.h"

static void write_head(char out[MEMCACHED_HEAD_SIZE], unsigned char magic, uint8_t opcode,
                       uint32_t opaque)
{
    memset(out, 0, MEMCACHED_HEAD_SIZE);
    out[0] = (char)magic;
    out[1] = (char)opcode;
    memcpy(out + 12, &opaque, sizeof(opaque));
}

size_t memcached_compose_noop(char out[MEMCACHED_HEAD_SIZE], uint32_t opaque)
{
    write_head(out, MAGIC_COMMAND, MEMCACHED_OPCODE_NOOP, opaque);
    return MEMCACHED_HEAD_SIZE;
}

static size_t copy(char *out, size_t size, const char *text)
{
    size_t length = strnlen(text, size);

    memcpy(out, text, length);
    return length;
}

size_t memcached_compose_line(char out[MEMCACHED_COMPOSE_MAX], const char *first, const char *text)
{
    size_t max = MEMCACHED_COMPOSE_MAX - 2, length = copy(out, max, first);

    length += copy(out + length, max - length, text);
    for (size_t i = 0; i < length; i++)
        if (!memcached_is_word(out[i]))
            out[i] = ' ';
    memcpy(out + length, "\r\n", 2);
    return length + 2;
}

size_t memcached_compose_packet(char out[MEMCACHED_COMPOSE_MAX],
                                const struct memcached_expect *expect, uint16_t status,
                                const char *text)
{
    size_t length =
        copy(out + MEMCACHED_HEAD_SIZE, MEMCACHED_COMPOSE_MAX - MEMCACHED_HEAD_SIZE, text);
    uint16_t wire_status = htobe16(status);
    uint32_t body = htobe32((uint32_t)length);

    write_head(out, MAGIC_REPLY, expect->opcode, expect->opaque);
    memcpy(out + 6, &wire_status, sizeof(wire_status));
    memcpy(out + 8, &body, sizeof(body));
    return MEMCACHED_HEAD_SIZE + length;
}
