/* SPDX-License-Identifier: ISC */
/* Writes headers, chunk lines and local replies into a buffer that is never exceeded. */
#include "http1/http1_compose.h"

#include <errno.h>
#include <string.h>

#include "http1/http1_internal.h"

/* A buffer being filled; `full` is permanent. */
struct out {
    char *start, *at, *end;
    bool full;
};

#define OUT(buffer, size)                                                                          \
    {                                                                                              \
        .start = (buffer), .at = (buffer), .end = (buffer) + (size)                                \
    }

/* Room for `length` bytes, or NULL. */
static inline char *take(struct out *out, size_t length)
{
    char *room = out->at;

    if (length > (size_t)(out->end - room)) {
        out->full = true;
        return NULL;
    }
    out->at = room + length;
    return room;
}

static inline void put(struct out *out, const char *text, size_t length)
{
    char *room = take(out, length);

    if (room)
        memcpy(room, text, length);
}

/* A string literal: stored, not copied. */
#define PUT(out, literal) put(out, "" literal, sizeof(literal) - 1)

static inline void put_text(struct out *out, const char *text)
{
    put(out, text, strlen(text));
}

/* Piece by piece, into room that was taken for all of them. */
static inline char *copy(char *room, const char *text, size_t length)
{
    memcpy(room, text, length);
    return room + length;
}

#define COPY(room, literal) copy(room, "" literal, sizeof(literal) - 1)

static inline char *copy_two(char *room, unsigned number)
{
    room[0] = (char)('0' + number / 10);
    room[1] = (char)('0' + number % 10);
    return room + 2;
}

/* Three digits and a space. */
static inline char *copy_status(char *room, unsigned status)
{
    room[0] = (char)('0' + status / 100);
    room = copy_two(room + 1, status % 100);
    *room = ' ';
    return room + 1;
}

/* A line consisting of two parts. */
static inline void put_line(struct out *out, const char *name, const char *text, size_t length)
{
    char *room = take(out, strlen(name) + length + 2);

    if (!room)
        return;
    room = copy(room, name, strlen(name));
    room = copy(room, text, length);
    COPY(room, "\r\n");
}

/* A line consisting of a name, which may be empty, and a number. */
static inline void put_number(struct out *out, const char *name, uint64_t number, unsigned base)
{
    char digits[20], *const end = digits + sizeof(digits), *first = end;

    do
        *--first = "0123456789abcdef"[number % base];
    while ((number /= base) > 0);

    put_line(out, name, first, (size_t)(end - first));
}

static ssize_t finish(const struct out *out)
{
    if (!out->full)
        return out->at - out->start;
    errno = ENOSPC;
    return -1;
}

static inline void put_span(struct out *out, const char *data, struct http1_span span)
{
    put(out, data + span.start, span.length);
}

static inline void put_status_line(struct out *out, unsigned status, const char *reason,
                                   size_t length)
{
    char *room = take(out, sizeof("HTTP/1.1 200 \r\n") - 1 + length);

    if (!room)
        return;
    room = copy_status(COPY(room, "HTTP/1.1 "), status);
    room = copy(room, reason, length);
    COPY(room, "\r\n");
}

/* A line that arrived in the form we send is written in one piece. */
static inline void put_field(struct out *out, const char *data, const struct http1_field *field)
{
    const char *name = data + field->name.start, *value = data + field->value.start;
    size_t length = field->name.length + sizeof(": ") - 1U + field->value.length;
    char *room = take(out, length + sizeof("\r\n") - 1);

    if (!room)
        return;
    if (value == name + field->name.length + 2 && value[-1] == ' ') {
        room = copy(room, name, length);
    } else {
        room = COPY(copy(room, name, field->name.length), ": ");
        room = copy(room, value, field->value.length);
    }
    COPY(room, "\r\n");
}

static void put_framing(struct out *out, enum http1_framing framing, uint64_t length)
{
    if (framing == HTTP1_CHUNKED)
        PUT(out, "Transfer-Encoding: chunked\r\n");
    else if (framing == HTTP1_LENGTH)
        put_number(out, "Content-Length: ", length, 10);
}

