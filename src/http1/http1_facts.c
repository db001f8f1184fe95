/* What the fields of a complete head mean together: framing, the connection, authentication. */
#include "http1/http1_internal.h"

#include <string.h>
#include <strings.h>

/* RFC 9110 5.6.1 asks for a reasonable number of list members. */
#define MEMBERS_MAX 64

#define UPGRADE_LEFT_OUT "101 to an Upgrade that was not passed on (RFC 9110 7.8)"

/* What one walk over the fields collects. */
struct facts {
    struct http1_head *head;
    const char *data;
    unsigned hosts, lengths, codings, members;
    struct http1_span length;               /* Content-Length's value */
    bool close, keep_alive, upgrade_option; /* Connection's */
    bool chunked, expect;
    bool protocols; /* Upgrade's that are passed on */
};

static bool bad(struct facts *facts, uint16_t status, const char *text)
{
    http1_bad(facts->head, status, text);
    return false;
}

static const char *value_of(const struct facts *facts, const struct http1_field *field)
{
    return facts->data + field->value.start;
}

/* The next member that is not empty. False at the end; and when there are too many, so that a
 * list costs no more than a line: then facts->members tells. */
static bool next_member(struct facts *facts, struct http1_list *list, const char **member,
                        size_t *length)
{
    while (facts->members <= MEMBERS_MAX && http1_list_next(list, member, length)) {
        facts->members++;
        if (*length > 0)
            return true;
    }
    return false;
}

/* RFC 9110 8.6 lets us merge equal values. Two lines with the same digits mean the same to every
 * peer, whichever it takes; a list, or another way to write the number, need not. */
static bool read_length_again(struct facts *facts, struct http1_span value)
{
    if (facts->lengths > 2)
        return bad(facts, 400, "more than two Content-Lengths (RFC 9110 8.6)");
    if (value.length != facts->length.length ||
        memcmp(facts->data + value.start, facts->data + facts->length.start, value.length) != 0)
        return bad(facts, 400, "two Content-Lengths that differ (RFC 9110 8.6)");
    return true;
}

static bool read_content_length(struct facts *facts, const struct http1_field *field)
{
    if (facts->lengths++ > 0)
        return read_length_again(facts, field->value);
    facts->length = field->value;
    if (!http1_parse_number(value_of(facts, field), field->value.length,
                            &facts->head->content_length)) {
        if (strspn(value_of(facts, field), "0123456789") >= field->value.length &&
            field->value.length > 0)
            return bad(facts, 413, "Content-Length is beyond counting (RFC 9110 15.5.14)");
        return bad(facts, 400, "invalid Content-Length (RFC 9110 8.6)");
    }
    facts->head->has_length = true;
    return true;
}

/* Only "chunked", alone. An empty member or a parameter would be legal to overlook, but that is
 * how one peer sees chunked where another does not. */
static bool read_transfer_encoding(struct facts *facts, const struct http1_field *field)
{
    struct http1_list list;
    const char *member;
    size_t length;

    http1_list_begin(&list, value_of(facts, field), field->value.length);
    if (field->value.length == 0)
        return bad(facts, 400, "empty Transfer-Encoding (RFC 9112 6.1)");
    while (http1_list_next(&list, &member, &length)) {
        size_t name = 0;

        if (facts->chunked)
            return bad(facts, 400, "a coding after chunked (RFC 9112 6.1)");
        while (name < length && http1_is_token((unsigned char)member[name]))
            name++;
        if (name == 0 || (name < length && !memchr(" \t;", member[name], 3)))
            return bad(facts, 400, "malformed Transfer-Encoding (RFC 9112 6.1)");
        facts->codings++;
        facts->chunked = http1_text_is(member, name, "chunked");
        if (facts->chunked && name < length)
            return bad(facts, 400, "chunked has no parameters (RFC 9112 7)");
    }
    return true;
}

/* Removes what a Connection option names: each field of that name is for this hop alone. */
static void drop_named(struct facts *facts, const char *name, size_t length)
{
    struct http1_head *head = facts->head;

    for (unsigned i = 0; i < head->field_count; i++) {
        struct http1_field *field = &head->fields[i];

        if (field->name.length == length &&
            strncasecmp(facts->data + field->name.start, name, length) == 0)
            field->drop = true;
    }
}

