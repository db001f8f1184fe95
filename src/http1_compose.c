#include "http1_compose.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http1_internal.h"

/* A buffer being filled; `full` sticks. */
struct out {
    char *buffer;
    size_t size, length;
    bool full;
};

static void put(struct out *out, const char *text, size_t length)
{
    if (out->full || length > out->size - out->length) {
        out->full = true;
        return;
    }
    memcpy(out->buffer + out->length, text, length);
    out->length += length;
}

static void put_text(struct out *out, const char *text)
{
    put(out, text, strlen(text));
}

static PRINTF(2, 3) void put_format(struct out *out, const char *format, ...)
{
    char text[128];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof(text))
        out->full = true;
    else
        put(out, text, (size_t)length);
}

static ssize_t finish(const struct out *out)
{
    if (!out->full)
        return (ssize_t)out->length;
    errno = ENOSPC;
    return -1;
}

static void put_span(struct out *out, const char *data, struct http1_span span)
{
    put(out, data + span.start, span.length);
}

static void put_field(struct out *out, const char *data, const struct http1_field *field)
{
    put_span(out, data, field->name);
    put_text(out, ": ");
    put_span(out, data, field->value);
    put_text(out, "\r\n");
}

static void put_framing(struct out *out, enum http1_framing framing, uint64_t length)
{
    if (framing == HTTP1_CHUNKED)
        put_text(out, "Transfer-Encoding: chunked\r\n");
    else if (framing == HTTP1_LENGTH)
        put_format(out, "Content-Length: %" PRIu64 "\r\n", length);
}

/* RFC 9110 5.6.7, whatever the locale. */
static void put_date(struct out *out, time_t now)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;

    if (now != 0 && gmtime_r(&now, &tm))
        put_format(out, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[tm.tm_wday],
                   tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                   tm.tm_sec);
}

static void put_request_line(struct out *out, const struct http1_head *head, const char *data)
{
    put_span(out, data, head->method_text);
    put_text(out, " ");
    if (head->form == HTTP1_AUTHORITY)
        put_span(out, data, head->target);
    else if (head->path.length == 0 && head->method == HTTP1_OPTIONS)
        put_text(out, "*"); /* RFC 9112 3.2.4, also from absolute-form */
    else if (head->path.length == 0 || data[head->path.start] != '/')
        put_text(out, "/");
    put_span(out, data, head->path);
    put_text(out, " HTTP/1.1\r\n");
}

static void put_host(struct out *out, const struct http1_head *head, const char *data,
                     const struct http1_request_options *options)
{
    put_text(out, "Host: ");
    /* CONNECT's is that of its target (RFC 9112 3.2). */
    if ((options->client_host || head->method == HTTP1_CONNECT) && head->authority.length > 0)
        put_span(out, data, head->authority);
    else
        put_text(out, options->host);
    put_text(out, "\r\n");
}

/* Would text that follows this value stand inside a quoted string? */
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

/* All values of one list field, joined. One with an open quote would swallow what is put behind it
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
        put_text(out, ", ");
    }
}

/* The client's address behind those of the proxies before us. A scope ("%eth0") means nothing
 * to others. */
static void put_forwarded(struct out *out, const struct http1_head *head, const char *data,
                          const struct http1_request_options *options)
{
    const char *client = options->client ? options->client : "unknown";
    struct http1_span address = {.length = (uint16_t)strcspn(client, "%")};

    if (options->forwarded == HTTP1_FORWARDED_X) {
        put_text(out, "X-Forwarded-For: ");
        put_joined(out, head, data, HTTP1_NAME_X_FORWARDED_FOR);
        put_span(out, client, address);
    } else {
        bool v6 = strchr(client, ':') != NULL; /* RFC 7239 6: in brackets and quoted */

        put_text(out, "Forwarded: ");
        put_joined(out, head, data, HTTP1_NAME_FORWARDED);
        put_text(out, v6 ? "for=\"[" : "for=");
        put_span(out, client, address);
        put_text(out, v6 ? "]\"" : "");
    }
    put_text(out, "\r\n");
}

/* Is this field written anew, or not at all, rather than passed on? */
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
            put_format(out, "Max-Forwards: %" PRId32 "\r\n", head->max_forwards - 1);
        else
            put_field(out, data, field);
    }
}

