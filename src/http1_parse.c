/* Finds the lines of a head, in one pass, and takes them apart. */
#include "http1_internal.h"
#include "http1_scan.h"

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
    size_t method = http1_token_length(line, (size_t)(end - line));
    const char *target = line + method;
    bool token = method > 0 && target < end && *target == ' ';

    if (!token)
        target = memchr(line, ' ', (size_t)(end - line));

    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;

    if (!version)
        return http1_bad(head, 400, "the request line has not three parts (RFC 9112 3)");
    if (!token)
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

    const char *status = line + 9;

    if (status[0] < '1' || status[0] > '5' || !http1_is_digit((unsigned char)status[1]) ||
        !http1_is_digit((unsigned char)status[2]))
        return http1_bad(head, 502, "the status is not 100 to 599 (RFC 9110 15)");
    head->status = (uint16_t)((status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0'));
    head->reason = span(data, line + fixed, end);
    return HTTP1_MORE;
}

/* What is wrong with the name of a field line that does not begin with a token and a colon. */
static enum http1_result refuse_name(struct http1_head *head, const char *line, const char *end)
{
    if (http1_is_space(*line))
        return http1_bad(head, 400, "a line begins with whitespace (RFC 9112 2.2, 5.2)");

    const char *colon = memchr(line, ':', (size_t)(end - line));

    if (!colon)
        return http1_bad(head, 400, "a field line has no colon (RFC 9112 5)");
    if (colon > line && http1_is_space(colon[-1]))
        return http1_bad(head, 400, "whitespace before a field's colon (RFC 9112 5.1)");
    return http1_bad(head, 400, "a field name is no token (RFC 9110 5.1)");
}

/* SP or HTAB. That most bytes are above both is found with one compare. */
static inline bool is_blank(char c)
{
    return (unsigned char)c <= ' ' && http1_is_space(c);
}

/* The line begins at `line`, and its CR is at `end`. */
static enum http1_result parse_field(struct http1_head *head, const char *data, size_t line,
                                     size_t end, size_t length)
{
    size_t name = http1_scan_token(data + line, length - line), value = line + name + 1;

    if (name == 0 || data[line + name] != ':')
        return refuse_name(head, data + line, data + end);
    if (head->field_count == HTTP1_FIELD_MAX)
        return http1_bad(head, 431, "too many fields (RFC 6585 5)");

    struct http1_field *field = &head->fields[head->field_count++];

    field->name = (struct http1_span){.start = (uint16_t)line, .length = (uint16_t)name};

    enum http1_name id = http1_name_find(data + line, name);

    field->id = (uint8_t)id;
    field->drop = http1_name_is_in(id, head->kind == HTTP1_KIND_TRAILER ? ~HTTP1_NAMES_IN_TRAILER
                                                                        : HTTP1_NAMES_HOP_BY_HOP);
    value += data[value] == ' '; /* as a rule there is one */
    while (is_blank(data[value])) /* the line's end at the latest is none */
        value++;
    while (end > value && is_blank(data[end - 1]))
        end--;
    field->value = (struct http1_span){.start = (uint16_t)value, .length = (uint16_t)(end - value)};
    return HTTP1_MORE;
}

/* Why scan_line stopped at head->scanned, where no whole line ends. */
static enum http1_result judge_stop(struct http1_head *head, const char *data, size_t length,
                                    size_t limit)
{
    size_t at = head->scanned;

    if (at == limit)
        return too_large(head);
    if (at == length)
        return HTTP1_MORE;
    if (data[at] == '\n')
        return http1_bad(head, 400, "LF without CR (RFC 9112 2.2)");
    if (data[at] != '\r')
        return http1_bad(head, 400, "a control character in the head (RFC 9110 5.5)");
    if (at + 1 == length)
        return HTTP1_MORE;
    if (data[at + 1] != '\n')
        return http1_bad(head, 400, "CR without LF (RFC 9112 2.2)");
    return too_large(head);
}

/* Moves *scanned to the CR that ends the current line. Does the CR come before `limit`, and is the
 * LF there too, among the first `end` bytes? */
static inline bool scan_line(const char *data, size_t limit, size_t end, size_t *scanned)
{
    size_t at = *scanned, stop = end < limit ? end : limit;

    at += http1_scan_line(data + at, stop - at);
    *scanned = at;
    return at < limit && at + 2 <= end && memcmp(data + at, "\r\n", 2) == 0;
}

static enum http1_result parse_start(struct http1_head *head, const char *data, size_t length)
{
    bool request = head->kind == HTTP1_KIND_REQUEST;

    for (;;) {
        size_t at = head->scanned, limit = head->line + HTTP1_START_LINE_MAX + 1U;
        bool whole = scan_line(data, limit, length, &at);
        const char *line = data + head->line;

        head->scanned = (uint16_t)at;
        if (!whole)
            return judge_stop(head, data, length, limit);

        head->line = head->scanned = (uint16_t)(at + 2);
        /* The empty line that old clients send after a body, RFC 9112 2.2. */
        if (at == 0 && request)
            continue;
        head->stage = STAGE_FIELDS;
        return request ? parse_request_line(head, data, line, data + at)
                       : parse_status_line(head, data, line, data + at);
    }
}

static enum http1_result parse_fields(struct http1_head *head, const char *data, size_t length)
{
    size_t max = head->kind == HTTP1_KIND_TRAILER ? HTTP1_TRAILER_MAX : HTTP1_HEAD_MAX;
    size_t end = length < max ? length : max, line = head->line, at = head->scanned;
    enum http1_result result = HTTP1_MORE;

    while (scan_line(data, max, end, &at)) {
        result = at == line ? HTTP1_DONE : parse_field(head, data, line, at, length);
        line = at += 2;
        if (result != HTTP1_MORE)
            break;
    }
    head->line = (uint16_t)line;
    head->scanned = (uint16_t)at;
    return result == HTTP1_MORE ? judge_stop(head, data, length, max) : result;
}

enum http1_result http1_head_parse(struct http1_head *head, const char *data, size_t length)
{
    enum http1_result result;

    if (head->stage == STAGE_DONE)
        return HTTP1_DONE;
    if (head->stage == STAGE_BAD)
        return HTTP1_BAD;
    if (length < head->scanned) /* not the bytes of the call before: what stands there is unknown */
        return http1_bad(head, 400, "bytes of the head are gone that were there before");
    if (length == 0) /* nor is there memory to point into */
        return HTTP1_MORE;
    if (head->stage == STAGE_START_LINE) {
        result = parse_start(head, data, length);
        if (head->stage != STAGE_FIELDS)
            return result;
    }
    result = parse_fields(head, data, length);
    if (result != HTTP1_DONE)
        return result;
    head->length = head->scanned;
    if (!http1_facts_derive(head, data))
        return HTTP1_BAD;
    head->stage = STAGE_DONE;
    return HTTP1_DONE;
}
