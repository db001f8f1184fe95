/* SPDX-License-Identifier: ISC */
/* A second, independent reader of memcached's protocols: the whole buffer at once, the simplest
 * way, by its own grammar. What the program's parsers say is compared with it. */
#ifndef KAPROXY_MEMCACHED_JUDGE_H
#define KAPROXY_MEMCACHED_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum judge_verdict { JUDGE_MORE, JUDGE_WHOLE, JUDGE_BAD };

/* How a reply is framed: a letter.
 *
 *     -  none                      l  a line             v  VALUEs to END    m  meta
 *     s  STATs to END              z  sizes_enable       n  MN               V  VERSION
 *     p  a packet                  S  STAT packets       Z  sizes_enable's packet
 *     a  whatever comes
 */
struct judge_command {
    size_t length;    /* of the header; of what is rejected: of the line, or the packet's header */
    uint64_t follows; /* the value with its end; after a rejected command: what is discarded */
    bool close;       /* the rejected command ends the connection */
    char reply;
    bool quiet, opens, quits, reads, barrier;
};

enum judge_verdict judge_command(struct judge_command *command, const char *data, size_t length,
                                 bool binary);

struct judge_reply {
    char reply;
    bool valued, has_body;
    uint8_t opcode;
    const char *opaque; /* four bytes */
    size_t length;
    bool is_error, sure;
};

/* Sets the last three. */
enum judge_verdict judge_reply(struct judge_reply *reply, const char *data, size_t length);

#endif