/* False: it is an option of another kind, or none. */
static bool read_known_option(struct facts *facts, const char *option, size_t length)
{
    if (http1_text_is(option, length, "close"))
        facts->close = true;
    else if (http1_text_is(option, length, "keep-alive"))
        facts->keep_alive = true;
    else if (http1_text_is(option, length, "upgrade"))
        facts->upgrade_option = true;
    else
        return false;
    return true;
}

/* What an upstream wanted to say by it is unknown, so its connection is not used again. */
static bool judge_broken_option(struct facts *facts)
{
    if (facts->head->kind == HTTP1_KIND_REQUEST)
        return bad(facts, 400, "a Connection option is no token (RFC 9110 7.6.1)");
    facts->head->repaired = true;
    return true;
}

/* An option that names a field meant for everybody is forbidden (RFC 9110 7.6.1). Obeying would let
 * a client strip what a proxy before us added, ignoring it would hide an attack: refused. A
 * response may name Transfer-Encoding, which is for this hop and is read before: some origins do
 * so. A request has no reason to. */
static bool read_option(struct facts *facts, const char *option, size_t length)
{
    if (read_known_option(facts, option, length))
        return true;
    if (!http1_is_token_text(option, length))
        return judge_broken_option(facts);
    if (http1_name_is_protected(option, length) ||
        (facts->head->kind == HTTP1_KIND_REQUEST &&
         http1_name_find(option, length) == HTTP1_NAME_TRANSFER_ENCODING))
        return bad(facts, 400, "Connection names an end-to-end field (RFC 9110 7.6.1)");
    drop_named(facts, option, length);
    return true;
}

static bool read_connection(struct facts *facts, const struct http1_field *field)
{
    struct http1_list list;
    const char *option;
    size_t length;

    /* Nearly always the list has this one member. */
    if (read_known_option(facts, value_of(facts, field), field->value.length)) {
        facts->members++;
        return true;
    }
    http1_list_begin(&list, value_of(facts, field), field->value.length);
    while (next_member(facts, &list, &option, &length))
        if (!read_option(facts, option, length))
            return false;
    return true;
}

/* A 101 may name several protocols, layer upon layer, but none that was not sent. */
static bool judge_switch(struct facts *facts, const char *protocol, size_t length)
{
    const struct http1_head *head = facts->head;

    facts->protocols = http1_upgrade_has(head->upgrade_sent, protocol, length);
    if (facts->protocols)
        return true;
    return bad(facts, 502,
               head->upgrade_left_out ? UPGRADE_LEFT_OUT
                                      : "101 to another protocol than asked for (RFC 9110 7.8)");
}

/* In a response it only matters to what an upstream switches. */
static bool read_upgrade(struct facts *facts, const struct http1_field *field)
{
    struct http1_head *head = facts->head;
    bool request = head->kind == HTTP1_KIND_REQUEST;
    struct http1_list list;
    const char *protocol;
    size_t length;

    if (!request && (head->status != 101 || !head->upgrade_sent))
        return true;
    http1_list_begin(&list, value_of(facts, field), field->value.length);
    while (next_member(facts, &list, &protocol, &length)) {
        if (!request && !judge_switch(facts, protocol, length))
            return false;
        if (request && http1_upgrade_passes(protocol, length))
            facts->protocols = true;
        else if (request)
            head->upgrade_left_out = true;
    }
    return true;
}

/* RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored. */
static bool read_expect(struct facts *facts, const struct http1_field *field)
{
    struct http1_list list;
    const char *expectation;
    size_t length;

    if (facts->head->minor == 0)
        return true;
    http1_list_begin(&list, value_of(facts, field), field->value.length);
    while (next_member(facts, &list, &expectation, &length)) {
        if (!http1_text_is(expectation, length, "100-continue"))
            return bad(facts, 417, "unknown expectation (RFC 9110 10.1.1)");
        facts->expect = true;
    }
    return true;
}

static bool read_host(struct facts *facts, const struct http1_field *field)
{
    const char *broken;

    if (facts->hosts++ > 0)
        return bad(facts, 400, "more than one Host (RFC 9112 3.2)");
    broken = http1_authority_check(value_of(facts, field), field->value.length, false);
    if (broken)
        return bad(facts, 400, broken);
    if (facts->head->form == HTTP1_ORIGIN || facts->head->form == HTTP1_ASTERISK)
        facts->head->authority = field->value;
    return true;
}

