/* SPDX-License-Identifier: ISC */
/* The reference reader of HTTP/1 messages. */
#include "reference.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "repair.h"

/* What is left to read. */
struct input {
    const char *at;
    size_t left;
};

bool reference_equals(struct reference_text text, const char *data, size_t length)
{
    return text.length == length && memcmp(text.data, data, length) == 0;
}

size_t reference_find(const struct reference_message *message, const char *name,
                      struct reference_text *value)
{
    size_t found = 0;

    for (size_t i = 0; i < message->field_count; i++) {
        struct reference_text other = message->fields[i].name;

        if (other.length != strlen(name) || strncasecmp(other.data, name, other.length) != 0)
            continue;
        found++;
        if (value)
            *value = message->fields[i].value;
    }
    return found;
}

/* A line up to CRLF, without control characters other than HTAB. */
static enum reference_verdict take_line(struct input *input, struct reference_text *line)
{
    const char *end = memmem(input->at, input->left, "\r\n", 2);

    if (!end)
        return REFERENCE_MORE;
    line->data = input->at;
    line->length = (size_t)(end - input->at);
    input->left -= line->length + 2;
    input->at = end + 2;
    for (size_t i = 0; i < line->length; i++)
        if (iscntrl((unsigned char)line->data[i]) && line->data[i] != '\t')
            return REFERENCE_BAD;
    return REFERENCE_WHOLE;
}

static bool is_token(struct reference_text text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!isalnum((unsigned char)text.data[i]) && !strchr("!#$%&'*+-.^_`|~", text.data[i]))
            return false;
    return text.length > 0 && !memchr(text.data, '\0', text.length);
}

/* Splits off the front of text at a character. */
static bool cut(struct reference_text *text, char at, struct reference_text *front)
{
    const char *found = memchr(text->data, at, text->length);

    if (!found)
        return false;
    *front = (struct reference_text){text->data, (size_t)(found - text->data)};
    text->data = found + 1;
    text->length -= front->length + 1;
    return true;
}

