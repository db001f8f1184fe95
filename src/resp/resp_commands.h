/* SPDX-License-Identifier: ISC */
/* The effects of Redis' commands on a connection and on the data: a table, and its lookup.
 *
 * The commands are those of redis 6 and 7, valkey 8, and newer ones as far as known; none of
 * modules. The server's own COMMAND list cannot be the table, as nothing in it says what SELECT
 * does; a test compares the two. */
#ifndef KAPROXY_RESP_COMMANDS_H
#define KAPROXY_RESP_COMMANDS_H

#include "resp/resp.h"

/* What is special about a command. In brackets: the rule of FRAMED. */
enum resp_effect {
    RESP_PLAIN,          /* nothing: it leaves no state in the connection */
    RESP_AUTH,           /* [R2] */
    RESP_HELLO,          /* [R2] */
    RESP_SELECT,         /* [R4] */
    RESP_CLIENT_SETNAME, /* [R4] */
    RESP_CLIENT_SETINFO, /* [R4] */
    RESP_RESET,          /* [R7] */
    RESP_QUIT,           /* [F6] */
    RESP_MULTI,          /* [R5], to UNWATCH */
    RESP_EXEC,
    RESP_DISCARD,
    RESP_WATCH,
    RESP_UNWATCH,
    RESP_TUNNEL, /* [R6] affinity to the client's end */
    RESP_BLOCKS, /* [R8] may wait, but not inside MULTI */
    RESP_WAIT,   /* [R9] for the connection's own writes */
    RESP_CLOSE   /* [F7] not a command at all: a browser's request */
};

/* resp_known.flags */
enum {
    RESP_READ = 1,      /* a read, which may be retried [F4] */
    RESP_WRITE = 2,     /* may write, or is propagated to replicas: WAIT may follow it [R9] */
    RESP_OF_CLIENT = 4, /* CLIENT, which is a tunnel inside MULTI [R6] */
    RESP_WHOLE = 8,     /* its arguments matter to us: it must be read to its end */
    RESP_UNKNOWN = 16   /* not in the table; RESP_TUNNEL */
};

struct resp_known {
    uint64_t key;     /* the name's first eight bytes, padded with NUL; the first is the highest */
    const char *name; /* in lower case; of a subcommand: the second word */
    const struct resp_known *others; /* RESP_BLOCKS: what it is without a BLOCK option, if that
                                        matters; otherwise the subcommands, sorted by name */
    uint8_t length;                  /* of the name */
    uint8_t effect;                  /* enum resp_effect */
    uint8_t flags;
    uint8_t other_count;
};

/* Looks the command up by its name, by its subcommand, and by options if they matter. Uses as much
 * of it as has been parsed, which must include the name. Always returns an entry. */
const struct resp_known *resp_classify(const struct resp_command *command, const char *data);

/* For a command of which only the beginning is present (RESP_MORE): is resp_classify's result
 * final, so that the beginning may be passed on? Not without the subcommand if there is one, nor if
 * a relevant option may follow, nor for commands whose arguments matter to us. */
bool resp_may_be_incomplete(const struct resp_command *command, const char *data);

/* The table: the commands that begin with a letter, sorted by name. */
struct resp_letter {
    const struct resp_known *list;
    size_t count; /* 0: there are none */
};
extern const struct resp_letter resp_letters[26];

#endif
