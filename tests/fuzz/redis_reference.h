/* SPDX-License-Identifier: ISC */
/* Reference reader of Redis' protocol: to the letter, without regard to speed, and without anything
 * of src/resp in it. It reads all the data at once, and allocates what it finds. */
#ifndef KAPROXY_FUZZ_REDIS_REFERENCE_H
#define KAPROXY_FUZZ_REDIS_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum redis_verdict { REDIS_WHOLE, REDIS_MORE, REDIS_BAD };

struct redis_word {
    char *data; /* allocated, NUL-terminated */
    size_t length;
};

/* A command, "*" or inline. */
struct redis_command {
    struct redis_word *words; /* read to their end */
    size_t word_count;
    size_t length; /* WHOLE: of what it consumes */
    char error[80];
};

enum redis_verdict redis_read_command(struct redis_command *command, const char *data,
                                      size_t length);
enum redis_verdict redis_read_inline(struct redis_command *command, const char *data,
                                     size_t length);
void redis_command_clear(struct redis_command *command);

/* The length of a reply, if it is complete. */
enum redis_verdict redis_read_reply(const char *data, size_t length, size_t *reply_length);

#endif