/* RFC 9110 5.6.7, whatever the locale. */
static void put_date(struct out *out, time_t now)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;

    if (now == 0 || !gmtime_r(&now, &tm))
        return;
    if (tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) /* the format has four digits */
        return;

    char *room = take(out, sizeof("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n") - 1);

    if (!room)
        return;
    room = copy(COPY(room, "Date: "), days[tm.tm_wday], 3);
    room = copy_two(COPY(room, ", "), (unsigned)tm.tm_mday);
    room = copy(COPY(room, " "), months[tm.tm_mon], 3);
    room = copy_two(COPY(room, " "), (unsigned)(tm.tm_year + 1900) / 100);
    room = copy_two(room, (unsigned)(tm.tm_year + 1900) % 100);
    room = copy_two(COPY(room, " "), (unsigned)tm.tm_hour);
    room = copy_two(COPY(room, ":"), (unsigned)tm.tm_min);
    room = copy_two(COPY(room, ":"), (unsigned)tm.tm_sec);
    COPY(room, " GMT\r\n");
}

static inline void put_request_line(struct out *out, const struct http1_head *head,
                                    const char *data)
{
    struct http1_span method = head->method_text;
    struct http1_span target = head->form == HTTP1_AUTHORITY ? head->target : head->path;
    char root = '\0'; /* missing at the start of the target */

    if (target.length == 0 && head->method == HTTP1_OPTIONS)
        root = '*'; /* RFC 9112 3.2.4, also from absolute-form */
    else if (head->form != HTTP1_AUTHORITY && (target.length == 0 || data[target.start] != '/'))
        root = '/';

    char *room = take(out, method.length + 1U + (root != '\0') + target.length +
                               sizeof(" HTTP/1.1\r\n") - 1);

    if (!room)
        return;
    room = COPY(copy(room, data + method.start, method.length), " ");
    if (root != '\0')
        *room++ = root;
    room = copy(room, data + target.start, target.length);
    COPY(room, " HTTP/1.1\r\n");
}

static inline void put_host(struct out *out, const struct http1_head *head, const char *data,
                            const struct http1_request_options *options)
{
    /* CONNECT's is its target's (RFC 9112 3.2). */
    bool client = options->client_host || head->method == HTTP1_CONNECT;

    if (client && head->authority.length > 0)
        put_line(out, "Host: ", data + head->authority.start, head->authority.length);
    else
        put_line(out, "Host: ", options->host, strlen(options->host));
}

/* Would text after this value be inside a quoted string? */
static bool quote_is_open(const char *text, size_t length)
{
    bool quoted = false;

    for (size_t i = 0; i < length; i++) {
        if (text[i] == '"')
            quoted = !quoted;
        else if (quoted && text[i] == '\\')
            i++;
    }
    return quoted;
}

/* All values of a list field, joined. A value with an open quote would swallow the text after it,
 * and is left out. */
static void put_joined(struct out *out, const struct http1_head *head, const char *data,
                       enum http1_name name)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http1_field *field = &head->fields[i];

        if (field->id != name || field->value.length == 0 ||
            quote_is_open(data + field->value.start, field->value.length))
            continue;
        put_span(out, data, field->value);
        PUT(out, ", ");
    }
}

/* Appends the client's address to those of the proxies before us. A scope ("%eth0") is meaningless
 * to others. */
static void put_forwarded(struct out *out, const struct http1_head *head, const char *data,
                          const struct http1_request_options *options)
{
    const char *client = options->client ? options->client : "unknown";
    struct http1_span address = {.length = (uint16_t)strcspn(client, "%")};

    if (options->forwarded == HTTP1_FORWARDED_X) {
        PUT(out, "X-Forwarded-For: ");
        put_joined(out, head, data, HTTP1_NAME_X_FORWARDED_FOR);
        put_span(out, client, address);
    } else {
        bool v6 = strchr(client, ':') != NULL; /* RFC 7239 6: in brackets and quoted */

        PUT(out, "Forwarded: ");
        put_joined(out, head, data, HTTP1_NAME_FORWARDED);
        put_text(out, v6 ? "for=\"[" : "for=");
        put_span(out, client, address);
        put_text(out, v6 ? "]\"" : "");
    }
    PUT(out, "\r\n");
}

