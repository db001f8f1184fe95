/* SPDX-License-Identifier: ISC */
/* memcached's protocols without I/O: the text protocol, classic and meta, and the binary one, in
 * both directions.
 *
 * The server and we must never read the same bytes differently (FRAMED M5): a header that a server
 * rejects makes it run the value after it as commands. So a header is DONE only if every version
 * accepts it, and anything that one may reject, or read in another way, is rejected here. Nothing
 * here allocates or keeps a pointer; the result does not depend on how the bytes are split into
 * pieces.
 *
 * A command is read with
 *
 *     memcached_command_begin, memcached_command_parse until it is not MEMCACHED_MORE,
 *     and if value_left is not 0: memcached_command_value until it is not MEMCACHED_MORE.
 *
 * Its reply, which begins with the command's memcached_command_expect:
 *
 * memcached_reply_begin, memcached_reply_feed until it is not MEMCACHED_MORE.
 *
 * A server's connection speaks the protocol of its first byte until it ends: one that was used for
 * text cannot be used for binary, or vice versa. */
#ifndef KAPROXY_MEMCACHED_H
#define KAPROXY_MEMCACHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define MEMCACHED_KEY_MAX 250
#define MEMCACHED_VALUE_MAX                                                                        \
    (UINT32_C(1) << 30) /* -I allows no more; longer: rejected as too large                        \
                         */

/* Lines including their ends. A server that has received this much of a line without its end closes
 * the connection, except for get and gets, which have no limit here either: they are passed on key
 * by key. */
#define MEMCACHED_LINE_MAX       2048
#define MEMCACHED_KEYS_LINE_MAX  65536 /* gat and gats; get and gets, once rejected */
#define MEMCACHED_REPLY_LINE_MAX 8192

#define MEMCACHED_HEAD_SIZE 24 /* of the binary protocol's packets */

enum memcached_result {
    MEMCACHED_MORE, /* more bytes are needed */
    MEMCACHED_DONE, /* complete */
    MEMCACHED_BAD   /* broken or rejected */
};

/* How the reply to a command is framed (FRAMED M1). All except binary ones may be an error line
 * instead. */
enum memcached_framing {
    MEMCACHED_NONE,    /* there is none (noreply) */
    MEMCACHED_LINE,    /* one line */
    MEMCACHED_VALUES,  /* VALUE lines with their blocks, to END */
    MEMCACHED_META,    /* one line; VA has a block */
    MEMCACHED_STATS,   /* lines to END; or one line of another kind */
    MEMCACHED_SIZES,   /* stats sizes_enable, sizes_disable: a STAT line without END */
    MEMCACHED_MN,      /* MN */
    MEMCACHED_VERSION, /* VERSION */
    MEMCACHED_ANY, /* whatever comes next: one line, with its block if it has one. For the replies
                      to quiet meta commands, whose number is unknown: to MN */
    MEMCACHED_PACKET,       /* one packet, with the command's opcode and opaque */
    MEMCACHED_STAT_PACKETS, /* to an empty one, or one with an error */
    MEMCACHED_SIZES_PACKET  /* as MEMCACHED_SIZES */
};

enum {
    MEMCACHED_OPCODE_QUIT = 0x07,
    MEMCACHED_OPCODE_FLUSH = 0x08,
    MEMCACHED_OPCODE_NOOP = 0x0a,
    MEMCACHED_OPCODE_VERSION = 0x0b,
    MEMCACHED_OPCODE_STAT = 0x10,
    MEMCACHED_OPCODE_FLUSHQ = 0x18
};

/* Binary: the meaning of a status. */
enum {
    MEMCACHED_STATUS_OK = 0x00,
    MEMCACHED_STATUS_TOO_LARGE = 0x03,
    MEMCACHED_STATUS_INVALID = 0x04, /* and closes */
    MEMCACHED_STATUS_AUTH = 0x20,
    MEMCACHED_STATUS_UNKNOWN = 0x81,
    MEMCACHED_STATUS_TEMPORARY = 0x86 /* try again later */
};

/* Properties of a command, besides its reply: a set of these. */
enum {
    MEMCACHED_READ = 1,    /* harmless if it reaches the server twice (FRAMED F4) */
    MEMCACHED_OPENS = 2,   /* from here on the connection is dedicated to its client (FRAMED M4) */
    MEMCACHED_QUIT = 4,    /* ends the client's connection (FRAMED F6) */
    MEMCACHED_BARRIER = 8, /* mn, NOOP: its reply shows that all commands before it are done */
    MEMCACHED_QUIET = 16,  /* binary: replies only with an error, or a hit */
    MEMCACHED_VALUED = 32  /* a value follows its header */
};

/* A row of the table of commands. A text command has one for each form of its arguments. */
struct memcached_row {
    const char *name;
    const char *arguments; /* text, if `form` is words; see memcached_table.c */
    uint8_t name_length;
    uint8_t form;  /* text: how its arguments are read; binary: the extras' length */
    uint8_t key;   /* binary: none, optional, or required */
    uint8_t reply; /* enum memcached_framing, without noreply */
    uint8_t traits;
};

struct memcached_command {
    /* After DONE all of this is set; after BAD `row` only if the command is known. */
    const struct memcached_row *row;
    size_t length;         /* of the header: the line, or the packet's head, extras and key */
    uint64_t value_left;   /* of value_length plus, in text, its CRLF */
    uint32_t value_length; /* without its CRLF */
    uint32_t opaque;       /* binary */
    uint8_t opcode;        /* binary */
    uint8_t reply;         /* enum memcached_framing */
    uint8_t traits;        /* the row's */
    bool quiet;            /* noreply, meta's q, or a quiet opcode: there may be no reply */

