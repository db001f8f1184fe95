/* SPDX-License-Identifier: ISC */
/* Shared by the http1_*.c files. */
#ifndef KAPROXY_HTTP1_INTERNAL_H
#define KAPROXY_HTTP1_INTERNAL_H

#include <string.h>

#include "http1/http1.h"

/* http1_head.stage */
enum { STAGE_START_LINE, STAGE_FIELDS, STAGE_DONE, STAGE_BAD };

/* Rejects a head: sets bad_* and returns HTTP1_BAD. `text` must be static. */
enum http1_result http1_bad(struct http1_head *head, uint16_t status, const char *text);

/* Character classes: bits of http1_classes. */
enum {
    HTTP1_CLASS_TOKEN = 1, /* RFC 9110 5.6.2 */
    HTTP1_CLASS_LINE = 2,  /* allowed in a head at all: field-vchar, SP, HTAB, RFC 9110 5.5 */
    HTTP1_CLASS_PATH = 4,  /* allowed in a path or query, as sent in practice: see http1_lex.c */
    HTTP1_CLASS_HOST = 8,  /* allowed in a registered name */
    HTTP1_CLASS_DIGIT = 16
};
extern const uint8_t http1_classes[256];

static inline bool http1_is_token(unsigned char c)
{
    return http1_classes[c] & HTTP1_CLASS_TOKEN;
}

static inline bool http1_is_line(unsigned char c)
{
    return http1_classes[c] & HTTP1_CLASS_LINE;
}

static inline bool http1_is_digit(unsigned char c)
{
    return http1_classes[c] & HTTP1_CLASS_DIGIT;
}

static inline bool http1_is_path(unsigned char c)
{
    return http1_classes[c] & HTTP1_CLASS_PATH;
}

static inline bool http1_is_host(unsigned char c)
{
    return http1_classes[c] & HTTP1_CLASS_HOST;
}

static inline bool http1_is_space(char c)
{
    return c == ' ' || c == '\t';
}

int http1_hex_value(unsigned char c); /* -1: not a hexadecimal digit */

/* How many leading bytes are token characters. */
static inline size_t http1_token_length(const char *text, size_t length)
{
    size_t at = 0;

    while (at < length && http1_is_token((unsigned char)text[at]))
        at++;
    return at;
}

static inline bool http1_is_token_text(const char *text, size_t length) /* false when empty */
{
    return length > 0 && http1_token_length(text, length) == length;
}

/* Compares four or eight bytes with `lower`, which consists of lower-case letters, digits and "-".
 * Bit 0x20 may be missing in the text only where `lower` has a letter, that is, bit 0x40: setting
 * it everywhere would turn control characters into digits and "-". */
static inline bool http1_same4(const char *text, const char *lower)
{
    uint32_t word, wanted;

    memcpy(&word, text, sizeof(word));
    memcpy(&wanted, lower, sizeof(wanted));
    return (word | (wanted >> 1 & UINT32_C(0x20202020))) == wanted;
}

static inline bool http1_same8(const char *text, const char *lower)
{
    uint64_t word, wanted;

    memcpy(&word, text, sizeof(word));
    memcpy(&wanted, lower, sizeof(wanted));
    return (word | (wanted >> 1 & UINT64_C(0x2020202020202020))) == wanted;
}

/* Are `length` bytes equal to such a `lower`, ignoring case? The last word overlaps. If the
 * compiler knows `lower`, little of this is left. */
static ALWAYS_INLINE bool http1_same(const char *text, const char *lower, size_t length)
{
    if (length >= 8) {
        for (size_t at = 0; at < length - 8; at += 8)
            if (!http1_same8(text + at, lower + at))
                return false;
        return http1_same8(text + length - 8, lower + length - 8);
    }
    if (length >= 4)
        return http1_same4(text, lower) && http1_same4(text + length - 4, lower + length - 4);
    for (size_t at = 0; at < length; at++)
        if ((text[at] | (lower[at] >> 1 & 0x20)) != lower[at])
            return false;
    return true;
}

/* The same for a NUL-terminated `lower`. */
static ALWAYS_INLINE bool http1_text_is(const char *text, size_t length, const char *lower)
{
    return length == strlen(lower) && http1_same(text, lower, strlen(lower));
}

/* 1*DIGIT, at most INT64_MAX. False otherwise. */
bool http1_parse_number(const char *text, size_t length, uint64_t *number);

/* Walks through a comma-separated list, RFC 9110 5.6.1. A comma within a quoted string does not
 * separate. Members are returned without surrounding whitespace and may be empty. */
struct http1_list {
    const char *at, *end;
    bool more;
};
static inline void http1_list_begin(struct http1_list *list, const char *text, size_t length)
{
    *list = (struct http1_list){.at = text, .end = text + length, .more = length > 0};
}
bool http1_list_next(struct http1_list *list, const char **member, size_t *length);

/* Known field names; `name` is a token. */
enum http1_name http1_name_find(const char *name, size_t length);

/* Sets of names. */
#define HTTP1_NAME_BIT(id) (UINT32_C(1) << HTTP1_NAME_##id)

static inline bool http1_name_is_in(enum http1_name name, uint32_t set)
{
    return set >> name & 1;
}

#define HTTP1_NAMES_HOP_BY_HOP /* RFC 9110 7.6.1 */                                                \
    (HTTP1_NAME_BIT(CONNECTION) | HTTP1_NAME_BIT(KEEP_ALIVE) | HTTP1_NAME_BIT(TRANSFER_ENCODING) | \
     HTTP1_NAME_BIT(UPGRADE) | HTTP1_NAME_BIT(KNOWN_HOP))

/* The names in the table that are allowed in a trailer (RFC 9110 6.5.1, 11.6.3). */
#define HTTP1_NAMES_IN_TRAILER (HTTP1_NAME_BIT(OTHER) | HTTP1_NAME_BIT(AUTHENTICATION_INFO))

/* They determine where a message ends, and what happens to its connection. */
#define HTTP1_NAMES_FRAMING                                                                        \
    (HTTP1_NAME_BIT(CONNECTION) | HTTP1_NAME_BIT(CONTENT_LENGTH) |                                 \
     HTTP1_NAME_BIT(TRANSFER_ENCODING))

/* Would removing it change the meaning of the message for everyone after us? Then a Connection
 * field must not name it. */
bool http1_name_is_protected(const char *name, size_t length);

/* May a protocol in Upgrade be passed on? */
bool http1_upgrade_passes(const char *protocol, size_t length);

/* Is it one of those that were sent? */
bool http1_upgrade_has(const char *sent, const char *protocol, size_t length);

/* Method and target: NULL, or the rule that is broken. */
enum http1_method http1_method_find(const char *text, size_t length);
const char *http1_target_parse(struct http1_head *head, const char *data);
const char *http1_authority_check(const char *text, size_t length, bool port_needed);

/* Called when all fields are read: derives their meaning. False: bad_* are set. */
MUST_CHECK bool http1_semantics_derive(struct http1_head *head, const char *data);

#endif
