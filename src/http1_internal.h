/* What the http1_*.c files share. */
#ifndef KAPROXY_HTTP1_INTERNAL_H
#define KAPROXY_HTTP1_INTERNAL_H

#include "http1.h"

/* Character classes, RFC 9110 5.6.2 and 5.5, RFC 3986 2. */
bool http1_is_token(unsigned char c);
bool http1_is_line(unsigned char c); /* may stand in a head at all: HTAB, SP, VCHAR, obs-text */
bool http1_is_digit(unsigned char c);
int http1_hex_value(unsigned char c); /* -1: no hexadecimal digit */
bool http1_is_uri(unsigned char c);   /* may stand in a path; '%' and '?' not among them */
bool http1_is_query(unsigned char c);
bool http1_is_host(unsigned char c); /* may stand in a registered name */

bool http1_is_token_text(const char *text, size_t length); /* false when empty */

/* Equal to a NUL-terminated text, whatever the case of letters. */
bool http1_text_is(const char *text, size_t length, const char *other);

/* 1*DIGIT, at most INT64_MAX. False otherwise. */
bool http1_parse_number(const char *text, size_t length, uint64_t *number);

/* Walks a comma-separated list, RFC 9110 5.6.1. A comma inside a quoted string does not separate.
 * Members come without the whitespace around them and may be empty. */
struct http1_list {
    const char *at, *end;
    bool more;
};
void http1_list_begin(struct http1_list *list, const char *text, size_t length);
bool http1_list_next(struct http1_list *list, const char **member, size_t *length);

/* Known field names. */
enum http1_name http1_name_find(const char *name, size_t length);
bool http1_name_is_hop_by_hop(enum http1_name name);

/* Would it change the meaning of the message for everybody behind us, were it taken out? Then no
 * Connection field may name it. */
bool http1_name_is_protected(const char *name, size_t length);

/* Method and target: NULL, or the rule that is broken. */
enum http1_method http1_method_find(const char *text, size_t length);
const char *http1_target_parse(struct http1_head *head, const char *data);
const char *http1_authority_check(const char *text, size_t length, bool port_needed);

/* Once all fields are read: what they mean. False: bad_* are set. */
MUST_CHECK bool http1_facts_derive(struct http1_head *head, const char *data);

/* Sets bad_* and returns HTTP1_BAD. `text` must be static. */
enum http1_result http1_bad(struct http1_head *head, uint16_t status, const char *text);

#endif