/* The protocols in Upgrade that are passed on; in a response all that were sent. */
static void put_protocols(struct out *out, const struct http1_head *head, const char *data)
{
    bool first = true;

    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http1_field *field = &head->fields[i];
        struct http1_list list;
        const char *protocol;
        size_t length;

        if (field->id != HTTP1_NAME_UPGRADE)
            continue;
        http1_list_begin(&list, data + field->value.start, field->value.length);
        while (http1_list_next(&list, &protocol, &length)) {
            if (!http1_upgrade_passes(protocol, length))
                continue;
            put_text(out, first ? "" : ", ");
            put(out, protocol, length);
            first = false;
        }
    }
}

ssize_t http1_compose_upgrade(char *buffer, size_t size, const struct http1_head *head,
                              const char *data)
{
    struct out out = OUT(buffer, size);

    put_protocols(&out, head, data);
    return finish(&out);
}

static void put_upgrade(struct out *out, const struct http1_head *head, const char *data)
{
    PUT(out, "Connection: upgrade\r\nUpgrade: ");
    put_protocols(out, head, data);
    PUT(out, "\r\n");
}

/* Is this field composed by us, or left out, rather than passed on? */
static bool is_rewritten(const struct http1_field *field,
                         const struct http1_request_options *options)
{
    switch (field->id) {
    case HTTP1_NAME_HOST:
    case HTTP1_NAME_CONTENT_LENGTH:
    case HTTP1_NAME_EXPECT:
        return true;
    case HTTP1_NAME_TRAILER:
        return options->known_length;
    case HTTP1_NAME_FORWARDED:
        return options->forwarded == HTTP1_FORWARDED_RFC7239;
    case HTTP1_NAME_X_FORWARDED_FOR:
        return options->forwarded == HTTP1_FORWARDED_X;
    default:
        return field->drop;
    }
}

static void put_request_fields(struct out *out, const struct http1_head *head, const char *data,
                               const struct http1_request_options *options)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http1_field *field = &head->fields[i];

        if (is_rewritten(field, options))
            continue;
        if (field->id == HTTP1_NAME_MAX_FORWARDS && head->max_forwards > 0)
            put_number(out, "Max-Forwards: ", (uint64_t)head->max_forwards - 1, 10);
        else
            put_field(out, data, field);
    }
}

ssize_t http1_compose_request(char *buffer, size_t size, const struct http1_head *head,
                              const char *data, const struct http1_request_options *options)
{
    struct out out = OUT(buffer, size);

    put_request_line(&out, head, data);
    put_host(&out, head, data, options);
    put_request_fields(&out, head, data, options);
    if (options->forwarded != HTTP1_FORWARDED_OFF)
        put_forwarded(&out, head, data, options);
    if (options->known_length)
        put_framing(&out, HTTP1_LENGTH, options->length);
    else
        put_framing(&out, head->framing, head->content_length);
    if (head->expect_continue && options->pass_expect)
        PUT(&out, "Expect: 100-continue\r\n");
    if (head->upgrade)
        put_upgrade(&out, head, data);
    PUT(&out, "\r\n");
    return finish(&out);
}

/* The framing, RFC 9112 6. Without a body a length may still be sent, as GET would have had it (RFC
 * 9110 8.6), but never in 1xx and 204. */
static void put_response_framing(struct out *out, const struct http1_head *head,
                                 const struct http1_response_options *options)
{
    if (head->framing != HTTP1_NO_BODY)
        put_framing(out, options->framing, options->length);
    else if (head->has_length && head->status >= 200 && head->status != 204 &&
             head->method != HTTP1_CONNECT)
        put_framing(out, HTTP1_LENGTH, head->content_length);
}

static bool passes(const struct http1_head *head, const struct http1_field *field, bool chunked)
{
    if (field->id == HTTP1_NAME_TRAILER)
        return chunked;
    if (field->id == HTTP1_NAME_UPGRADE && head->status == 426) /* RFC 9110 15.5.22 */
        return true;
    return !field->drop && field->id != HTTP1_NAME_CONTENT_LENGTH;
}

