/* SPDX-License-Identifier: ISC */
/* What we send ourselves: barriers to the upstream, errors to the client.
 *
 * Each function writes into the caller's buffer and returns the length; MEMCACHED_COMPOSE_MAX bytes
 * are enough, and a text that does not fit is truncated. */
#ifndef KAPROXY_MEMCACHED_COMPOSE_H
#define KAPROXY_MEMCACHED_COMPOSE_H

#include "memcached/memcached.h"

#define MEMCACHED_COMPOSE_MAX 512

/* Text barriers (FRAMED M2): servers without meta commands only know the second. */
#define MEMCACHED_MN_LINE      "mn\r\n"
#define MEMCACHED_VERSION_LINE "version\r\n"

/* The binary barrier, whose reply has this opaque. `opaque` is as in struct memcached_command. */
size_t memcached_compose_noop(char out[MEMCACHED_HEAD_SIZE], uint32_t opaque);

/* A line consisting of `first` and `text`, which may be empty, such as "SERVER_ERROR " and a
 * failure's message. Characters that would end the line early become spaces. */
size_t memcached_compose_line(char out[MEMCACHED_COMPOSE_MAX], const char *first, const char *text);

/* The reply to a binary command: a status, and a text with details, or "". */
size_t memcached_compose_packet(char out[MEMCACHED_COMPOSE_MAX],
                                const struct memcached_expect *expect, uint16_t status,
                                const char *text);

#endif
