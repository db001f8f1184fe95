/* Finds the lines of a head, in one pass, and takes them apart. */
#include "http1_internal.h"

#include <string.h>

enum { STAGE_START_LINE, STAGE_FIELDS, STAGE_DONE, STAGE_BAD };

static void begin(struct http1_head *head, enum http1_kind kind)
{
    memset(head, 0, offsetof(struct http1_head, fields));
    head->kind = kind;
    head->max_forwards = -1;
    head->keep_alive_timeout = -1;
    head->stage = kind == HTTP1_KIND_TRAILER ? STAGE_FIELDS : STAGE_START_LINE;
}

void http1_request_begin(struct http1_head *head)
{
    begin(head, HTTP1_KIND_REQUEST);
}

void http1_response_begin(struct http1_head *head, enum http1_method method, bool upgrade)
{
    begin(head, HTTP1_KIND_RESPONSE);
    head->method = method;
    head->upgrade_asked = upgrade;
}

void http1_trailer_begin(struct http1_head *head)
{
    begin(head, HTTP1_KIND_TRAILER);
}

bool http1_head_started(const struct http1_head *head)
{
    return head->stage != STAGE_START_LINE || head->scanned > head->line;
}

bool http1_head_is_interim(const struct http1_head *head)
{
    return head->kind == HTTP1_KIND_RESPONSE && head->status < 200 && head->status != 101;
}

enum http1_result http1_bad(struct http1_head *head, uint16_t status, const char *text)
{
    head->stage = STAGE_BAD;
    head->bad_status = head->kind == HTTP1_KIND_RESPONSE ? 502 : status;
    head->bad_text = text;
    return HTTP1_BAD;
}

static enum http1_result too_large(struct http1_head *head)
{
    if (head->stage != STAGE_START_LINE)
        return http1_bad(head, 431, "the header section is too large (RFC 6585 5)");
    return http1_bad(head, 414, "the start line is too long (RFC 9112 3)");
}

static struct http1_span span(const char *data, const char *start, const char *end)
{
    return (struct http1_span){.start = (uint16_t)(start - data),
                               .length = (uint16_t)(end - start)};
}

/* "HTTP/" DIGIT "." DIGIT, RFC 9112 2.3; case-sensitive. */
static enum http1_result parse_version(struct http1_head *head, const char *text, size_t length)
{
    if (length != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.' ||
        !http1_is_digit((unsigned char)text[5]) || !http1_is_digit((unsigned char)text[7]))
        return http1_bad(head, 400, "malformed HTTP version (RFC 9112 2.3)");
    if (text[5] != '1')
        return http1_bad(head, 505, "HTTP version is not 1.x (RFC 9110 15.6.6)");
    head->minor = text[7] != '0';
    return HTTP1_MORE;
}

/* Three parts with one SP between them; whatever else is in the line is judged part by part. */
static enum http1_result parse_request_line(struct http1_head *head, const char *data,
                                            const char *line, const char *end)
{
    const char *target = memchr(line, ' ', (size_t)(end - line));
    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;

    if (!version)
        return http1_bad(head, 400, "the request line has not three parts (RFC 9112 3)");
    if (!http1_is_token_text(line, (size_t)(target - line)))
        return http1_bad(head, 400, "the method is no token (RFC 9110 9.1)");
    head->method_text = span(data, line, target);
    head->target = span(data, target + 1, version);
    if (parse_version(head, version + 1, (size_t)(end - version - 1)) == HTTP1_BAD)
        return HTTP1_BAD;
    head->method = http1_method_find(line, head->method_text.length);

    const char *broken = http1_target_parse(head, data);

    return broken ? http1_bad(head, 400, broken) : HTTP1_MORE;
}