static struct reference_text trim(struct reference_text text)
{
    while (text.length > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.length--;
    }
    while (text.length > 0 &&
           (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

/* Lines up to an empty one. */
static enum reference_verdict take_fields(struct input *input, struct reference_field *fields,
                                          size_t *count)
{
    for (*count = 0; *count < REFERENCE_FIELD_MAX; ++*count) {
        struct reference_text line;
        enum reference_verdict verdict = take_line(input, &line);

        if (verdict != REFERENCE_WHOLE || line.length == 0)
            return verdict;
        if (!cut(&line, ':', &fields[*count].name) || !is_token(fields[*count].name))
            return REFERENCE_BAD;
        fields[*count].value = trim(line);
    }
    return REFERENCE_BAD;
}

static bool is_version(struct reference_text text)
{
    return text.length == 8 && memcmp(text.data, "HTTP/1.", 7) == 0 &&
           isdigit((unsigned char)text.data[7]);
}

static enum reference_verdict take_start(struct input *input, struct reference_message *message,
                                         enum reference_kind kind)
{
    struct reference_text line, *part = message->start;
    enum reference_verdict verdict = take_line(input, &line);

    if (verdict != REFERENCE_WHOLE)
        return verdict;
    if (!cut(&line, ' ', &part[0]) || !cut(&line, ' ', &part[1]))
        return REFERENCE_BAD;
    part[2] = line;
    if (kind == REFERENCE_REQUEST)
        return is_token(part[0]) && part[1].length > 0 && is_version(part[2]) ? REFERENCE_WHOLE
                                                                              : REFERENCE_BAD;
    if (!is_version(part[0]) || part[1].length != 3)
        return REFERENCE_BAD;
    for (int i = 0; i < 3; i++)
        if (!isdigit((unsigned char)part[1].data[i]))
            return REFERENCE_BAD;
    return REFERENCE_WHOLE;
}

/* A number of digits, all of text, below 2^63. */
static bool number(struct reference_text text, int base, unsigned long long *value)
{
    *value = 0;
    for (size_t i = 0; i < text.length; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = memchr(digits, tolower((unsigned char)text.data[i]), (size_t)base);

        if (!digit || *value > (unsigned long long)INT64_MAX / (unsigned)base)
            return false;
        *value = *value * (unsigned)base + (unsigned)(digit - digits);
    }
    return text.length > 0 && *value >> 63 == 0;
}

static bool add_body(struct input *input, struct reference_message *message,
                     unsigned long long length)
{
    size_t taken = length < input->left ? (size_t)length : input->left;
    char *body = realloc(message->body, message->body_length + taken + 1);

    if (!body)
        abort();
    memcpy(body + message->body_length, input->at, taken);
    message->body = body;
    message->body_length += taken;
    input->at += taken;
    input->left -= taken;
    return taken == length;
}

/* A chunk's size may be followed by an extension, with whitespace before it, and in a received
 * response by whitespace alone. */
static struct reference_text chunk_size(struct reference_text line, bool padded)
{
    struct reference_text size = line;
    size_t front = 0;

    while (front < line.length && (line.data[front] == ' ' || line.data[front] == '\t'))
        front++;
    if (front == 0 && (cut(&line, ';', &size) || padded))
        size = trim(size);
    return size;
}

static enum reference_verdict take_chunks(struct input *input, struct reference_message *message,
                                          bool padded)
{
    for (;;) {
        struct reference_text line;
        unsigned long long length;
        enum reference_verdict verdict = take_line(input, &line);

        if (verdict != REFERENCE_WHOLE)
            return verdict;
        if (!number(chunk_size(line, padded), 16, &length))
            return REFERENCE_BAD;
        if (length == 0)
            return take_fields(input, message->trailers, &message->trailer_count);
        if (!add_body(input, message, length) || input->left < 2)
            return REFERENCE_MORE;
        if (memcmp(input->at, "\r\n", 2) != 0)
            return REFERENCE_BAD;
        input->at += 2;
        input->left -= 2;
    }
}

/* The same value in two lines of a received message. */
static bool is_said_twice(const struct reference_message *message, struct reference_text last)
{
    size_t first = 0;

    while (message->fields[first].name.length != 14 ||
           strncasecmp(message->fields[first].name.data, "Content-Length", 14) != 0)
        first++;
    return reference_equals(message->fields[first].value, last.data, last.length);
}

/* RFC 9112 6.3, rejecting everything that is ambiguous. */
static enum reference_verdict take_body(struct input *input, struct reference_message *message,
                                        enum reference_kind kind,
                                        const struct reference_bytes *bytes)
{
    struct reference_text coding, length;
    size_t codings = reference_find(message, "Transfer-Encoding", &coding);
    size_t lengths = reference_find(message, "Content-Length", &length);
    unsigned long long size = 0;

    if (lengths == 2 && bytes->received && is_said_twice(message, length))
        lengths = 1;
    if (codings + lengths > 1)
        return REFERENCE_BAD;
    if (codings == 1 && (coding.length != 7 || strncasecmp(coding.data, "chunked", 7) != 0))
        return REFERENCE_BAD;
    if (lengths == 1 && !number(length, 10, &size))
        return REFERENCE_BAD;
    message->framed = codings == 1 || size > 0;
    message->chunked = codings == 1 && kind != REFERENCE_BODILESS;
    if (kind == REFERENCE_BODILESS)
        return REFERENCE_WHOLE;
    if (message->chunked)
        return take_chunks(input, message, bytes->received && kind == REFERENCE_RESPONSE);
    if (lengths == 0 && kind == REFERENCE_REQUEST)
        return REFERENCE_WHOLE;
    if (lengths == 0)
        return add_body(input, message, input->left) && bytes->closed ? REFERENCE_WHOLE
                                                                      : REFERENCE_MORE;
    return add_body(input, message, size) ? REFERENCE_WHOLE : REFERENCE_MORE;
}

/* Where the first member of a list ends. */
static size_t member_length(struct reference_text list)
{
    bool quoted = false;
    size_t at = 0;

    for (; at < list.length && (quoted || list.data[at] != ','); at++) {
        if (list.data[at] == '"')
            quoted = !quoted;
        else if (list.data[at] == '\\' && quoted && at + 1 < list.length)
            at++;
    }
    return at;
}

static bool is_list_of_tokens(struct reference_text list)
{
    while (list.length > 0) {
        size_t length = member_length(list), step = length + (length < list.length);
        struct reference_text member = trim((struct reference_text){list.data, length});

        if (member.length > 0 && !is_token(member))
            return false;
        list.data += step;
        list.length -= step;
    }
    return true;
}

/* What is tolerated in a received response, but remembered. */
static bool is_odd(const struct reference_message *message)
{
    bool empty = reference_equals(message->start[1], "204", 3) ||
                 reference_equals(message->start[1], "101", 3);

    for (size_t i = 0; i < message->field_count; i++)
        if (message->fields[i].name.length == 10 &&
            strncasecmp(message->fields[i].name.data, "Connection", 10) == 0 &&
            !is_list_of_tokens(message->fields[i].value))
            return true;
    return empty && message->framed;
}

bool reference_next(struct reference_text *list, struct reference_text *member)
{
    if (list->length == 0)
        return false;
    if (!cut(list, ',', member)) {
        *member = *list;
        *list = (struct reference_text){NULL, 0};
    }
    *member = trim(*member);
    return true;
}

static enum reference_verdict take_head(struct input *input, struct reference_message *message,
                                        enum reference_kind kind)
{
    enum reference_verdict verdict = take_start(input, message, kind);

    if (verdict == REFERENCE_WHOLE)
        verdict = take_fields(input, message->fields, &message->field_count);
    message->head_done = verdict == REFERENCE_WHOLE;
    return verdict;
}

/* A received header is repaired first, and must then keep every rule. The start line may be valid
 * even if something after it is not. */
static enum reference_verdict
take_received_head(struct input *input, struct reference_message *message, enum reference_kind kind)
{
    struct repaired head;
    enum reference_verdict verdict = repair_head(&head, kind, input->at, input->left);
    struct input repaired = {head.text, head.length};
    enum reference_verdict strict = take_head(&repaired, message, kind);

    if (verdict == REFERENCE_WHOLE || strict == REFERENCE_BAD)
        verdict = strict;
    message->head = head.text;
    message->head_done = verdict == REFERENCE_WHOLE;
    message->repaired = head.mixed;
    input->at += head.taken;
    input->left -= head.taken;
    return verdict;
}

enum reference_verdict reference_read(struct reference_message *message, enum reference_kind kind,
                                      const struct reference_bytes *bytes)
{
    struct input input = {bytes->data, bytes->length};
    enum reference_verdict verdict;

    memset(message, 0, sizeof(*message));
    verdict = bytes->received ? take_received_head(&input, message, kind)
                              : take_head(&input, message, kind);
    if (verdict == REFERENCE_WHOLE)
        verdict = take_body(&input, message, kind, bytes);
    if (message->head_done && bytes->received && kind != REFERENCE_REQUEST)
        message->repaired |= is_odd(message);
    message->length = bytes->length - input.left;
    return verdict;
}

void reference_free(struct reference_message *message)
{
    free(message->body);
    free(message->head);
    message->body = message->head = NULL;
}
