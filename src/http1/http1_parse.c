/* SPDX-License-Identifier: ISC */
/* Finds the lines of a head, in one pass, and splits them into parts. */
#include "http1/http1_internal.h"
#include "http1/http1_scan.h"

/* How a line ends: with this many bytes. In http1_head.line_ends these are bits; CRLF is only
 * recorded there when it has been overwritten in the data. */
enum line_end { LINE_OPEN = 0, LINE_LF = 1, LINE_CRLF = 2, LINE_BAD = 4 };

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

void http1_response_begin(struct http1_head *head, const struct http1_request_info *request_info)
{
    begin(head, HTTP1_KIND_RESPONSE);
    head->method = request_info->method;
    head->upgrade_sent = request_info->upgrade;
    head->upgrade_left_out = request_info->upgrade_left_out;
}

void http1_trailer_begin(struct http1_head *head)
{
    begin(head, HTTP1_KIND_TRAILER);
}

bool http1_head_started(const struct http1_head *head)
{
    return head->stage != STAGE_START_LINE || head->scanned > head->line;
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
    if (length == 8 && memcmp(text, "HTTP/1.1", 8) == 0) {
        head->minor = 1;
        return HTTP1_MORE;
    }
    if (length != 8 || memcmp(text, "HTTP/", 5) != 0 || text[6] != '.' ||
        !http1_is_digit((unsigned char)text[5]) || !http1_is_digit((unsigned char)text[7]))
        return http1_bad(head, 400, "malformed HTTP version (RFC 9112 2.3)");
    if (text[5] != '1')
        return http1_bad(head, 505, "HTTP version is not 1.x (RFC 9110 15.6.6)");
    head->minor = text[7] != '0';
    return HTTP1_MORE;
}

/* Three parts separated by one SP; anything else in the line is judged part by part. */
static enum http1_result parse_request_line(struct http1_head *head, const char *data,
                                            const char *line, const char *end)
{
    size_t method = http1_token_length(line, (size_t)(end - line));
    const char *target = line + method;
    bool token = method > 0 && target < end && *target == ' ';

    if (!token)
        target = memchr(line, ' ', (size_t)(end - line));

    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;

    if (!version && line == end)
        return http1_bad(head, 400, "too many empty lines before a request (RFC 9112 2.2)");
    if (!version)
        return http1_bad(head, 400, "the request line does not have three parts (RFC 9112 3)");
    if (!token)
        return http1_bad(head, 400, "the method is not a token (RFC 9110 9.1)");
    head->method_text = span(data, line, target);
    head->target = span(data, target + 1, version);
    if (parse_version(head, version + 1, (size_t)(end - version - 1)) == HTTP1_BAD)
        return HTTP1_BAD;
    head->method = http1_method_find(line, head->method_text.length);

    const char *broken = http1_target_parse(head, data);

    return broken ? http1_bad(head, 400, broken) : HTTP1_MORE;
}