static enum http1_result parse_status_line(struct http1_head *head, const char *data,
                                           const char *line, const char *end)
{
    const size_t fixed = sizeof("HTTP/1.1 200 ") - 1;

    if ((size_t)(end - line) < fixed || line[8] != ' ' || line[12] != ' ')
        return http1_bad(head, 502, "malformed status line (RFC 9112 4)");
    if (parse_version(head, line, 8) == HTTP1_BAD)
        return HTTP1_BAD;

    uint64_t status;

    if (!http1_parse_number(line + 9, 3, &status) || status < 100 || status > 599)
        return http1_bad(head, 502, "the status is not 100 to 599 (RFC 9110 15)");
    head->status = (uint16_t)status;
    head->reason = span(data, line + fixed, end);
    return HTTP1_MORE;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static enum http1_result parse_field(struct http1_head *head, const char *data, const char *line,
                                     const char *end)
{
    if (is_space(*line))
        return http1_bad(head, 400, "a line begins with whitespace (RFC 9112 2.2, 5.2)");

    const char *colon = memchr(line, ':', (size_t)(end - line));

    if (!colon)
        return http1_bad(head, 400, "a field line has no colon (RFC 9112 5)");
    if (colon > line && is_space(colon[-1]))
        return http1_bad(head, 400, "whitespace before a field's colon (RFC 9112 5.1)");
    if (!http1_is_token_text(line, (size_t)(colon - line)))
        return http1_bad(head, 400, "a field name is no token (RFC 9110 5.1)");
    if (head->field_count == HTTP1_FIELD_MAX)
        return http1_bad(head, 431, "too many fields (RFC 6585 5)");

    const char *value = colon + 1;

    while (value < end && is_space(*value))
        value++;
    while (end > value && is_space(end[-1]))
        end--;
    head->fields[head->field_count++] = (struct http1_field){
        .name = span(data, line, colon),
        .value = span(data, value, end),
        .id = (uint8_t)http1_name_find(line, (size_t)(colon - line)),
    };
    return HTTP1_MORE;
}

/* A complete line without its CRLF. HTTP1_DONE: it was the head's last. */
static enum http1_result parse_line(struct http1_head *head, const char *data, const char *line,
                                    const char *end)
{
    if (head->stage == STAGE_FIELDS)
        return line == end ? HTTP1_DONE : parse_field(head, data, line, end);
    if (line == end && head->kind == HTTP1_KIND_REQUEST && line == data)
        return HTTP1_MORE; /* the empty line that old clients send after a body, RFC 9112 2.2 */

    enum http1_result result = head->kind == HTTP1_KIND_REQUEST
                                   ? parse_request_line(head, data, line, end)
                                   : parse_status_line(head, data, line, end);

    if (result == HTTP1_MORE)
        head->stage = STAGE_FIELDS;
    return result;
}

/* Moves head->scanned to the CR that ends the current line. HTTP1_DONE: its LF is there too. */
static enum http1_result scan_line(struct http1_head *head, const char *data, size_t length)
{
    size_t max = head->kind == HTTP1_KIND_TRAILER ? HTTP1_TRAILER_MAX : HTTP1_HEAD_MAX;
    size_t limit = head->stage == STAGE_START_LINE ? head->line + HTTP1_START_LINE_MAX + 1U : max;
    size_t end = length < limit ? length : limit, i = head->scanned;

    while (i < end && http1_is_line((unsigned char)data[i]))
        i++;
    head->scanned = (uint16_t)i;
    if (i == limit)
        return too_large(head);
    if (i == length)
        return HTTP1_MORE;
    if (data[i] == '\n')
        return http1_bad(head, 400, "LF without CR (RFC 9112 2.2)");
    if (data[i] != '\r')
        return http1_bad(head, 400, "a control character in the head (RFC 9110 5.5)");
    if (i + 1 == length)
        return HTTP1_MORE;
    if (data[i + 1] != '\n')
        return http1_bad(head, 400, "CR without LF (RFC 9112 2.2)");
    if (i + 2 > max)
        return too_large(head);
    return HTTP1_DONE;
}

enum http1_result http1_head_parse(struct http1_head *head, const char *data, size_t length)
{
    enum http1_result result = HTTP1_MORE;

    if (head->stage == STAGE_DONE)
        return HTTP1_DONE;
    if (head->stage == STAGE_BAD)
        return HTTP1_BAD;
    while (result == HTTP1_MORE) {
        result = scan_line(head, data, length);
        if (result != HTTP1_DONE)
            return result;
        result = parse_line(head, data, data + head->line, data + head->scanned);
        head->scanned = (uint16_t)(head->scanned + 2);
        head->line = head->scanned;
    }
    if (result == HTTP1_BAD)
        return result;
    head->length = head->scanned;
    if (!http1_facts_derive(head, data))
        return HTTP1_BAD;
    head->stage = STAGE_DONE;
    return HTTP1_DONE;
}