/* A sender of Upgrade must name it in Connection (RFC 9110 7.8). */
static void put_connection(struct out *out, enum http1_connection connection, bool offers_upgrade)
{
    if (connection == HTTP1_SAY_CLOSE)
        put_text(out, offers_upgrade ? "Connection: close, upgrade\r\n" : "Connection: close\r\n");
    else if (connection == HTTP1_SAY_KEEP_ALIVE)
        put_text(out, offers_upgrade ? "Connection: keep-alive, upgrade\r\n"
                                     : "Connection: keep-alive\r\n");
    else if (offers_upgrade)
        PUT(out, "Connection: upgrade\r\n");
}

ssize_t http1_compose_response(char *buffer, size_t size, const struct http1_head *head,
                               const char *data, const struct http1_response_options *options)
{
    struct out out = OUT(buffer, size);
    bool chunked = head->framing != HTTP1_NO_BODY && options->framing == HTTP1_CHUNKED;
    bool dated = head->status < 200;
    bool offers_upgrade = false;

    put_status_line(&out, head->status, data + head->reason.start, head->reason.length);
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct http1_field *field = &head->fields[i];

        dated = dated || (field->id == HTTP1_NAME_DATE && !field->drop);
        if (!passes(head, field, chunked))
            continue;
        offers_upgrade |= field->id == HTTP1_NAME_UPGRADE;
        put_field(&out, data, field);
    }
    if (!dated)
        put_date(&out, options->now); /* RFC 9110 6.6.1 */
    put_response_framing(&out, head, options);
    if (head->upgrade)
        put_upgrade(&out, head, data);
    else if (!http1_head_is_interim(head))
        put_connection(&out, options->connection, offers_upgrade);
    PUT(&out, "\r\n");
    return finish(&out);
}

ssize_t http1_compose_chunk_line(char *buffer, size_t size, uint64_t length)
{
    struct out out = OUT(buffer, size);

    put_number(&out, "", length, 16);
    return finish(&out);
}

ssize_t http1_compose_last_chunk(char *buffer, size_t size, const struct http1_head *trailer,
                                 const char *data)
{
    struct out out = OUT(buffer, size);

    PUT(&out, "0\r\n");
    for (unsigned i = 0; i < trailer->field_count; i++)
        if (!trailer->fields[i].drop)
            put_field(&out, data, &trailer->fields[i]);
    PUT(&out, "\r\n");
    return finish(&out);
}

const char *http1_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } reasons[] = {
        {400, "Bad Request"},           {408, "Request Timeout"},
        {413, "Content Too Large"},     {414, "URI Too Long"},
        {417, "Expectation Failed"},    {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"}, {501, "Not Implemented"},
        {502, "Bad Gateway"},           {503, "Service Unavailable"},
        {504, "Gateway Timeout"},       {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

/* Error texts may quote a peer. */
static void put_printable(struct out *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        put(out, c < ' ' || c == 0x7f ? "?" : text, 1);
    }
}

ssize_t http1_compose_local_reply(char *buffer, size_t size, const struct http1_local_reply *reply)
{
    struct out out = OUT(buffer, size);
    const char *reason = http1_reason(reply->status);
    char status_text[4];
    size_t length = sizeof("400 \n\n") - 1 + strlen(reason) + strlen(reply->text);

    copy_status(status_text, reply->status);
    put_status_line(&out, reply->status, reason, strlen(reason));
    put_date(&out, reply->now);
    PUT(&out, "Content-Type: text/plain\r\n");
    put_framing(&out, HTTP1_LENGTH, length);
    if (reply->proxy_status != NULL) {
        PUT(&out, "Proxy-Status: ");
        put_text(&out, reply->proxy_status);
        PUT(&out, "\r\n");
    }
    if (reply->retry_after > 0)
        put_number(&out, "Retry-After: ", reply->retry_after, 10);
    PUT(&out, "Connection: close\r\n\r\n");
    if (!reply->head_only) {
        put(&out, status_text, sizeof(status_text));
        put_text(&out, reason);
        PUT(&out, "\n");
        put_printable(&out, reply->text);
        PUT(&out, "\n");
    }
    return finish(&out);
}
