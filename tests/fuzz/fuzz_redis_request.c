/* SPDX-License-Identifier: ISC */
/* Goal: whatever a Redis client sends, commands begin and end, and have the arguments, that an
 * independent reading finds, however the bytes are split; and no command with an effect passes for
 * another. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pieces.h"
#include "redis_reference.h"
#include "require.h"
#include "resp/resp_commands.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What one reading found. */
struct reading {
    struct resp_command command;
    enum resp_result result;
};

/* Held: all of it is passed again each time. */
static void read_held(struct reading *reading, const char *data, size_t length, unsigned random)
{
    size_t end = random == 0 ? length : pieces_next(0, length, &random);

    resp_command_begin(&reading->command);
    for (;;) {
        char *copy = pieces_copy(data, end);

        reading->result = resp_command_parse(&reading->command, copy, end);
        free(copy);
        if (reading->result != RESP_MORE || end == length)
            return;
        end = pieces_next(end, length, &random);
    }
}

/* Perhaps skips some of a bulk string that has arrived, uninterpreted. */
static size_t skip_some(struct resp_command *command, size_t there, unsigned *random)
{
    uint64_t left = resp_command_body_left(command);
    size_t length = left < there ? (size_t)left : there;

    if (pieces_random(random) % 2 == 0)
        return 0;
    length = length > 0 ? pieces_random(random) % (length + 1) : 0;
    resp_command_skip(command, length);
    return length;
}

/* Streamed: what was read is gone. */
static void read_streamed(struct reading *reading, const char *data, size_t length, unsigned random)
{
    struct resp_command *command = &reading->command;
    size_t end = pieces_next(0, length, &random);
    char *copy = pieces_copy(data, end);

    resp_command_begin(command);
    reading->result = resp_command_parse(command, copy, end);
    free(copy);
    while (reading->result == RESP_MORE && end < length) {
        size_t used;

        end = pieces_next(end, length, &random);
        skip_some(command, end - command->length, &random);
        size_t before = command->length;

        copy = pieces_copy(data + before, end - before);
        reading->result = resp_command_feed(command, copy, end - before, &used);
        free(copy);
        REQUIRE(used <= end - before && command->length == before + used);
        REQUIRE(reading->result != RESP_MORE || end - command->length < 24);
    }
}

static void require_same(const struct reading *reading, const char *data,
                         const struct redis_command *reference, enum redis_verdict verdict)
{
    const struct resp_command *command = &reading->command;

    REQUIRE(reading->result == (verdict == REDIS_WHOLE  ? RESP_DONE
                                : verdict == REDIS_MORE ? RESP_MORE
                                                        : RESP_BAD));
    REQUIRE(command->argc == reference->word_count);
    for (size_t i = 0; i < command->argc && i < RESP_ARGS_KEPT; i++) {
        REQUIRE(command->args[i].length == reference->words[i].length);
        REQUIRE(memcmp(data + command->args[i].offset, reference->words[i].data,
                       command->args[i].length) == 0);
    }
    REQUIRE(verdict != REDIS_WHOLE || command->announced == reference->word_count);
    REQUIRE(verdict != REDIS_WHOLE || command->length == reference->length);
    REQUIRE(strcmp(command->error, reference->error) == 0);
    REQUIRE(verdict == REDIS_MORE || resp_command_body_left(command) == 0);
}

static bool word_is(const struct redis_word *word, const char *lower)
{
    return word->length == strlen(lower) && strcasecmp(word->data, lower) == 0;
}

static const struct resp_known *search(const struct resp_known *list, size_t count,
                                       const struct redis_word *word)
{
    for (size_t i = 0; i < count; i++)
        if (word_is(word, list[i].name))
            return &list[i];
    return NULL;
}

/* Does the server wait? Goes through the options, words up to a NUL. */
static bool server_blocks(const struct redis_command *command)
{
    bool blocks = false;

    for (size_t i = 1; i < command->word_count; i++) {
        size_t behind = command->word_count - i - 1;
        const char *option = command->words[i].data;

        if (strcasecmp(option, "BLOCK") == 0 && behind > 0) {
            blocks = true;
            i++;
        } else if (strcasecmp(option, "COUNT") == 0 && behind > 0) {
            i++;
        } else if (strcasecmp(option, "STREAMS") == 0 && behind > 0) {
            return blocks;
        } else if (strcasecmp(option, "GROUP") == 0 && behind > 1) {
            i += 2;
        } else if (strcasecmp(option, "NOACK") != 0) {
            return false;
        }
    }
    return false;
}

