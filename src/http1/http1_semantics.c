/* SPDX-License-Identifier: ISC */
/* What the fields of a complete head mean together: framing, the connection, authentication. */
#include "http1/http1_internal.h"

#include <string.h>
#include <strings.h>

/* RFC 9110 5.6.1 asks for a reasonable number of list members. */
#define MEMBERS_MAX 64

#define UPGRADE_LEFT_OUT "101 to an Upgrade that was not passed on (RFC 9110 7.8)"

/* The results of one walk over the fields. */
struct semantics {
    struct http1_head *head;
    const char *data;
    unsigned hosts, lengths, codings, members;
    struct http1_span length;               /* Content-Length's value */
    bool close, keep_alive, upgrade_option; /* Connection's */
    bool chunked, expect;
    bool protocols; /* Upgrade's, those that are passed on */
};

static bool bad(struct semantics *semantics, uint16_t status, const char *text)
{
    http1_bad(semantics->head, status, text);
    return false;
}

static const char *value_of(const struct semantics *semantics, const struct http1_field *field)
{
    return semantics->data + field->value.start;
}

/* The next member that is not empty. False at the end, and if there are too many, so that a list
 * costs no more than a line: semantics->members shows which. */
static bool next_member(struct semantics *semantics, struct http1_list *list, const char **member,
                        size_t *length)
{
    while (semantics->members <= MEMBERS_MAX && http1_list_next(list, member, length)) {
        semantics->members++;
        if (*length > 0)
            return true;
    }
    return false;
}

/* RFC 9110 8.6 allows merging equal values. Two lines with the same digits mean the same to every
 * peer, whichever one it uses; a list, or another notation of the number, may not. */
static bool read_length_again(struct semantics *semantics, struct http1_span value)
{
    if (semantics->lengths > 2)
        return bad(semantics, 400, "more than two Content-Lengths (RFC 9110 8.6)");
    if (value.length != semantics->length.length ||
        memcmp(semantics->data + value.start, semantics->data + semantics->length.start,
               value.length) != 0)
        return bad(semantics, 400, "two Content-Lengths that differ (RFC 9110 8.6)");
    return true;
}

static bool read_content_length(struct semantics *semantics, const struct http1_field *field)
{
    if (semantics->lengths++ > 0)
        return read_length_again(semantics, field->value);
    semantics->length = field->value;
    if (!http1_parse_number(value_of(semantics, field), field->value.length,
                            &semantics->head->content_length)) {
        if (strspn(value_of(semantics, field), "0123456789") >= field->value.length &&
            field->value.length > 0)
            return bad(semantics, 413, "Content-Length is too large (RFC 9110 15.5.14)");
        return bad(semantics, 400, "invalid Content-Length (RFC 9110 8.6)");
    }
    semantics->head->has_length = true;
    return true;
}

/* Only "chunked", alone. Ignoring an empty member or a parameter would be legal, but that is how
 * one peer recognizes chunked and another does not. */
static bool read_transfer_encoding(struct semantics *semantics, const struct http1_field *field)
{
    struct http1_list list;
    const char *member;
    size_t length;

    http1_list_begin(&list, value_of(semantics, field), field->value.length);
    if (field->value.length == 0)
        return bad(semantics, 400, "empty Transfer-Encoding (RFC 9112 6.1)");
    while (http1_list_next(&list, &member, &length)) {
        size_t name = 0;

        if (semantics->chunked)
            return bad(semantics, 400, "a coding after chunked (RFC 9112 6.1)");
        while (name < length && http1_is_token((unsigned char)member[name]))
            name++;
        if (name == 0 || (name < length && !memchr(" \t;", member[name], 3)))
            return bad(semantics, 400, "malformed Transfer-Encoding (RFC 9112 6.1)");
        semantics->codings++;
        semantics->chunked = http1_text_is(member, name, "chunked");
        if (semantics->chunked && name < length)
            return bad(semantics, 400, "chunked takes no parameters (RFC 9112 7)");
    }
    return true;
}

/* Drops what a Connection option names: every field of that name is for this hop only. */
static void drop_named(struct semantics *semantics, const char *name, size_t length)
{
    struct http1_head *head = semantics->head;

    for (unsigned i = 0; i < head->field_count; i++) {
        struct http1_field *field = &head->fields[i];

        if (field->name.length == length &&
            strncasecmp(semantics->data + field->name.start, name, length) == 0)
            field->drop = true;
    }
}

