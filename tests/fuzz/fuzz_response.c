/* SPDX-License-Identifier: ISC */
/* Goal: whatever an upstream sends, what is passed on to the client is, by an independent reading,
 * the very response that was accepted, with the body complete or visibly truncated. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http1/http1_compose.h"
#include "message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_rewritten(const struct http1_field *field)
{
    return field->drop || field->id == HTTP1_NAME_CONTENT_LENGTH || field->id == HTTP1_NAME_TRAILER;
}

static enum reference_kind reference_kind(const struct message *message)
{
    return message->head.framing == HTTP1_NO_BODY ? REFERENCE_BODILESS : REFERENCE_RESPONSE;
}

static void require_plain(const struct message *message, const struct message_source *source)
{
    const struct reference_bytes bytes = {
        .data = source->data, .length = source->length, .received = true, .closed = true};
    struct reference_message reference;

    REQUIRE(reference_read(&reference, reference_kind(message), &bytes) == REFERENCE_WHOLE);
    REQUIRE(reference.repaired == message->head.repaired);
    REQUIRE(reference.length == message->length);
    REQUIRE(reference.field_count == message->head.field_count);
    message_require_same(message, &reference, NULL);
    reference_free(&reference);
}

/* A switch is to a protocol that was requested. */
static void require_asked(const struct reference_message *reference, const char *upgrade)
{
    struct reference_text list, protocol;
    size_t count = 0;

    REQUIRE(upgrade != NULL && reference_find(reference, "Upgrade", &list) == 1);
    for (; reference_next(&list, &protocol); count++) {
        struct reference_text asked = {upgrade, strlen(upgrade)}, one;
        bool found = false;

        while (!found && reference_next(&asked, &one))
            found = one.length == protocol.length &&
                    strncasecmp(one.data, protocol.data, one.length) == 0;
        REQUIRE(found);
    }
    REQUIRE(count > 0);
}

/* How many Upgrade fields are right: one for 101, or all of a 426 (RFC 9110 15.5.22). */
static size_t upgrades_passed(const struct http1_head *head)
{
    size_t count = head->upgrade;
    for (unsigned i = 0; head->status == 426 && i < head->field_count; i++)
        count += head->fields[i].id == HTTP1_NAME_UPGRADE;
    return count;
}

static void require_clean(const struct reference_message *reference, const struct message *message,
                          const struct http1_response_options *options)
{
    static const char *const gone[] = {"Keep-Alive", "Proxy-Connection", "TE"};
    const struct http1_head *head = &message->head;
    bool said = options->connection != HTTP1_SAY_NOTHING && !http1_head_is_interim(head);

    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        REQUIRE(reference_find(reference, gone[i], NULL) == 0);
    size_t upgrades = upgrades_passed(head);
    REQUIRE(reference_find(reference, "Connection", NULL) == (said || upgrades > 0));
    REQUIRE(reference_find(reference, "Upgrade", NULL) == upgrades);
    REQUIRE(head->upgrade == (head->status == 101));
    if (head->upgrade)
        require_asked(reference, head->upgrade_sent);
    REQUIRE(reference_find(reference, "Date", NULL) > 0 || head->status < 200);
    REQUIRE(reference_equals(reference->start[0], "HTTP/1.1", 8));
    REQUIRE(reference_equals(reference->start[2], message->data + head->reason.start,
                             head->reason.length));
    if (head->status < 200 || head->status == 204)
        REQUIRE(reference_find(reference, "Content-Length", NULL) == 0);
}

static void pass_on(const struct message *message, const struct http1_response_options *options)
{
    static char composed[HTTP1_COMPOSE_MAX];
    const struct http1_head *head = &message->head;
    bool chunked = head->framing != HTTP1_NO_BODY && options->framing == HTTP1_CHUNKED;
    ssize_t length =
        http1_compose_response(composed, sizeof(composed), head, message->data, options);
    struct output output = {0};
    struct reference_message reference;

    REQUIRE(length > 0);
    output_add(&output, composed, (size_t)length);
    output_add_body(&output, message, chunked);

    struct reference_bytes bytes = {.data = output.data, .length = output.length, .closed = true};

    REQUIRE(reference_read(&reference, reference_kind(message), &bytes) == REFERENCE_WHOLE);
    REQUIRE(reference.length == output.length);
    REQUIRE(reference.chunked == chunked);
    message_require_same(message, &reference, is_rewritten);
    require_clean(&reference, message, options);
    reference_free(&reference);

    /* With one byte less, no reader accepts a body that has a length or chunks as complete. */
    if (message->payload_length > 0 && options->framing != HTTP1_UNTIL_CLOSE) {
        bytes.length--;
        REQUIRE(reference_read(&reference, REFERENCE_RESPONSE, &bytes) == REFERENCE_MORE);
        reference_free(&reference);
    }
    free(output.data);
}

static void pass_on_each_way(const struct message *message)
{
    struct http1_response_options options = {
        .framing = message->head.framing, .length = message->head.content_length, .now = 784111777};

    pass_on(message, &options);
    if (message->head.framing == HTTP1_LENGTH)
        return;
    options.framing = HTTP1_CHUNKED;
    options.connection = HTTP1_SAY_KEEP_ALIVE;
    pass_on(message, &options);
    options.framing = HTTP1_UNTIL_CLOSE;
    options.connection = HTTP1_SAY_CLOSE;
    pass_on(message, &options);
}

/* The data are what the upstream sends for one request, interim responses first, and then closes.
 */
static void response(const uint8_t *data, size_t size, enum http1_method method,
                     const char *upgrade)
{
    size_t at = 0;
    bool more = true;

    while (more && at < size) {
        struct message_source source = {.kind = HTTP1_KIND_RESPONSE,
                                        .method = method,
                                        .upgrade = upgrade,
                                        .closed = true,
                                        .data = (const char *)data + at,
                                        .length = size - at};
        struct message message;

        message_read_both(&message, &source);
        more = message.result == HTTP1_DONE && http1_head_is_interim(&message.head);
        if (message.result == HTTP1_DONE) {
            require_plain(&message, &source);
            pass_on_each_way(&message);
            at += message.length;
        }
        message_free(&message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    response(data, size, HTTP1_GET, NULL);
    response(data, size, HTTP1_GET, "websocket");
    response(data, size, HTTP1_POST, "SPDY/3.1, tcp");
    response(data, size, HTTP1_HEAD, NULL);
    response(data, size, HTTP1_CONNECT, NULL);
    return 0;
}