/* The SP after the status is required, but often missing if no reason follows. */
static enum http1_result parse_status_line(struct http1_head *head, const char *data,
                                           const char *line, const char *end)
{
    const size_t fixed = sizeof("HTTP/1.1 200") - 1;
    size_t length = (size_t)(end - line);

    if (length < fixed || line[8] != ' ' || (length > fixed && line[fixed] != ' '))
        return http1_bad(head, 502, "malformed status line (RFC 9112 4)");
    if (parse_version(head, line, 8) == HTTP1_BAD)
        return HTTP1_BAD;

    const char *status = line + 9;

    if (status[0] < '1' || status[0] > '9' || !http1_is_digit((unsigned char)status[1]) ||
        !http1_is_digit((unsigned char)status[2]))
        return http1_bad(head, 502, "the status is not 100 to 999 (RFC 9110 15)");
    head->status = (uint16_t)((status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0'));
    head->reason = span(data, length > fixed ? line + fixed + 1 : end, end);
    return HTTP1_MORE;
}

/* What is wrong with the name in a field line that does not begin with a token and a colon. */
static enum http1_result refuse_name(struct http1_head *head, const char *line, const char *end)
{
    if (http1_is_space(*line))
        return http1_bad(head, 400, "a line begins with whitespace (RFC 9112 2.2, 5.2)");

    const char *colon = memchr(line, ':', (size_t)(end - line));

    if (!colon)
        return http1_bad(head, 400, "a field line has no colon (RFC 9112 5)");
    if (colon > line && http1_is_space(colon[-1]))
        return http1_bad(head, 400, "whitespace before a field's colon (RFC 9112 5.1)");
    return http1_bad(head, 400, "a field name is not a token (RFC 9110 5.1)");
}

/* SP or HTAB. One comparison shows that most bytes are above both. */
static ALWAYS_INLINE bool is_blank(char c)
{
    return (unsigned char)c <= ' ' && http1_is_space(c);
}

/* The text from `start` to `end`, without surrounding whitespace. The line's end begins at
 * `end`. */
static ALWAYS_INLINE void trim(struct http1_span *span, const char *data, size_t start, size_t end)
{
    start += data[start] == ' '; /* usually there is one */
    while (is_blank(data[start]))
        start++;
    while (end > start && is_blank(data[end - 1]))
        end--;
    span->start = (uint16_t)start;
    span->length = (uint16_t)(end - start);
}

/* The parts of a field line: the name has `length` bytes from `start` on, the value may begin at
 * `value`, and the line ends at `end`. */
struct field_line {
    size_t start, length, value, end;
};

static ALWAYS_INLINE enum http1_result add_field(struct http1_head *head, const char *data,
                                                 struct field_line line)
{
    if (head->field_count == HTTP1_FIELD_MAX)
        return http1_bad(head, 431, "too many fields (RFC 6585 5)");

    struct http1_field *field = &head->fields[head->field_count++];

    field->name.start = (uint16_t)line.start;
    field->name.length = (uint16_t)line.length;
    trim(&field->value, data, line.value, line.end);

    enum http1_name id = http1_name_find(data + line.start, line.length);

    field->id = (uint8_t)id;
    field->drop = http1_name_is_in(id, head->kind == HTTP1_KIND_TRAILER ? ~HTTP1_NAMES_IN_TRAILER
                                                                        : HTTP1_NAMES_HOP_BY_HOP);
    return HTTP1_MORE;
}

/* The last field was repaired. This must not be a field that determines where the message ends, or
 * what happens to the connection: others may read it differently. */
static enum http1_result judge_repair(struct http1_head *head, const char *refusal)
{
    unsigned id = head->fields[head->field_count - 1].id;

    if (http1_name_is_in(id, HTTP1_NAMES_FRAMING) ||
        (id == HTTP1_NAME_UPGRADE && head->status == 101))
        return http1_bad(head, 502, refusal);
    return HTTP1_MORE;
}

/* obs-fold, RFC 9112 5.2: the line continues the value of the last field, after spaces that replace
 * the line end. A line of only whitespace may be meant as the empty one. */
static enum http1_result unfold(struct http1_head *head, char *data, size_t line, size_t end)
{
    struct http1_span rest;

    trim(&rest, data, line, end);
    if (head->field_count == 0 || rest.length == 0)
        return http1_bad(head, 502, "a line begins with whitespace (RFC 9112 2.2, 5.2)");
    if (judge_repair(head, "a field that frames the message is folded (RFC 9112 5.2)") == HTTP1_BAD)
        return HTTP1_BAD;

    struct http1_field *field = &head->fields[head->field_count - 1];

    if (data[line - 2] == '\r') {
        data[line - 2] = ' ';
        head->line_ends |= LINE_CRLF;
    }
    data[line - 1] = ' ';
    trim(&field->value, data, field->value.start, end);
    return HTTP1_MORE;
}

/* Not a token immediately followed by a colon. */
static COLD enum http1_result parse_odd_field(struct http1_head *head, char *data, size_t line,
                                              size_t end)
{
    size_t name = http1_token_length(data + line, end - line), colon = line + name;

    if (head->kind != HTTP1_KIND_RESPONSE)
        return refuse_name(head, data + line, data + end);
    if (http1_is_space(data[line]))
        return unfold(head, data, line, end);
    while (http1_is_space(data[colon]))
        colon++;
    if (name == 0 || data[colon] != ':')
        return refuse_name(head, data + line, data + end);

    if (add_field(head, data, (struct field_line){line, name, colon + 1, end}) == HTTP1_BAD)
        return HTTP1_BAD;
    return judge_repair(head, "whitespace before a framing field's colon (RFC 9112 5.1)");
}

/* The line begins at `line`, and its end at `end`. There may be more data, up to `length`. */
static ALWAYS_INLINE enum http1_result parse_field(struct http1_head *head, char *data, size_t line,
                                                   size_t end, size_t length)
{
    size_t name = http1_scan_token(data + line, length - line);

    if (name == 0 || data[line + name] != ':')
        return parse_odd_field(head, data, line, end);
    return add_field(head, data, (struct field_line){line, name, line + name + 1, end});
}

/* RFC 9110 5.5 allows replacing control characters with spaces. In a response we do so, except for
 * CR, LF and NUL, and only in values. False: not replaced. */
static bool repair_control(struct http1_head *head, char *data, size_t at)
{
    size_t line = head->line;

    if (head->kind != HTTP1_KIND_RESPONSE || head->stage != STAGE_FIELDS ||
        memchr("\r\n", data[at], sizeof("\r\n")) != NULL)
        return false;
    if (!head->unclean && !http1_is_space(data[line]) && !memchr(data + line, ':', at - line))
        return false;
    data[at] = ' ';
    head->unclean = true;
    return true;
}

/* Moves *scanned to the CR that ends the current line, to another byte that is not allowed in a
 * line, or to `stop`. Is it a CR, followed by LF, within the first `end` bytes? */
static ALWAYS_INLINE bool scan_line(const char *data, size_t stop, size_t end, size_t *scanned)
{
    size_t at = *scanned;

    at += http1_scan_line(data + at, stop - at);
    *scanned = at;
    return at + 2 <= end && memcmp(data + at, "\r\n", 2) == 0;
}

/* What scan_line stopped at, if it is not CRLF. LINE_OPEN: it cannot be determined yet. */
static enum line_end judge_stop(struct http1_head *head, const char *data, size_t length,
                                size_t limit)
{
    size_t at = head->scanned;

    if (at == limit)
        too_large(head);
    else if (at == length)
        return LINE_OPEN;
    else if (data[at] == '\n' && head->kind != HTTP1_KIND_TRAILER)
        return LINE_LF;
    else if (data[at] == '\n')
        http1_bad(head, 400, "LF without CR (RFC 9112 2.2)");
    else if (data[at] != '\r')
        http1_bad(head, 400, "a control character in the header (RFC 9110 5.5)");
    else if (at + 1 == length)
        return LINE_OPEN;
    else if (data[at + 1] != '\n')
        http1_bad(head, 400, "CR without LF (RFC 9112 2.2)");
    else
        too_large(head);
    return LINE_BAD;
}

static void take_line(struct http1_head *head, enum line_end end)
{
    if (end == LINE_LF)
        head->line_ends |= LINE_LF;
    head->line = head->scanned = (uint16_t)(head->scanned + end);
}

/* The empty line that old clients send after a body, RFC 9112 2.2, and a few more. */
static bool skip_empty_line(struct http1_head *head)
{
    return head->kind == HTTP1_KIND_REQUEST && head->empty_lines++ < HTTP1_EMPTY_LINES_MAX;
}

static enum http1_result parse_start(struct http1_head *head, char *data, size_t length)
{
    const char *line, *line_end;

    do {
        size_t at = head->scanned, limit = head->line + HTTP1_START_LINE_MAX + 1U;
        enum line_end end = LINE_CRLF;
        bool whole = scan_line(data, length < limit ? length : limit, length, &at);

        head->scanned = (uint16_t)at;
        if (!whole || at == limit)
            end = judge_stop(head, data, length, limit);
        if (end == LINE_OPEN || end == LINE_BAD)
            return end == LINE_OPEN ? HTTP1_MORE : HTTP1_BAD;
        line = data + head->line;
        line_end = data + at;
        take_line(head, end);
    } while (line == line_end && skip_empty_line(head));

    head->stage = STAGE_FIELDS;
    return head->kind == HTTP1_KIND_REQUEST ? parse_request_line(head, data, line, line_end)
                                            : parse_status_line(head, data, line, line_end);
}

/* Lines that end with CRLF, as nearly all do, up to the empty one, or to anything else. */
static ALWAYS_INLINE enum http1_result parse_lines(struct http1_head *head, char *data, size_t end)
{
    size_t line = head->line, at = head->scanned;
    enum http1_result result = HTTP1_MORE;

    while (scan_line(data, end, end, &at)) {
        result = at == line ? HTTP1_DONE : parse_field(head, data, line, at, end);
        line = at += 2;
        if (result != HTTP1_MORE)
            break;
    }
    head->line = (uint16_t)line;
    head->scanned = (uint16_t)at;
    return result;
}

/* Looks for the end of the line at head->line, from head->scanned on, which it moves there. */
static enum line_end find_line_end(struct http1_head *head, char *data, size_t length, size_t max)
{
    size_t end = length < max ? length : max;

    for (;;) {
        size_t at = head->scanned;
        bool whole = scan_line(data, end, end, &at);

        head->scanned = (uint16_t)at;
        if (whole)
            return LINE_CRLF;
        if (at == end || !repair_control(head, data, at))
            return judge_stop(head, data, length, max);
    }
}

/* One line, however it ends. HTTP1_MORE: it was read; or, with head->line unchanged, bytes are
 * missing. */
static enum http1_result parse_odd_line(struct http1_head *head, char *data, size_t length,
                                        size_t max)
{
    enum line_end end = find_line_end(head, data, length, max);
    size_t line = head->line, at = head->scanned;
    enum http1_result result = HTTP1_DONE;

    if (end == LINE_OPEN || end == LINE_BAD)
        return end == LINE_OPEN ? HTTP1_MORE : HTTP1_BAD;
    if (at > line)
        result = parse_field(head, data, line, at, at + (size_t)end);
    if (result == HTTP1_MORE && head->unclean)
        result = judge_repair(head, "a control character in a framing field (RFC 9110 5.5)");
    head->unclean = false;
    take_line(head, end);
    return result;
}

static enum http1_result parse_fields(struct http1_head *head, char *data, size_t length)
{
    size_t max = head->kind == HTTP1_KIND_TRAILER ? HTTP1_TRAILER_MAX : HTTP1_HEAD_MAX, line;
    enum http1_result result = HTTP1_MORE;

    do {
        if (!head->unclean)
            result = parse_lines(head, data, length < max ? length : max);
        line = head->line;
        if (result == HTTP1_MORE)
            result = parse_odd_line(head, data, length, max);
    } while (result == HTTP1_MORE && head->line != line);
    return result;
}

/* RFC 9112 2.2 allows accepting LF alone as the end of a line. But a head in which both occur was
 * written by two parties, who may not agree on where it ends: a request is rejected, and after a
 * response nothing more is read. Called if some line did not end in the usual way; CR occurs only
 * before LF. */
static COLD bool judge_line_ends(struct http1_head *head, const char *data)
{
    bool mixed = head->line_ends == (LINE_LF | LINE_CRLF) ||
                 (head->line_ends == LINE_LF && memchr(data, '\r', head->length) != NULL);

    if (mixed && head->kind == HTTP1_KIND_REQUEST)
        http1_bad(head, 400, "some lines end with LF alone, others with CRLF (RFC 9112 2.2)");
    head->repaired = mixed;
    return head->stage != STAGE_BAD;
}

enum http1_result http1_head_parse(struct http1_head *head, char *data, size_t length)
{
    enum http1_result result;

    if (head->stage == STAGE_DONE)
        return HTTP1_DONE;
    if (head->stage == STAGE_BAD)
        return HTTP1_BAD;
    if (length < head->scanned) /* not the bytes of the previous call: the rest is unknown */
        return http1_bad(head, 400, "bytes of the header that were there before are gone");
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
    if (head->line_ends != 0 && !judge_line_ends(head, data))
        return HTTP1_BAD;
    if (!http1_semantics_derive(head, data))
        return HTTP1_BAD;
    head->stage = STAGE_DONE;
    return HTTP1_DONE;
}