/* False: it is an option of another kind, or not an option. */
static bool read_known_option(struct semantics *semantics, const char *option, size_t length)
{
    if (http1_text_is(option, length, "close"))
        semantics->close = true;
    else if (http1_text_is(option, length, "keep-alive"))
        semantics->keep_alive = true;
    else if (http1_text_is(option, length, "upgrade"))
        semantics->upgrade_option = true;
    else
        return false;
    return true;
}

/* It is unknown what the upstream meant, so its connection is not reused. */
static bool judge_broken_option(struct semantics *semantics)
{
    if (semantics->head->kind == HTTP1_KIND_REQUEST)
        return bad(semantics, 400, "a Connection option is not a token (RFC 9110 7.6.1)");
    semantics->head->repaired = true;
    return true;
}

/* An option must not name a field meant for everyone (RFC 9110 7.6.1). Obeying it would let a
 * client strip what a proxy before us has added, and ignoring it would hide an attack: it is
 * rejected. A response may name Transfer-Encoding, which is for this hop and was read before: some
 * origins do so. A request has no reason to. */
static bool read_option(struct semantics *semantics, const char *option, size_t length)
{
    if (read_known_option(semantics, option, length))
        return true;
    if (!http1_is_token_text(option, length))
        return judge_broken_option(semantics);
    if (http1_name_is_protected(option, length) ||
        (semantics->head->kind == HTTP1_KIND_REQUEST &&
         http1_name_find(option, length) == HTTP1_NAME_TRANSFER_ENCODING))
        return bad(semantics, 400, "Connection names an end-to-end field (RFC 9110 7.6.1)");
    drop_named(semantics, option, length);
    return true;
}

static bool read_connection(struct semantics *semantics, const struct http1_field *field)
{
    struct http1_list list;
    const char *option;
    size_t length;

    /* Nearly always the list has only this member. */
    if (read_known_option(semantics, value_of(semantics, field), field->value.length)) {
        semantics->members++;
        return true;
    }
    http1_list_begin(&list, value_of(semantics, field), field->value.length);
    while (next_member(semantics, &list, &option, &length))
        if (!read_option(semantics, option, length))
            return false;
    return true;
}

/* A 101 may name several protocols, layered upon each other, but only ones that were sent. */
static bool judge_switch(struct semantics *semantics, const char *protocol, size_t length)
{
    const struct http1_head *head = semantics->head;

    semantics->protocols = http1_upgrade_has(head->upgrade_sent, protocol, length);
    if (semantics->protocols)
        return true;
    return bad(semantics, 502,
               head->upgrade_left_out ? UPGRADE_LEFT_OUT
                                      : "101 to a protocol that was not asked for (RFC 9110 7.8)");
}

/* In a response it only matters what an upstream switches to. */
static bool read_upgrade(struct semantics *semantics, const struct http1_field *field)
{
    struct http1_head *head = semantics->head;
    bool request = head->kind == HTTP1_KIND_REQUEST;
    struct http1_list list;
    const char *protocol;
    size_t length;

    if (!request && (head->status != 101 || !head->upgrade_sent))
        return true;
    http1_list_begin(&list, value_of(semantics, field), field->value.length);
    while (next_member(semantics, &list, &protocol, &length)) {
        if (!request && !judge_switch(semantics, protocol, length))
            return false;
        if (request && http1_upgrade_passes(protocol, length))
            semantics->protocols = true;
        else if (request)
            head->upgrade_left_out = true;
    }
    return true;
}

/* RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored. */
static bool read_expect(struct semantics *semantics, const struct http1_field *field)
{
    struct http1_list list;
    const char *expectation;
    size_t length;

    if (semantics->head->minor == 0)
        return true;
    http1_list_begin(&list, value_of(semantics, field), field->value.length);
    while (next_member(semantics, &list, &expectation, &length)) {
        if (!http1_text_is(expectation, length, "100-continue"))
            return bad(semantics, 417, "unknown expectation (RFC 9110 10.1.1)");
        semantics->expect = true;
    }
    return true;
}

static bool read_host(struct semantics *semantics, const struct http1_field *field)
{
    const char *broken;

    if (semantics->hosts++ > 0)
        return bad(semantics, 400, "more than one Host (RFC 9112 3.2)");
    broken = http1_authority_check(value_of(semantics, field), field->value.length, false);
    if (broken)
        return bad(semantics, 400, broken);
    if (semantics->head->form == HTTP1_ORIGIN || semantics->head->form == HTTP1_ASTERISK)
        semantics->head->authority = field->value;
    return true;
}

/* We do not answer OPTIONS or TRACE ourselves, so if we are to be the last hop, the response is
 * 501. */
