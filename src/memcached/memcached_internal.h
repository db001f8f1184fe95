/* SPDX-License-Identifier: ISC */
/* Shared by the memcached_*.c files. */
#ifndef KAPROXY_MEMCACHED_INTERNAL_H
#define KAPROXY_MEMCACHED_INTERNAL_H

#include <endian.h>
#include <string.h>

#include "memcached/memcached.h"

/* memcached_row.form of text commands: what follows the name. */
enum memcached_form {
    FORM_KEYS,       /* <key>+ */
    FORM_TOUCH_KEYS, /* <exptime> <key>+ */
    FORM_STORE,      /* <key> <flags> <exptime> <bytes> [noreply] */
    FORM_CAS,        /* <key> <flags> <exptime> <bytes> <cas> [noreply] */
    FORM_DELETE,     /* <key> [0] [noreply] */
    FORM_ARITHMETIC, /* <key> <number> [noreply] */
    FORM_TOUCH,      /* <key> <exptime> [noreply] */
    FORM_META,       /* <key> <flag>* */
    FORM_META_STORE, /* <key> <bytes> <flag>* */
    FORM_META_DEBUG, /* <key> [b] */
    FORM_WORDS       /* memcached_row.arguments */
};

/* memcached_row.key of binary commands. */
enum { KEY_NONE, KEY_OPTIONAL, KEY_NEEDED };

/* The first byte of packets. */
enum { MAGIC_COMMAND = 0x80, MAGIC_REPLY = 0x81 };

/* The errors with which servers answer what is rejected here. */
#define ERROR_UNKNOWN "ERROR"
#define ERROR_FORMAT  "CLIENT_ERROR bad command line format"
#define ERROR_EXPTIME "CLIENT_ERROR invalid exptime argument"
#define ERROR_DELTA   "CLIENT_ERROR invalid numeric delta argument"
#define ERROR_DELETE  "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"
#define ERROR_LARGE   "SERVER_ERROR object too large for cache"
#define ERROR_LONG    "CLIENT_ERROR line too long"
#define ERROR_CHUNK   "CLIENT_ERROR bad data chunk"

/* The table; these are its first rows. */
enum { ROW_GET, ROW_SET, ROW_GETS };
extern const struct memcached_row memcached_text_rows[];

/* The row of a text command: the first one with its name. NULL: unknown. */
const struct memcached_row *memcached_row_find(const char *name, size_t length);

/* The next one with its name, or NULL. */
const struct memcached_row *memcached_row_next(const struct memcached_row *row);

/* The row of a binary command; NULL: unknown. */
const struct memcached_row *memcached_row_of_opcode(uint8_t opcode);

/* What a word consists of: anything but whitespace and control characters. */
extern const bool memcached_in_word[256];

static inline bool memcached_is_word(char c)
{
    return memcached_in_word[(unsigned char)c];
}

/* A word of a line. */
struct memcached_word {
    const char *text;
    size_t length;
};

/* The words of a line without its end. Any beyond the limit are only counted; no valid line except
 * those of keys has as many. */
#define MEMCACHED_WORDS_MAX 24
struct memcached_words {
    struct memcached_word at[MEMCACHED_WORDS_MAX];
    size_t count;
    bool unclean;  /* there are control characters */
    bool indented; /* blanks at the start: newer servers do not accept such a command */
};

void memcached_words_split(struct memcached_words *words, const char *line, size_t length);

static inline bool memcached_word_is(const struct memcached_word *word, const char *text)
{
    return word->length == strlen(text) && memcmp(word->text, text, word->length) == 0;
}

/* Plain decimal numbers, with no more digits than the largest has. */
bool memcached_parse_u32(const char *text, size_t length, uint32_t *number);
bool memcached_parse_u64(const char *text, size_t length, uint64_t *number);
bool memcached_is_i32(const char *text, size_t length); /* may begin with "-" */
bool memcached_is_fraction(const char *text, size_t length);

/* Complete base64, including its padding? Do the decoded bytes contain CR or LF? */
bool memcached_base64_parse(const char *text, size_t length, bool *breaks_line);

static inline bool memcached_is_key(const struct memcached_word *word)
{
    return word->length <= MEMCACHED_KEY_MAX;
}

/* Rejects a command. */
enum memcached_result memcached_refuse(struct memcached_command *command, const char *error);

/* The bytes of a text value: discarded with a rejected header, or value_left. False: it is not a
 * length that a server accepts, and it is unknown what follows. */
bool memcached_take_length(struct memcached_command *command, const struct memcached_word *word);

/* Meta commands, already split into words. */
enum memcached_result memcached_meta_parse(struct memcached_command *command,
                                           const struct memcached_words *words);

/* Binary commands. */
enum memcached_result memcached_packet_parse(struct memcached_command *command, const char *data,
                                             size_t length);

/* Binary replies. */
enum memcached_result memcached_packets_feed(struct memcached_reply *reply, const char *data,
                                             size_t length, size_t *used);

/* memcached_reply.stage */
enum { REPLY_START, REPLY_LINES, REPLY_BLOCK, REPLY_LAST_BLOCK, REPLY_DONE, REPLY_BAD };

static inline uint32_t memcached_read_u32(const char *data)
{
    uint32_t number;

    memcpy(&number, data, sizeof(number));
    return be32toh(number);
}

static inline uint16_t memcached_read_u16(const char *data)
{
    uint16_t number;

    memcpy(&number, data, sizeof(number));
    return be16toh(number);
}

#endif