    /* After BAD. What the client receives: in text the line without its end; nothing if `quiet`, as
     * a client that sent noreply expects none (but one that sent q expects errors). In binary the
     * status, with its text. */
    const char *error; /* static */
    uint16_t status;
    bool close;       /* the start of the next command is uncertain, or the server would close */
    uint64_t swallow; /* otherwise: bytes after `length` that are to be discarded first */

    /* get and gets, at MEMCACHED_MORE: this many leading bytes are complete keys, which can be
     * passed on before the line's end arrives; see memcached_command_pass. */
    size_t passable;
    uint64_t passed; /* in total */

    /* The parser's. */
    bool binary;
    uint8_t stage;
    bool has_key, last_is_noreply;
    size_t scanned, word;
};

/* Begins a command; in a session whose first byte is 0x80 all are binary. */
void memcached_command_begin(struct memcached_command *command, bool binary);

/* Parses the first `length` bytes of the command, which must be contiguous. After MEMCACHED_MORE
 * call again with the same bytes and more after them; only the new ones are read. DONE: the header
 * is complete and acceptable; value_left bytes follow it. */
MUST_CHECK enum memcached_result memcached_command_parse(struct memcached_command *command,
                                                         const char *data, size_t length);

/* After MEMCACHED_MORE: the `passable` leading bytes were passed on. The next call of parse begins
 * after them. A BAD that follows leaves a line without an end upstream: a caller that has passed
 * part of it on must discard the connection (`close` is set). */
void memcached_command_pass(struct memcached_command *command);

/* Consumes bytes of the value, including its CRLF in text; *used says how many. BAD: there is no
 * CRLF where it should be: the server will answer "CLIENT_ERROR bad data chunk", and read what
 * follows as commands. */
MUST_CHECK enum memcached_result memcached_command_value(struct memcached_command *command,
                                                         const char *data, size_t length,
                                                         size_t *used);

/* How much of the value is still to come, without CRLF; skip continues as if so much of it had been
 * consumed. */
uint64_t memcached_command_value_rest(const struct memcached_command *command);
void memcached_command_value_skip(struct memcached_command *command, uint64_t length);

/* What must be remembered of a command until its reply has arrived. With MEMCACHED_ANY `traits` are
 * those of all commands that may be answered. */
struct memcached_expect {
    uint32_t opaque; /* binary */
    uint8_t opcode;  /* binary */
    uint8_t reply;   /* enum memcached_framing */
    uint8_t traits;
    bool quiet;
    bool has_body; /* binary: anything after the head */
};

/* After DONE. */
static inline struct memcached_expect
memcached_command_expect(const struct memcached_command *command)
{
    return (struct memcached_expect){
        .opaque = command->opaque,
        .opcode = command->opcode,
        .reply = command->reply,
        .traits = command->traits,
        .quiet = command->quiet,
        .has_body = command->length + command->value_length > MEMCACHED_HEAD_SIZE,
    };
}

/* Lines of replies by their first word. */
enum memcached_line {
    MEMCACHED_LINE_OTHER, /* STORED, a number, OK, BUSY ... */
    MEMCACHED_LINE_ERROR, /* ERROR, CLIENT_ERROR, SERVER_ERROR, with or without a text */
    MEMCACHED_LINE_END,
    MEMCACHED_LINE_VALUE,   /* a block follows */
    MEMCACHED_LINE_VA,      /* a block follows */
    MEMCACHED_LINE_META,    /* HD, EN, NF, NS, EX, ME, any other word of two capitals except OK */
    MEMCACHED_LINE_MN,      /* the reply to mn */
    MEMCACHED_LINE_VERSION, /* the reply to version */
    MEMCACHED_LINE_STAT     /* STAT, ITEM, PREFIX */
};

/* `length` does not include the line's end. */
enum memcached_line memcached_line_find(const char *line, size_t length);

/* The head of a binary reply. */
struct memcached_head {
    uint32_t body; /* bytes after the head */
    uint32_t opaque;
    uint16_t key, status;
    uint8_t opcode, extras;
};

/* Reads it: after quiet commands, the session uses it to find which one is answered. */
MUST_CHECK enum memcached_result memcached_head_parse(struct memcached_head *head, const char *data,
                                                      size_t length);

struct memcached_reply {
    struct memcached_expect expect;
    /* After DONE. */
    uint8_t line;    /* enum memcached_line: of the last one */
    uint16_t status; /* binary: of the last packet */
    bool is_error;   /* an error line, or a status other than 0 */
    bool sure; /* the next reply begins here, and the server reads commands as commands; otherwise
                  the connection must be discarded (FRAMED M3) */

    /* The parser's. */
    uint8_t stage;
    uint32_t scanned;
    uint64_t left;
};

void memcached_reply_begin(struct memcached_reply *reply, const struct memcached_expect *expect);

/* Consumes bytes of the reply; *used says how many, all of which may be passed on. After MORE call
 * again with the bytes that were not consumed and more after them, contiguously; a line is consumed
 * once it is complete, and so is a packet's head. DONE: the reply ends with the last byte
 * consumed. */
MUST_CHECK enum memcached_result
memcached_reply_feed(struct memcached_reply *reply, const char *data, size_t length, size_t *used);

/* How many bytes of a value, or of a packet's body, come next, which are not interpreted; skip
 * continues as if so many of them had been consumed. */
uint64_t memcached_reply_rest(const struct memcached_reply *reply);
void memcached_reply_skip(struct memcached_reply *reply, uint64_t length);

/* Has anything of it been consumed? */
bool memcached_reply_started(const struct memcached_reply *reply);

#endif