/* We have no OPTIONS or TRACE of our own, so the last hop that we may be is a 501. */
static bool read_max_forwards(struct facts *facts, const struct http1_field *field)
{
    struct http1_head *head = facts->head;
    uint64_t hops;

    if (head->method != HTTP1_OPTIONS && head->method != HTTP1_TRACE)
        return true;
    if (head->max_forwards >= 0 ||
        !http1_parse_number(value_of(facts, field), field->value.length, &hops))
        return bad(facts, 400, "invalid Max-Forwards (RFC 9110 7.6.2)");
    if (hops == 0)
        return bad(facts, 501, "Max-Forwards is 0 (RFC 9110 7.6.2)");
    head->max_forwards = hops > INT32_MAX ? INT32_MAX : (int32_t)hops;
    return true;
}

/* Credentials or challenges, RFC 9110 11: a list member begins with the scheme where it is not a
 * parameter of the one before. RFC 4559 ties Negotiate to the connection, as NTLM is. Some end the
 * login in Authentication-Info, whose members are no schemes by the book. */
static void read_authentication(struct facts *facts, const struct http1_field *field)
{
    struct http1_list list;
    const char *member;
    size_t length;

    http1_list_begin(&list, value_of(facts, field), field->value.length);
    while (http1_list_next(&list, &member, &length)) {
        size_t scheme = 0;

        while (scheme < length && http1_is_token((unsigned char)member[scheme]))
            scheme++;
        if (http1_text_is(member, scheme, "ntlm") || http1_text_is(member, scheme, "negotiate"))
            facts->head->connection_auth = true;
    }
}

/* Keep-Alive: timeout=N. Only a hint, so nonsense is ignored. */
static void read_keep_alive(struct facts *facts, const struct http1_field *field)
{
    static const char name[] = "timeout=";
    const size_t skip = sizeof(name) - 1;
    struct http1_list list;
    const char *member;
    size_t length;
    uint64_t seconds;

    http1_list_begin(&list, value_of(facts, field), field->value.length);
    while (http1_list_next(&list, &member, &length))
        if (length > skip && strncasecmp(member, name, skip) == 0 &&
            http1_parse_number(member + skip, length - skip, &seconds))
            facts->head->keep_alive_timeout = seconds > INT32_MAX ? INT32_MAX : (int32_t)seconds;
}

static bool read_field(struct facts *facts, const struct http1_field *field)
{
    switch (field->id) {
    case HTTP1_NAME_CONNECTION:
        return read_connection(facts, field);
    case HTTP1_NAME_CONTENT_LENGTH:
        return read_content_length(facts, field);
    case HTTP1_NAME_TRANSFER_ENCODING:
        return read_transfer_encoding(facts, field);
    case HTTP1_NAME_UPGRADE:
        return read_upgrade(facts, field);
    case HTTP1_NAME_HOST:
        return read_host(facts, field);
    case HTTP1_NAME_EXPECT:
        return read_expect(facts, field);
    case HTTP1_NAME_MAX_FORWARDS:
        return read_max_forwards(facts, field);
    case HTTP1_NAME_KEEP_ALIVE:
        read_keep_alive(facts, field);
        return true;
    default: /* the credentials and challenges */
        read_authentication(facts, field);
        return true;
    }
}

/* The fields that mean something in either kind of message, in requests, in responses. */
#define BIT(id) HTTP1_NAME_BIT(id)
#define COMMON  (BIT(CONNECTION) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(UPGRADE))
static const uint32_t request_fields = COMMON | BIT(HOST) | BIT(EXPECT) | BIT(MAX_FORWARDS) |
                                       BIT(AUTHORIZATION) | BIT(PROXY_AUTHORIZATION);
static const uint32_t response_fields = COMMON | BIT(KEEP_ALIVE) | BIT(PROXY_AUTHENTICATE) |
                                        BIT(WWW_AUTHENTICATE) | BIT(AUTHENTICATION_INFO);

static bool read_fields(struct facts *facts)
{
    const struct http1_head *head = facts->head;
    uint32_t wanted = head->kind == HTTP1_KIND_REQUEST ? request_fields : response_fields;

    for (unsigned i = 0; i < head->field_count; i++)
        if (http1_name_is_in(head->fields[i].id, wanted) && !read_field(facts, &head->fields[i]))
            return false;
    return true;
}