ssize_t http1_compose_request(char *buffer, size_t size, const struct http1_head *head,
                              const char *data, const struct http1_request_options *options)
{
    struct out out = {.buffer = buffer, .size = size};

    put_request_line(&out, head, data);
    put_host(&out, head, data, options);
    put_request_fields(&out, head, data, options);
    if (options->forwarded != HTTP1_FORWARDED_OFF)
        put_forwarded(&out, head, data, options);
    /* Owed by a gateway on requests (RFC 9110 7.6.3), behind the Vias of others. */
    if (options->via)
        put_format(&out, "Via: 1.%u %s\r\n", head->minor, options->via);
    if (options->known_length)
        put_framing(&out, HTTP1_LENGTH, options->length);
    else
        put_framing(&out, head->framing, head->content_length);
    if (head->expect_continue && options->pass_expect)
        put_text(&out, "Expect: 100-continue\r\n");
    if (head->upgrade)
        put_text(&out, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    put_text(&out, "\r\n");
    return finish(&out);
}

/* The framing of the head, RFC 9112 6. Without a body a length may still say what GET would have
 * had (RFC 9110 8.6), but never in 1xx and 204. */
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

/* Who sends Upgrade must name it in Connection (RFC 9110 7.8). */
static void put_connection(struct out *out, enum http1_connection connection, bool offers_upgrade)
{
    static const char *const words[] = {[HTTP1_SAY_NOTHING] = "",
                                        [HTTP1_SAY_CLOSE] = "close",
                                        [HTTP1_SAY_KEEP_ALIVE] = "keep-alive"};
    bool says = connection != HTTP1_SAY_NOTHING;
    if (says || offers_upgrade)
        put_format(out, "Connection: %s%s%s\r\n", words[connection],
                   says && offers_upgrade ? ", " : "", offers_upgrade ? "upgrade" : "");
}

ssize_t http1_compose_response(char *buffer, size_t size, const struct http1_head *head,
                               const char *data, const struct http1_response_options *options)
{
    struct out out = {.buffer = buffer, .size = size};
    bool chunked = head->framing != HTTP1_NO_BODY && options->framing == HTTP1_CHUNKED;
    bool dated = head->status < 200;
    bool offers_upgrade = false;

    put_format(&out, "HTTP/1.1 %03u ", head->status);
    put_span(&out, data, head->reason);
    put_text(&out, "\r\n");
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
        put_text(&out, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    else if (!http1_head_is_interim(head))
        put_connection(&out, options->connection, offers_upgrade);
    put_text(&out, "\r\n");
    return finish(&out);
}

ssize_t http1_compose_chunk_line(char *buffer, size_t size, uint64_t length)
{
    struct out out = {.buffer = buffer, .size = size};

    put_format(&out, "%" PRIx64 "\r\n", length);
    return finish(&out);
}

ssize_t http1_compose_last_chunk(char *buffer, size_t size, const struct http1_head *trailer,
                                 const char *data)
{
    struct out out = {.buffer = buffer, .size = size};

    put_text(&out, "0\r\n");
    for (unsigned i = 0; i < trailer->field_count; i++)
        if (!trailer->fields[i].drop)
            put_field(&out, data, &trailer->fields[i]);
    put_text(&out, "\r\n");
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

ssize_t http1_compose_answer(char *buffer, size_t size, const struct http1_answer *answer)
{
    struct out out = {.buffer = buffer, .size = size};
    const char *reason = http1_reason(answer->status);
    size_t length = sizeof("400 \n\n") - 1 + strlen(reason) + strlen(answer->text);

    put_format(&out, "HTTP/1.1 %03u %s\r\n", answer->status, reason);
    put_date(&out, answer->now);
    put_text(&out, "Content-Type: text/plain\r\n");
    put_framing(&out, HTTP1_LENGTH, length);
    if (answer->retry_after > 0)
        put_format(&out, "Retry-After: %u\r\n", answer->retry_after);
    put_text(&out, "Connection: close\r\n\r\n");
    if (!answer->head_only) {
        put_format(&out, "%03u %s\n", answer->status, reason);
        put_printable(&out, answer->text);
        put_text(&out, "\n");
    }
    return finish(&out);
}
