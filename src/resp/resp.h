/* SPDX-License-Identifier: ISC */
/* Redis' protocol, RESP2 and RESP3, without I/O: where commands and replies begin and end.
 *
 * Strict in whatever says where something ends (FRAMED F7): counts are plain decimal numbers as the
 * server's own reader takes them (no sign, no leading zeros, no spaces), lines end with CRLF, and
 * so does every bulk string, which the server does not check. Nothing here allocates or copies, and
 * verdicts do not depend on how the bytes are cut into pieces. A command is read with
 *
 *     resp_command_begin, resp_command_parse until it is not RESP_MORE;
 *     of one that is too large to be held, the rest: resp_command_feed, resp_command_skip;
 *
 * a reply with
 *
 *     resp_reply_begin, resp_reply_feed until it is not RESP_MORE, perhaps resp_reply_skip;
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
#define RESP_LINE_MAX      65536 /* an inline command's or a reply's line, without its end */
#define RESP_COUNT_MAX     (UINT64_C(1) << 60) /* of bytes or elements in a reply */

#define RESP_ARGS_KEPT 16
#define RESP_ERROR_MAX 64

enum resp_result {
    RESP_DONE, /* complete */
    RESP_MORE, /* more bytes are needed */
    RESP_BAD   /* broken or refused; stays so */
};

/* A bulk string without its CRLF, as an offset from the command's first byte, so that the buffer
 * may move. */
struct resp_arg {
    size_t offset, length;
};

struct resp_command {
    uint32_t announced; /* how many arguments it has; 0 until its first line was read */
    uint32_t argc;      /* seen to their end, CRLF included; the first ones of these are in args */
    size_t length;      /* DONE: of the whole command; MORE: how far it has been read */

    /* The parser's. */
    uint64_t left; /* bytes of the current bulk string still to come */
    uint8_t stage;

    /* BAD: what the server says, without "-ERR " and CRLF. */
    char error[RESP_ERROR_MAX];
    struct resp_arg args[RESP_ARGS_KEPT];
};

void resp_command_begin(struct resp_command *command);

/* Looks at the first `length` bytes of the command, which begins with '*'. After RESP_MORE call
 * again with the same bytes and more behind them; only the new ones are read (and at most a line's
 * beginning again). Bytes behind the command are left alone. "*0" and "*-1" are RESP_DONE with argc
 * 0: they have no reply, and are to be dropped. */
MUST_CHECK enum resp_result resp_command_parse(struct resp_command *command, const char *data,
                                               size_t length);

/* Goes on with a command of which the first `command->length` bytes were passed on and dropped:
 * data are what follows them. *used says how many were taken: all, but for a line of which only the
 * beginning is there (less than 24 bytes), and what is behind the command. args go on being noted.
 */
MUST_CHECK enum resp_result resp_command_feed(struct resp_command *command, const char *data,
                                              size_t length, size_t *used);

/* Bytes of the current bulk string, without its CRLF, that are still to come. */
uint64_t resp_command_body_left(const struct resp_command *command);

/* So many of them were moved elsewhere, unseen. */
void resp_command_skip(struct resp_command *command, uint64_t length);

/* Inline commands: a line of words.
 *
 * Finds the line's end: LF, perhaps CR before it, behind at most RESP_LINE_MAX bytes. *line_length
 * is with the line's end. BAD: "Protocol error: too big inline request". */
MUST_CHECK enum resp_result resp_inline_find(const char *data, size_t length, size_t *line_length);

/* Writes the command of such a line, its end included or not, as RESP, split into words as the
 * server splits it. 0: the line is empty, has no reply and is to be dropped. -1: *error is what the
 * server says, without "-ERR " and CRLF. A line with a NUL is refused: the server would wait for
 * ever. RESP_INLINE_MAX bytes always suffice. */
#define RESP_INLINE_MAX (RESP_LINE_MAX / 2 * 7 + 16)
MUST_CHECK ssize_t resp_inline_compose(char *out, size_t size, const char *line, size_t length,
                                       const char **error);

/* The first line of a reply, or of an element of one. RESP2: + - : $ *. RESP3: _ , # ( ! = % ~ > |.
 */
struct resp_head {
    char type;
    bool null;        /* "$-1", "*-1", "_" */
    const char *line; /* behind the type, without CRLF; borrowed */
    size_t length;
    size_t size;    /* of the line with type and CRLF */
    uint64_t count; /* of bytes: $ ! =; of elements, twice that of pairs: * ~ > % |; else 0 */
};

/* MORE: its end is not there yet. BAD: no reply begins like this. */
MUST_CHECK enum resp_result resp_head_parse(struct resp_head *head, const char *data,
                                            size_t length);

/* A whole reply, with whatever is nested in it. */
struct resp_reply {
    char type;        /* of its first line; 0: not read yet */
    uint8_t stage;    /* the parser's, from here on */
    uint64_t left;    /* bytes of the current bulk string still to come */
    uint64_t pending; /* elements still to come, the current one included */
};

void resp_reply_begin(struct resp_reply *reply);

/* Walks on. *used says how many bytes were taken: all, but for a line of which only the beginning
 * is there (give it again, with more behind it), and what is behind the reply. A push (>) is a
 * reply of its own, and BAD inside another one; attributes (|) belong to the element behind them.
 * RESP3's streamed types, which no server sends, are BAD. */
MUST_CHECK enum resp_result resp_reply_feed(struct resp_reply *reply, const char *data,
                                            size_t length, size_t *used);

/* As with commands. */
uint64_t resp_reply_body_left(const struct resp_reply *reply);
void resp_reply_skip(struct resp_reply *reply, uint64_t length);

#endif