/* RFC 9112 6.1 and 6.3, the rules that hold for both kinds. */
static bool check_framing(struct facts *facts)
{
    if (facts->codings == 0)
        return true;
    if (facts->head->minor == 0)
        return bad(facts, 400, "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)");
    if (facts->lengths > 0)
        return bad(facts, 400, "Transfer-Encoding and Content-Length (RFC 9112 6.3)");
    if (!facts->chunked)
        return bad(facts, 400, "the last transfer coding is not chunked (RFC 9112 6.3)");
    if (facts->codings > 1)
        return bad(facts, 501, "unknown transfer coding (RFC 9112 6.1)");
    return true;
}

static bool derive_request(struct facts *facts)
{
    struct http1_head *head = facts->head;

    bool content = facts->chunked || head->content_length > 0;

    if (facts->hosts == 0 && head->minor > 0)
        return bad(facts, 400, "HTTP/1.1 without Host (RFC 9112 3.2)");
    if (facts->chunked)
        head->framing = HTTP1_CHUNKED;
    else if (head->has_length)
        head->framing = HTTP1_LENGTH;
    if (head->framing != HTTP1_NO_BODY &&
        (head->method == HTTP1_CONNECT || head->method == HTTP1_TRACE)) {
        if (content)
            return bad(facts, 400, "CONNECT or TRACE with content (RFC 9110 9.3.6, 9.3.8)");
        head->framing = HTTP1_NO_BODY;
    }
    head->expect_continue = facts->expect && content;
    head->upgrade = facts->protocols && facts->upgrade_option && head->minor > 0;
    head->upgrade_left_out |= facts->protocols && !head->upgrade;
    return true;
}

/* 101 only as asked, by the rules of RFC 9110 7.8 and 15.2.2. */
static bool check_switch(struct facts *facts)
{
    struct http1_head *head = facts->head;

    if (head->status != 101)
        return true;
    if (!head->upgrade_sent)
        return bad(facts, 502,
                   head->upgrade_left_out ? UPGRADE_LEFT_OUT
                                          : "101 without an Upgrade (RFC 9110 15.2.2)");
    if (!facts->protocols || !facts->upgrade_option || head->minor == 0)
        return bad(facts, 502, "101 without Upgrade and Connection (RFC 9110 7.8)");
    head->upgrade = true;
    return true;
}

bool http1_head_is_interim(const struct http1_head *head)
{
    return head->kind == HTTP1_KIND_RESPONSE && head->status < 200 && head->status != 101;
}

/* RFC 9112 6.3. A length of 0 in a 1xx or 204 is forbidden too, but common and not ambiguous. With
 * anything else there may come a body: behind 1xx that is fatal, for the final response is due; 204
 * is the end in any case, if nothing more is read; and a tunnel has no end. */
static bool derive_response(struct facts *facts)
{
    struct http1_head *head = facts->head;
    bool empty = head->status < 200 || head->status == 204;
    bool framed = facts->codings > 0 || head->content_length > 0;
    bool tunnel = head->method == HTTP1_CONNECT && head->status / 100 == 2;

    if (empty && framed) {
        if (http1_head_is_interim(head))
            return bad(facts, 502, "1xx with a body (RFC 9112 6.1, RFC 9110 8.6)");
        head->repaired = true;
    }
    if (empty || tunnel || head->status == 304 || head->method == HTTP1_HEAD)
        head->framing = HTTP1_NO_BODY;
    else if (facts->chunked)
        head->framing = HTTP1_CHUNKED;
    else
        head->framing = head->has_length ? HTTP1_LENGTH : HTTP1_UNTIL_CLOSE;
    return check_switch(facts);
}

/* RFC 9112 9.3. */
static bool is_persistent(const struct facts *facts)
{
    const struct http1_head *head = facts->head;

    if (facts->close || head->framing == HTTP1_UNTIL_CLOSE || head->status == 101)
        return false;
    if (head->method == HTTP1_CONNECT && head->status / 100 == 2)
        return false;
    return head->minor > 0 || facts->keep_alive;
}

bool http1_facts_derive(struct http1_head *head, const char *data)
{
    struct facts facts = {.head = head, .data = data};

    if (head->kind == HTTP1_KIND_TRAILER)
        return true;
    if (!read_fields(&facts))
        return false;
    if (facts.members > MEMBERS_MAX)
        return bad(&facts, 400, "too many list members (RFC 9110 5.6.1)");
    if (!check_framing(&facts))
        return false;
    if (head->kind == HTTP1_KIND_REQUEST ? !derive_request(&facts) : !derive_response(&facts))
        return false;
    head->persistent = is_persistent(&facts);
    return true;
}