static bool read_max_forwards(struct semantics *semantics, const struct http1_field *field)
{
    struct http1_head *head = semantics->head;
    uint64_t hops;

    if (head->method != HTTP1_OPTIONS && head->method != HTTP1_TRACE)
        return true;
    if (head->max_forwards >= 0 ||
        !http1_parse_number(value_of(semantics, field), field->value.length, &hops))
        return bad(semantics, 400, "invalid Max-Forwards (RFC 9110 7.6.2)");
    if (hops == 0)
        return bad(semantics, 501, "Max-Forwards is 0 (RFC 9110 7.6.2)");
    head->max_forwards = hops > INT32_MAX ? INT32_MAX : (int32_t)hops;
    return true;
}

/* Credentials or challenges, RFC 9110 11: a list member begins with the scheme, unless it is a
 * parameter of the previous one. RFC 4559 ties Negotiate to the connection, like NTLM. Some end the
 * login in Authentication-Info, whose members are not schemes according to the RFC. */
static void read_authentication(struct semantics *semantics, const struct http1_field *field)
{
    struct http1_list list;
    const char *member;
    size_t length;

    http1_list_begin(&list, value_of(semantics, field), field->value.length);
    while (http1_list_next(&list, &member, &length)) {
        size_t scheme = 0;

        while (scheme < length && http1_is_token((unsigned char)member[scheme]))
            scheme++;
        if (http1_text_is(member, scheme, "ntlm") || http1_text_is(member, scheme, "negotiate"))
            semantics->head->connection_auth = true;
    }
}

/* Keep-Alive: timeout=N. Only a hint, so invalid values are ignored. */
static void read_keep_alive(struct semantics *semantics, const struct http1_field *field)
{
    static const char name[] = "timeout=";
    const size_t skip = sizeof(name) - 1;
    struct http1_list list;
    const char *member;
    size_t length;
    uint64_t seconds;

    http1_list_begin(&list, value_of(semantics, field), field->value.length);
    while (http1_list_next(&list, &member, &length))
        if (length > skip && strncasecmp(member, name, skip) == 0 &&
            http1_parse_number(member + skip, length - skip, &seconds))
            semantics->head->keep_alive_timeout =
                seconds > INT32_MAX ? INT32_MAX : (int32_t)seconds;
}

static bool read_field(struct semantics *semantics, const struct http1_field *field)
{
    switch (field->id) {
    case HTTP1_NAME_CONNECTION:
        return read_connection(semantics, field);
    case HTTP1_NAME_CONTENT_LENGTH:
        return read_content_length(semantics, field);
    case HTTP1_NAME_TRANSFER_ENCODING:
        return read_transfer_encoding(semantics, field);
    case HTTP1_NAME_UPGRADE:
        return read_upgrade(semantics, field);
    case HTTP1_NAME_HOST:
        return read_host(semantics, field);
    case HTTP1_NAME_EXPECT:
        return read_expect(semantics, field);
    case HTTP1_NAME_MAX_FORWARDS:
        return read_max_forwards(semantics, field);
    case HTTP1_NAME_KEEP_ALIVE:
        read_keep_alive(semantics, field);
        return true;
    default: /* the credentials and challenges */
        read_authentication(semantics, field);
        return true;
    }
}

/* The fields that matter in both kinds of message, in requests, in responses. */
#define BIT(id) HTTP1_NAME_BIT(id)
#define COMMON  (BIT(CONNECTION) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(UPGRADE))
static const uint32_t request_fields = COMMON | BIT(HOST) | BIT(EXPECT) | BIT(MAX_FORWARDS) |
                                       BIT(AUTHORIZATION) | BIT(PROXY_AUTHORIZATION);
static const uint32_t response_fields = COMMON | BIT(KEEP_ALIVE) | BIT(PROXY_AUTHENTICATE) |
                                        BIT(WWW_AUTHENTICATE) | BIT(AUTHENTICATION_INFO);

static bool read_fields(struct semantics *semantics)
{
    const struct http1_head *head = semantics->head;
    uint32_t wanted = head->kind == HTTP1_KIND_REQUEST ? request_fields : response_fields;

    for (unsigned i = 0; i < head->field_count; i++)
        if (http1_name_is_in(head->fields[i].id, wanted) &&
            !read_field(semantics, &head->fields[i]))
            return false;
    return true;
}

