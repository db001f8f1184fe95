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

/* The first eight bytes, as a number that sorts as they do; shorter names are padded with NUL. */
static inline uint64_t key_of(const char *name, size_t length)
{
    uint64_t key = 0;

    if (length >= 8)
        return load8(name);
    if (length >= 4)
        return load4(name) << 32 | load4(name + length - 4) << (64 - 8 * length);
    for (size_t i = 0; i < length; i++)
        key |= (uint64_t)(unsigned char)name[i] << (56 - 8 * i);
    return key;
}

static inline bool is_it(const struct resp_known *known, const char *name, size_t length)
{
    return known->length == length &&
           (length <= 8 || strncasecmp(known->name + 8, name + 8, length - 8) == 0);
}

/* The last entry that is not behind the key, halving without branches; names that begin alike are
 * next to each other. */
static const struct resp_known *find(const struct resp_known *list, size_t count, const char *name,
                                     size_t length)
{
    const struct resp_known *known = list;
    uint64_t key = fold(key_of(name, length));

    while (count > 1) {
        size_t half = count / 2;

        known += load8(known[half].name) <= key ? half : 0;
        count -= half;
    }
    for (; load8(known->name) == key; known--) {
        if (is_it(known, name, length))
            return known;
        if (known == list)
            break;
    }
    return NULL;
}

static const struct resp_known *find_argument(const struct resp_known *list, size_t count,
                                              const struct resp_command *command, const char *data,
                                              size_t i)
{
    const struct resp_arg *arg = &command->args[i];
    return find(list, count, data + arg->offset, arg->length);
}

static const struct resp_known *find_command(const struct resp_command *command, const char *data)
{
    size_t count;
    const struct resp_known *list = resp_commands_list(&count);

    return command->argc > 0 ? find_argument(list, count, command, data, 0) : NULL;
}

static bool option_is(const struct resp_command *command, const char *data, size_t i,
                      const char *lower)
{
    const struct resp_arg *arg = &command->args[i];

    return arg->length == strlen(lower) && strncasecmp(data + arg->offset, lower, arg->length) == 0;
}

enum options { MAY_BLOCK, RETURNS, UNDECIDED };

/* XREAD and XREADGROUP: does BLOCK come before STREAMS? Whatever is not understood may block; so
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
    if (command->argc < 2) /* an error, but for COMMAND */
        return known;
    known = find_argument(known->others, known->other_count, command, data, 1);
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