static void require_class(const struct resp_known *found, const struct redis_command *command)
{
    const struct resp_known *known = NULL;

    for (size_t i = 0; i < ARRAY_LEN(resp_letters) && known == NULL; i++)
        known = search(resp_letters[i].list, resp_letters[i].count, &command->words[0]);
    if (known != NULL && known->effect == RESP_BLOCKS && known->other_count > 0) {
        REQUIRE(found == known || found == known->others);
        REQUIRE(found == known || !server_blocks(command));
        return;
    }
    if (known != NULL && known->other_count > 0 && command->word_count > 1)
        known = search(known->others, known->other_count, &command->words[1]);
    REQUIRE(known != NULL ? found == known : found->flags == RESP_UNKNOWN);
    REQUIRE(known != NULL || found->effect == RESP_TUNNEL);
}

/* For any prefix: the class it is given is the class of the whole. */
static void require_final(const char *data, size_t length, const struct resp_known *known)
{
    for (size_t end = 0; end < length; end++) {
        struct resp_command command;
        char *copy = pieces_copy(data, end);

        resp_command_begin(&command);
        REQUIRE(resp_command_parse(&command, copy, end) == RESP_MORE);
        if (resp_may_be_incomplete(&command, copy)) {
            REQUIRE(resp_classify(&command, copy)->effect == known->effect);
            REQUIRE(resp_classify(&command, copy)->flags == known->flags);
        }
        free(copy);
    }
}

/* Returns how many bytes the command took; 0: it is incomplete. */
static size_t array(const char *data, size_t length)
{
    struct redis_command reference;
    enum redis_verdict verdict = redis_read_command(&reference, data, length);
    struct reading whole, other;
    size_t taken = 0;

    read_held(&whole, data, length, 0);
    require_same(&whole, data, &reference, verdict);
    read_held(&other, data, length, 1 + (unsigned)length);
    require_same(&other, data, &reference, verdict);
    REQUIRE(other.command.length == whole.command.length);
    for (unsigned seed = 0; seed < 3; seed++) {
        read_streamed(&other, data, length, seed * 7919 + (unsigned)length);
        require_same(&other, data, &reference, verdict);
        REQUIRE(other.command.length == whole.command.length);
    }
    if (verdict == REDIS_WHOLE)
        taken = reference.length;
    if (verdict == REDIS_WHOLE && reference.word_count > 0) {
        const struct resp_known *known = resp_classify(&whole.command, data);

        require_class(known, &reference);
        if (taken < 400)
            require_final(data, taken, known);
    }
    redis_command_clear(&reference);
    return taken;
}

static void require_composed(const char *line, size_t length, const struct redis_command *words,
                             enum redis_verdict verdict)
{
    static char composed[RESP_INLINE_MAX];
    const char *error = "";
    char *copy = pieces_copy(line, length);
    ssize_t size = resp_inline_compose(composed, sizeof(composed), copy, length, &error);

    free(copy);
    if (verdict == REDIS_BAD) {
        REQUIRE(size == -1 && strcmp(error, words->error) == 0);
        return;
    }
    REQUIRE(size >= 0);
    if (words->word_count == 0) {
        REQUIRE(size == 0);
        return;
    }

    struct redis_command again;
    REQUIRE(redis_read_command(&again, composed, (size_t)size) == REDIS_WHOLE);
    REQUIRE(again.length == (size_t)size && again.word_count == words->word_count);
    for (size_t i = 0; i < again.word_count; i++) {
        REQUIRE(again.words[i].length == words->words[i].length);
        REQUIRE(memcmp(again.words[i].data, words->words[i].data, again.words[i].length) == 0);
    }
    redis_command_clear(&again);
    REQUIRE(array(composed, (size_t)size) == (size_t)size);
}

static size_t inline_line(const char *data, size_t length)
{
    struct redis_command reference;
    enum redis_verdict verdict = redis_read_inline(&reference, data, length);
    char *copy = pieces_copy(data, length);
    size_t line = 0, taken = 0;
    enum resp_result result = resp_inline_find(copy, length, &line);

    free(copy);
    if (result == RESP_DONE) {
        REQUIRE(verdict != REDIS_MORE && reference.length == line);
        require_composed(data, line, &reference, verdict);
        taken = verdict == REDIS_WHOLE ? line : 0;
    } else {
        REQUIRE(verdict == (result == RESP_MORE ? REDIS_MORE : REDIS_BAD));
    }
    redis_command_clear(&reference);
    return taken;
}

/* The data are what one client sends: one command after the other. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0, taken;

    do {
        const char *next = (const char *)data + at;

        if (at == size)
            break;
        taken = *next == '*' ? array(next, size - at) : inline_line(next, size - at);
        at += taken;
    } while (taken > 0);
    return 0;
}
