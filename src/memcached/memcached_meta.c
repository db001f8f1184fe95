/* SPDX-License-Identifier: ISC */
/* Meta commands. Servers read flags one by one. If they reject those of ms, they discard its value
 * too, but not if there are too many, or if the key is too long. */
#include "memcached/memcached_internal.h"

/* The maximum number of words that a server accepts: with the name and the key, and for ms the
 * length as well. */
#define WORDS_MAX 19

#define OPAQUE_MAX 32 /* with its letter */

#define ERROR_FLAG      "CLIENT_ERROR invalid flag"
#define ERROR_DUPLICATE "CLIENT_ERROR duplicate flag"
#define ERROR_TOKEN     "CLIENT_ERROR bad token in command line format"
#define ERROR_MODE      "CLIENT_ERROR incorrect length for M token"
#define ERROR_OPAQUE    "CLIENT_ERROR opaque token too long"
#define ERROR_FLAGS     "CLIENT_ERROR options flags are too long"
#define ERROR_KEY       "CLIENT_ERROR error decoding key"

/* What is wrong with a flag's token, the text after its letter; NULL: nothing. Other letters, known
 * or not, are left to the server: they do not affect what else it reads. */
static const char *judge_token(char letter, const char *token, size_t length)
{
    uint32_t number;
    uint64_t large;

    switch (letter) {
    case 'N':
    case 'R':
    case 'T':
        return memcached_is_i32(token, length) ? NULL : ERROR_TOKEN;
    case 'F':
        return memcached_parse_u32(token, length, &number) ? NULL : ERROR_TOKEN;
    case 'C':
    case 'D':
    case 'E':
    case 'J':
        return memcached_parse_u64(token, length, &large) ? NULL : ERROR_TOKEN;
    case 'M':
        return length == 1 ? NULL : ERROR_MODE;
    case 'O':
        return length < OPAQUE_MAX ? NULL : ERROR_OPAQUE;
    case 'b':
    case 'q':
        return length == 0 ? NULL : ERROR_FLAG; /* so that all servers read them alike */
    default:
        return NULL;
    }
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Keys encoded as base64. Keys stored with the binary protocol are shown unencoded in replies that
 * show the key: with CR or LF in it a client could make us see replies of its own making, or the
 * reply to our barrier. */
static const char *judge_key(const struct memcached_word *key, bool is_shown)
{
    bool breaks_line;

    if (!memcached_base64_parse(key->text, key->length, &breaks_line))
        return ERROR_KEY;
    return is_shown && breaks_line ? ERROR_FORMAT : NULL;
}

static uint64_t letter_bit(char letter)
{
    return UINT64_C(1) << (letter - 'A');
}

static const char *judge_flags(const struct memcached_words *words, size_t first, uint64_t *seen)
{
    for (size_t i = first; i < words->count; i++) {
        const struct memcached_word *flag = &words->at[i];
        char letter = *flag->text;

        if (!is_letter(letter))
            return ERROR_FLAG;
        if (*seen & letter_bit(letter))
            return ERROR_DUPLICATE;

        const char *fault = judge_token(letter, flag->text + 1, flag->length - 1);

        if (fault)
            return fault;
        *seen |= letter_bit(letter);
    }
    return NULL;
}

static enum memcached_result parse_flags(struct memcached_command *command,
                                         const struct memcached_words *words, size_t first)
{
    uint64_t seen = 0;
    const char *fault = judge_flags(words, first, &seen);

    if (!fault && seen & letter_bit('b'))
        fault = judge_key(&words->at[1], seen & letter_bit('k'));
    if (fault)
        return memcached_refuse(command, fault);
    command->quiet = seen & letter_bit('q');
    return MEMCACHED_DONE;
}

/* me: its b must be the first flag, and others are not checked. */
static enum memcached_result parse_debug(struct memcached_command *command,
                                         const struct memcached_words *words)
{
    const char *fault = NULL;

    if (words->count > 3 || (words->count == 3 && !memcached_word_is(&words->at[2], "b")))
        fault = ERROR_FORMAT;
    else if (words->count == 3)
        fault = judge_key(&words->at[1], true);
    return fault ? memcached_refuse(command, fault) : MEMCACHED_DONE;
}

enum memcached_result memcached_meta_parse(struct memcached_command *command,
                                           const struct memcached_words *words)
{
    size_t first = command->row->form == FORM_META_STORE ? 3 : 2;

    if (words->count < first) {
        command->close = first == 3;
        return memcached_refuse(command, words->count < 2 ? ERROR_UNKNOWN : ERROR_FORMAT);
    }
    if (first == 3 && !memcached_take_length(command, &words->at[2])) {
        command->close = true;
        return memcached_refuse(command, ERROR_FORMAT);
    }
    if (!memcached_is_key(&words->at[1]))
        return memcached_refuse(command, ERROR_FORMAT);
    if (command->row->form == FORM_META_DEBUG)
        return parse_debug(command, words);
    if (words->count > WORDS_MAX)
        return memcached_refuse(command, ERROR_FLAGS);
    return parse_flags(command, words, first);
}
