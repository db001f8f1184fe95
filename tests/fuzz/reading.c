/* SPDX-License-Identifier: ISC */
/* Reads requests and responses out of the records. */
#include "reading.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "message.h"

static const char *find_text(struct reference_text text, const char *part)
{
    return memmem(text.data, text.length, part, strlen(part));
}

static bool same(struct reference_text text, const char *other)
{
    return reference_equals(text, other, strlen(other));
}

bool method_is(const struct request_view *request, const char *method)
{
    return same(request->method, method);
}

bool method_is_idempotent(const struct request_view *request)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (method_is(request, methods[i]))
            return true;
    return false;
}

/* The last element of X-Forwarded-For. */
static struct reference_text last_element(struct reference_text value)
{
    for (size_t i = value.length; i > 0; i--)
        if (value.data[i - 1] == ',' || value.data[i - 1] == ' ')
            return (struct reference_text){value.data + i, value.length - i};
    return value;
}

/* Is the option one of the list's elements? */
static bool lists(struct reference_text value, const char *option)
{
    static const char separators[] = ", \t";
    size_t length = strlen(option), at = 0;
    while (at < value.length) {
        size_t end = at;
        while (end < value.length && strchr(separators, value.data[end]) == NULL)
            end++;
        if (end - at == length && strncasecmp(value.data + at, option, length) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

static bool has_option(const struct reference_message *message, const char *option)
{
    for (size_t i = 0; i < message->field_count; i++) {
        struct reference_text name = message->fields[i].name;
        if (name.length == 10 && strncasecmp(name.data, "Connection", 10) == 0 &&
            lists(message->fields[i].value, option))
            return true;
    }
    return false;
}

static bool begins_with(struct reference_text value, const char *scheme)
{
    size_t length = strlen(scheme);
    return value.length >= length && strncasecmp(value.data, scheme, length) == 0 &&
           (value.length == length || value.data[length] == ' ');
}

static bool logs_in(const struct reference_message *message)
{
    struct reference_text value;
    return (reference_find(message, "Authorization", &value) > 0 ||
            reference_find(message, "Proxy-Authorization", &value) > 0) &&
           (begins_with(value, "NTLM") || begins_with(value, "Negotiate"));
}

static struct trailer_view keep_trailer(const struct reference_message *message,
                                        enum reference_verdict verdict)
{
    struct trailer_view trailer = {NULL, 0};
    size_t size = message->trailer_count * sizeof(*trailer.fields);
    if (verdict != REFERENCE_WHOLE || size == 0)
        return trailer;
    trailer.fields = malloc(size);
    REQUIRE(trailer.fields != NULL);
    memcpy(trailer.fields, message->trailers, size);
    trailer.count = message->trailer_count;
    return trailer;
}

bool trailer_is_passed_on(const struct trailer_view *trailer, const struct trailer_view *other)
{
    size_t at = 0;
    for (size_t i = 0; i < other->count; i++, at++) {
        const struct reference_field *got = &other->fields[i];
        while (at < trailer->count &&
               !(reference_equals(trailer->fields[at].name, got->name.data, got->name.length) &&
                 reference_equals(trailer->fields[at].value, got->value.data, got->value.length)))
            at++;
        if (at == trailer->count)
            return false;
    }
    return true;
}

void request_read(struct request_view *request, const struct reference_bytes *bytes)
{
    struct reference_message message;
    struct reference_text forwarded = {NULL, 0};
    enum reference_verdict verdict = reference_read(&message, REFERENCE_REQUEST, bytes);
    reference_find(&message, "X-Forwarded-For", &forwarded);
    bool is_10 = message.start[2].length == 8 && message.start[2].data[7] == '0';
    *request = (struct request_view){
        .verdict = verdict,
        .length = message.length,
        .head_done = message.head_done,
        .expects = reference_find(&message, "Expect", NULL) > 0,
        .upgrades = reference_find(&message, "Upgrade", NULL) > 0,
        .is_10 = is_10,
        .persists = is_10 ? has_option(&message, "keep-alive") : !has_option(&message, "close"),
        .logs_in = logs_in(&message),
        .method = message.start[0],
        .target = message.start[1],
        .client = forwarded.length > 0 ? last_element(forwarded) : forwarded,
        .body = message.body,
        .body_length = message.body_length,
        .trailer = keep_trailer(&message, verdict),
        .head = message.head,
    };
}

void request_clear(struct request_view *request)
{
    free(request->body);
    free(request->head);
    free(request->trailer.fields);
    request->body = request->head = NULL;
    request->trailer.fields = NULL;
}

/* What is left of an http URI without scheme and authority; the path may be empty. */
static struct reference_text path_of(struct reference_text target)
{
    if (target.length < 7 || strncasecmp(target.data, "http", 4) != 0)
        return target;
    const char *colon = find_text(target, "://");
    if (colon == NULL)
        return target;
    const char *end = target.data + target.length, *path = colon + 3;
    while (path < end && *path != '/' && *path != '?')
        path++;
    return (struct reference_text){path, (size_t)(end - path)};
}

static bool target_is_passed_on(const struct request_view *request,
                                const struct request_view *other)
{
    struct reference_text path = path_of(request->target), got = other->target;
    if (method_is(request, "CONNECT"))
        return reference_equals(request->target, got.data, got.length);
    if (path.length == 0 && method_is(request, "OPTIONS"))
        return same(got, "*");
    if (path.length == 0 || path.data[0] == '?') { /* a slash comes before it */
        if (got.length == 0 || got.data[0] != '/')
            return false;
        got.data++;
        got.length--;
    }
    return reference_equals(path, got.data, got.length);
}

bool request_is_passed_on(const struct request_view *request, const struct request_view *other)
{
    if (!reference_equals(request->method, other->method.data, other->method.length) ||
        !target_is_passed_on(request, other))
        return false;
    if (other->body_length > request->body_length ||
        (other->verdict == REFERENCE_WHOLE && other->body_length != request->body_length) ||
        !trailer_is_passed_on(&request->trailer, &other->trailer))
        return false;
    return other->body_length == 0 || memcmp(request->body, other->body, other->body_length) == 0;
}

static unsigned status_of(const struct reference_message *message)
{
    unsigned status = 0;
    for (size_t i = 0; i < message->start[1].length; i++)
        status = status * 10 + (unsigned)(message->start[1].data[i] - '0');
    return status;
}

static bool is_bodiless(const struct request_view *request, unsigned status)
{
    return method_is(request, "HEAD") || status < 200 || status == 204 || status == 304 ||
           (method_is(request, "CONNECT") && status < 300);
}

static void take_semantics(struct response_view *response, const struct request_view *request,
                           const struct reference_message *message)
{
    struct reference_text type = {NULL, 0};
    bool is_10 = message->start[0].data[7] == '0';
    bool delimited = message->chunked || is_bodiless(request, response->status) ||
                     reference_find(message, "Content-Length", NULL) > 0;
    reference_find(message, "Content-Type", &type);
    response->is_plain_text = type.length > 0 && same(type, "text/plain");
    response->chunked = message->chunked;
    response->tunnel =
        response->status == 101 || (method_is(request, "CONNECT") && response->status / 100 == 2);
    response->ends_connection =
        !delimited || has_option(message, "close") || (is_10 && !has_option(message, "keep-alive"));
    response->body = message->body;
    response->body_length = message->body_length;
    response->trailer = keep_trailer(message, response->verdict);
}

void response_read(struct response_view *response, const struct request_view *request,
                   const struct reference_bytes *bytes)
{
    struct reference_message message;
    struct reference_bytes rest = *bytes;
    *response = (struct response_view){0};
    for (;;) {
        response->verdict = reference_read(&message, REFERENCE_BODILESS, &rest);
        response->status = response->verdict == REFERENCE_WHOLE ? status_of(&message) : 0;
        response->repaired |= message.repaired;
        if (response->verdict != REFERENCE_WHOLE || response->status >= 200 ||
            response->status < 100 || response->status == 101)
            break;
        response->interims++;
        response->length += message.length;
        rest.data += message.length;
        rest.length -= message.length;
        reference_free(&message);
    }
    if (response->verdict == REFERENCE_WHOLE && !is_bodiless(request, response->status)) {
        reference_free(&message);
        response->verdict = reference_read(&message, REFERENCE_RESPONSE, &rest);
    }
    if (response->status != 0) {
        take_semantics(response, request, &message);
        response->length += message.length;
        message.body = NULL;
    }
    reference_free(&message);
}

void response_clear(struct response_view *response)
{
    free(response->body);
    free(response->trailer.fields);
    response->body = NULL;
    response->trailer.fields = NULL;
}
