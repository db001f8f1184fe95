/* SPDX-License-Identifier: ISC */
/* Looks commands up by their first eight bytes, as a number. */
#include "resp/resp_commands.h"

#include <endian.h>
#include <string.h>
#include <strings.h>

static const struct resp_known unknown = {
    .name = "?", .length = 1, .effect = RESP_TUNNEL, .flags = RESP_UNKNOWN};

/* A to Z become a to z; nothing else changes. */
static inline uint64_t fold(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t low = word & 0x7f * ones;
    uint64_t from_a = low + (0x80 - 'A') * ones, above_z = low + (0x7f - 'Z') * ones;

    return word | ((from_a ^ above_z) & ~word & 0x80 * ones) >> 2;
}

static inline uint64_t load4(const char *text)
{
    uint32_t word;

    memcpy(&word, text, sizeof(word));
    return be32toh(word);
}

static inline uint64_t load8(const char *text)
{
    uint64_t word;

    memcpy(&word, text, sizeof(word));
    return be64toh(word);
}

/* The first eight bytes, as a number that sorts like them; shorter names are padded with NUL. */
static ALWAYS_INLINE uint64_t key_of(const char *name, size_t length)
{
    uint64_t key;

    if (length >= 8)
        return fold(load8(name));
    if (length >= 4) /* both loads agree on the overlap */
        return fold(load4(name) << 32 | load4(name + length - 4) << (64 - 8 * length));
    if (length == 0)
        return 0;
    key = (uint64_t)(unsigned char)name[0] << 56;
    key |= (uint64_t)(unsigned char)name[length / 2] << (56 - 8 * (length / 2));
    key |= (uint64_t)(unsigned char)name[length - 1] << (64 - 8 * length);
    return fold(key);
}

/* Among names that begin alike, which are adjacent and end with `known`. */
static NOINLINE const struct resp_known *find_long(const struct resp_known *list,
                                                   const struct resp_known *known, const char *name,
                                                   size_t length)
{
    uint64_t key = known->key;

    for (;; known--) {
        if (known->length == length && strncasecmp(known->name, name, length) == 0)
            return known;
        if (known == list || known[-1].key != key)
            return NULL;
    }
}

/* Bisects without branches: a processor could not predict the direction. */
static ALWAYS_INLINE const struct resp_known *find(const struct resp_known *list, size_t count,
                                                   uint64_t key, const char *name, size_t length)
{
    const struct resp_known *known = list;

    while (count > 1) {
        size_t half = count / 2;

        known = known[half].key <= key ? known + half : known;
        count -= half;
    }
    if (known->key != key)
        return NULL;
    if (length < 8)
        return known->length == length ? known : NULL;
    return find_long(list, known, name, length);
}

static const struct resp_known *find_command(const struct resp_command *command, const char *data)
{
    if (command->argc == 0)
        return NULL;

    const char *name = data + command->args[0].offset;
    size_t length = command->args[0].length;
    uint64_t key = key_of(name, length), letter = (key >> 56) - 'a';

    if (letter >= ARRAY_LEN(resp_letters) || resp_letters[letter].count == 0)
        return NULL;
    return find(resp_letters[letter].list, resp_letters[letter].count, key, name, length);
}

static const struct resp_known *find_subcommand(const struct resp_known *known,
                                                const struct resp_command *command,
                                                const char *data)
{
    const char *name = data + command->args[1].offset;
    size_t length = command->args[1].length;

    return find(known->others, known->other_count, key_of(name, length), name, length);
}

static bool option_is(const struct resp_command *command, const char *data, size_t i,
                      const char *lower)
{
    const struct resp_arg *arg = &command->args[i];

    return arg->length == strlen(lower) && strncasecmp(data + arg->offset, lower, arg->length) == 0;
}

enum options { MAY_BLOCK, RETURNS, UNDECIDED };

/* XREAD and XREADGROUP: does BLOCK precede STREAMS? Anything that is not understood may block; so
 * may a command with more options than are kept. */
static enum options read_options(const struct resp_command *command, const char *data)
{
    size_t i = 1;

    while (i < command->argc && i < RESP_ARGS_KEPT) {
        if (option_is(command, data, i, "streams"))
            return RETURNS;
        if (option_is(command, data, i, "count"))
            i += 2;
        else if (option_is(command, data, i, "group"))
            i += 3;
        else if (option_is(command, data, i, "noack"))
            i++;
        else
            return MAY_BLOCK;
    }
    return i >= RESP_ARGS_KEPT || command->argc == command->announced ? MAY_BLOCK : UNDECIDED;
}

const struct resp_known *resp_classify(const struct resp_command *command, const char *data)
{
    const struct resp_known *known = find_command(command, data);

    if (known == NULL)
        return &unknown;
    if (known->other_count == 0)
        return known;
    if (known->effect == RESP_BLOCKS)
        return read_options(command, data) == RETURNS ? known->others : known;
    if (command->argc < 2) /* an error, except for COMMAND */
        return known;
    known = find_subcommand(known, command, data);
    return known != NULL ? known : &unknown;
}

bool resp_may_be_incomplete(const struct resp_command *command, const char *data)
{
    const struct resp_known *known = find_command(command, data);

    if (command->argc == 0)
        return false;
    if (known != NULL && known->other_count > 0) {
        if (known->effect == RESP_BLOCKS)
            return read_options(command, data) != UNDECIDED;
        if (command->argc < 2)
            return false;
    }
    return !(resp_classify(command, data)->flags & RESP_WHOLE);
}
