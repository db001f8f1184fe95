/* SPDX-License-Identifier: ISC */
/* Redis' protocol, RESP2 and RESP3, without I/O: where commands and replies begin and end.
 *
 * Strict about everything that determines where something ends (FRAMED F7): counts are plain
 * decimal numbers as the server's own parser accepts them (no sign, no leading zeros, no spaces),
 * lines end with CRLF, and so does every bulk string, which the server does not check. Nothing here
 * allocates or copies, and results do not depend on how the bytes are split into pieces. A command
 * is read with
 *
 *     resp_command_begin, resp_command_parse until it is not RESP_MORE;
 *     the rest of a command that is too large to be held: resp_command_feed, resp_command_skip;
 *
 * a reply with
 *
 *     resp_reply_begin, resp_reply_feed until it is not RESP_MORE, possibly resp_reply_skip;
 *     before that resp_head_parse where its first line matters. */
#ifndef KAPROXY_RESP_H
#define KAPROXY_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/util.h"

#define RESP_ARGUMENTS_MAX (UINT32_C(1024) * 1024)       /* of a command */
#define RESP_BULK_MAX      (UINT64_C(512) * 1024 * 1024) /* of a bulk string in a command */
#define RESP_LINE_MAX      65536 /* the line of an inline command or of a reply, without its end */
#define RESP_COUNT_MAX     (UINT64_C(1) << 60) /* of bytes or elements in a reply */

#define RESP_ARGS_KEPT 16
#define RESP_ERROR_MAX 64

enum resp_result {
    RESP_DONE, /* complete */
    RESP_MORE, /* more bytes are needed */
    RESP_BAD   /* broken or rejected; permanent */
};

/* A bulk string without its CRLF, as an offset from the command's first byte, so that the buffer
 * may move. */
struct resp_arg {
    size_t offset, length;
};

struct resp_command {
    uint32_t announced; /* how many arguments it has; 0 until its first line was read */
    uint32_t argc;      /* read completely, including CRLF; the first ones of these are in args */
    size_t length;      /* DONE: of the whole command; MORE: how far it has been read */

    /* The parser's. */
    uint64_t left; /* bytes of the current bulk string still to come */
    uint8_t stage;

    /* BAD: the server's message, without "-ERR " and CRLF. */
    char error[RESP_ERROR_MAX];
    struct resp_arg args[RESP_ARGS_KEPT];
};

void resp_command_begin(struct resp_command *command);

/* Parses the first `length` bytes of the command, which begins with '*'. After RESP_MORE call again
 * with the same bytes and more after them; only the new ones are read (and at most the beginning of
 * a line again). Bytes after the command are left alone. "*0" and "*-1" are RESP_DONE with argc 0:
 * they have no reply, and are to be dropped. */
MUST_CHECK enum resp_result resp_command_parse(struct resp_command *command, const char *data,
                                               size_t length);

/* Continues with a command of which the first `command->length` bytes were passed on and dropped:
 * data is what follows them. *used says how many bytes were consumed: all, except a line of which
 * only the beginning is present (less than 24 bytes), and what follows the command. args continue
 * to be recorded. */
MUST_CHECK enum resp_result resp_command_feed(struct resp_command *command, const char *data,
                                              size_t length, size_t *used);

/* Bytes of the current bulk string, without its CRLF, that are still to come. */
uint64_t resp_command_body_left(const struct resp_command *command);

/* So many of them were moved elsewhere, unread. */
void resp_command_skip(struct resp_command *command, uint64_t length);

/* Inline commands: a line of words.
 *
 * Finds the line's end: LF, possibly preceded by CR, after at most RESP_LINE_MAX bytes.
 * *line_length includes the line's end. BAD: "Protocol error: too big inline request". */
MUST_CHECK enum resp_result resp_inline_find(const char *data, size_t length, size_t *line_length);

/* Writes the command of such a line, with or without its end, as RESP, split into words as the
 * server splits it. 0: the line is empty, has no reply and is to be dropped. -1: *error is the
 * server's message, without "-ERR " and CRLF. A line with a NUL is rejected: the server would wait
 * forever. RESP_INLINE_MAX bytes always suffice. */
#define RESP_INLINE_MAX (RESP_LINE_MAX / 2 * 7 + 16)
MUST_CHECK ssize_t resp_inline_compose(char *out, size_t size, const char *line, size_t length,
                                       const char **error);

/* The first line of a reply, or of an element of one. RESP2: + - : $ *. RESP3: _ , # ( ! = % ~ > |.
 */
struct resp_head {
    char type;
    bool null;        /* "$-1", "*-1", "_" */
    const char *line; /* after the type, without CRLF; borrowed */
    size_t length;
    size_t size;    /* of the line including type and CRLF */
    uint64_t count; /* of bytes: $ ! =; of elements, twice that of pairs: * ~ > % |; otherwise 0 */
};

/* MORE: its end has not arrived yet. BAD: no reply begins like this. */
MUST_CHECK enum resp_result resp_head_parse(struct resp_head *head, const char *data,
                                            size_t length);

/* A complete reply, including anything nested in it. */
struct resp_reply {
    char type;        /* of its first line; 0: not read yet */
    uint8_t stage;    /* the parser's, from here on */
    uint64_t left;    /* bytes of the current bulk string still to come */
    uint64_t pending; /* elements still to come, including the current one */
};

void resp_reply_begin(struct resp_reply *reply);

/* Continues. *used says how many bytes were consumed: all, except a line of which only the
 * beginning is present (pass it again, with more after it), and what follows the reply. A push (>)
 * is a reply of its own, and BAD inside another one; attributes (|) belong to the element after
 * them. RESP3's streamed types, which no server sends, are BAD. */
MUST_CHECK enum resp_result resp_reply_feed(struct resp_reply *reply, const char *data,
                                            size_t length, size_t *used);

/* As for commands. */
uint64_t resp_reply_body_left(const struct resp_reply *reply);
void resp_reply_skip(struct resp_reply *reply, uint64_t length);

#endif