/* RFC 9112 6.1 and 6.3, the rules that apply to both kinds. */
static bool check_framing(struct semantics *semantics)
{
    if (semantics->codings == 0)
        return true;
    if (semantics->head->minor == 0)
        return bad(semantics, 400, "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)");
    if (semantics->lengths > 0)
        return bad(semantics, 400, "Transfer-Encoding and Content-Length (RFC 9112 6.3)");
    if (!semantics->chunked)
        return bad(semantics, 400, "the last transfer coding is not chunked (RFC 9112 6.3)");
    if (semantics->codings > 1)
        return bad(semantics, 501, "unknown transfer coding (RFC 9112 6.1)");
    return true;
}

static bool derive_request(struct semantics *semantics)
{
    struct http1_head *head = semantics->head;

    bool content = semantics->chunked || head->content_length > 0;

    if (semantics->hosts == 0 && head->minor > 0)
        return bad(semantics, 400, "HTTP/1.1 without Host (RFC 9112 3.2)");
    if (semantics->chunked)
        head->framing = HTTP1_CHUNKED;
    else if (head->has_length)
        head->framing = HTTP1_LENGTH;
    if (head->framing != HTTP1_NO_BODY &&
        (head->method == HTTP1_CONNECT || head->method == HTTP1_TRACE)) {
        if (content)
            return bad(semantics, 400, "CONNECT or TRACE with content (RFC 9110 9.3.6, 9.3.8)");
        head->framing = HTTP1_NO_BODY;
    }
    head->expect_continue = semantics->expect && content;
    head->upgrade = semantics->protocols && semantics->upgrade_option && head->minor > 0;
    head->upgrade_left_out |= semantics->protocols && !head->upgrade;
    return true;
}

/* 101 only as requested, according to RFC 9110 7.8 and 15.2.2. */
static bool check_switch(struct semantics *semantics)
{
    struct http1_head *head = semantics->head;

    if (head->status != 101)
        return true;
    if (!head->upgrade_sent)
        return bad(semantics, 502,
                   head->upgrade_left_out ? UPGRADE_LEFT_OUT
                                          : "101 without an Upgrade (RFC 9110 15.2.2)");
    if (!semantics->protocols || !semantics->upgrade_option || head->minor == 0)
        return bad(semantics, 502, "101 without Upgrade and Connection (RFC 9110 7.8)");
    head->upgrade = true;
    return true;
}

bool http1_head_is_interim(const struct http1_head *head)
{
    return head->kind == HTTP1_KIND_RESPONSE && head->status < 200 && head->status != 101;
}

/* RFC 9112 6.3. A length of 0 in a 1xx or 204 is forbidden too, but common and not ambiguous. With
 * anything else there may be a body: after 1xx that is fatal, as the final response is still due;
 * 204 is the end in any case, if nothing more is read; and a tunnel has no end. */
static bool derive_response(struct semantics *semantics)
{
    struct http1_head *head = semantics->head;
    bool empty = head->status < 200 || head->status == 204;
    bool framed = semantics->codings > 0 || head->content_length > 0;
    bool tunnel = head->method == HTTP1_CONNECT && head->status / 100 == 2;

    if (empty && framed) {
        if (http1_head_is_interim(head))
            return bad(semantics, 502, "1xx with a body (RFC 9112 6.1, RFC 9110 8.6)");
        head->repaired = true;
    }
    if (empty || tunnel || head->status == 304 || head->method == HTTP1_HEAD)
        head->framing = HTTP1_NO_BODY;
    else if (semantics->chunked)
        head->framing = HTTP1_CHUNKED;
    else
        head->framing = head->has_length ? HTTP1_LENGTH : HTTP1_UNTIL_CLOSE;
    return check_switch(semantics);
}

/* RFC 9112 9.3. */
static bool is_persistent(const struct semantics *semantics)
{
    const struct http1_head *head = semantics->head;

    if (semantics->close || head->framing == HTTP1_UNTIL_CLOSE || head->status == 101)
        return false;
    if (head->method == HTTP1_CONNECT && head->status / 100 == 2)
        return false;
    return head->minor > 0 || semantics->keep_alive;
}

bool http1_semantics_derive(struct http1_head *head, const char *data)
{
    struct semantics semantics = {.head = head, .data = data};

    if (head->kind == HTTP1_KIND_TRAILER)
        return true;
    if (!read_fields(&semantics))
        return false;
    if (semantics.members > MEMBERS_MAX)
        return bad(&semantics, 400, "too many list members (RFC 9110 5.6.1)");
    if (!check_framing(&semantics))
        return false;
    if (head->kind == HTTP1_KIND_REQUEST ? !derive_request(&semantics)
                                         : !derive_response(&semantics))
        return false;
    head->persistent = is_persistent(&semantics);
    return true;
}
