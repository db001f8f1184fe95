/* SPDX-License-Identifier: ISC */
/* Goal: whatever requests a client sends, what is passed on is, by an independent reading, the very
 * message that was accepted: not a byte more, not a request more. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http1/http1_compose.h"
#include "message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_rewritten(const struct http1_field *field)
{
    return field->drop || field->id == HTTP1_NAME_HOST || field->id == HTTP1_NAME_EXPECT ||
           field->id == HTTP1_NAME_CONTENT_LENGTH || field->id == HTTP1_NAME_TRAILER ||
           field->id == HTTP1_NAME_FORWARDED || field->id == HTTP1_NAME_X_FORWARDED_FOR ||
           field->id == HTTP1_NAME_MAX_FORWARDS;
}

/* The accepted bytes themselves mean the same to the reference. */
static void require_plain(const struct message *message, const struct message_source *source)
{
    const struct reference_bytes bytes = {
        .data = source->data, .length = source->length, .received = true};
    struct reference_message reference;

    REQUIRE(reference_read(&reference, REFERENCE_REQUEST, &bytes) == REFERENCE_WHOLE);
    REQUIRE(reference.length == message->length);
    REQUIRE(reference.field_count == message->head.field_count);
    message_require_same(message, &reference, NULL);
    REQUIRE(reference_find(&reference, "Host", NULL) <= 1);
    REQUIRE(reference_find(&reference, "Host", NULL) == 1 || message->head.minor == 0);
    reference_free(&reference);
}

/* Protocols with and without a version, and no h2c. */
static void require_protocols(struct reference_text list)
{
    struct reference_text protocol;
    size_t count = 0;

    for (; reference_next(&list, &protocol); count++) {
        const char *slash = memchr(protocol.data, '/', protocol.length);
        size_t name = slash ? (size_t)(slash - protocol.data) : protocol.length;

        REQUIRE(name > 0 && !memchr(protocol.data, ' ', protocol.length));
        REQUIRE(!memchr(protocol.data, '"', protocol.length));
        REQUIRE(name != 3 || strncasecmp(protocol.data, "h2c", 3) != 0);
    }
    REQUIRE(count > 0);
}

/* What a request to the upstream must never contain. */
static void require_clean(const struct reference_message *reference, const struct message *message)
{
    static const char *const gone[] = {"Keep-Alive", "Proxy-Connection", "TE", "HTTP2-Settings"};
    struct reference_text upgrade;

    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        REQUIRE(reference_find(reference, gone[i], NULL) == 0);
    REQUIRE(reference_find(reference, "Connection", NULL) == message->head.upgrade);
    REQUIRE(reference_find(reference, "Upgrade", &upgrade) == message->head.upgrade);
    if (message->head.upgrade)
        require_protocols(upgrade);
    REQUIRE(reference_equals(reference->start[2], "HTTP/1.1", 8));
    REQUIRE(reference_equals(reference->start[0], message->data + message->head.method_text.start,
                             message->head.method_text.length));
}

static void require_host(const struct reference_message *reference, const struct message *message,
                         const struct http1_request_options *options)
{
    const struct http1_head *head = &message->head;
    struct reference_text host;

    REQUIRE(reference_find(reference, "Host", &host) == 1);
    bool client_host = options->client_host || head->method == HTTP1_CONNECT;
    if (client_host && head->authority.length > 0)
        REQUIRE(
            reference_equals(host, message->data + head->authority.start, head->authority.length));
    else
        REQUIRE(reference_equals(host, options->host, strlen(options->host)));
}

static void pass_on(const struct message *message, const struct http1_request_options *options)
{
    static char composed[HTTP1_COMPOSE_MAX];
    bool chunked = message->head.framing == HTTP1_CHUNKED && !options->known_length;
    ssize_t length =
        http1_compose_request(composed, sizeof(composed), &message->head, message->data, options);
    struct output output = {0};
    struct reference_message reference;

    REQUIRE(length > 0);
    output_add(&output, composed, (size_t)length);
    output_add_body(&output, message, chunked);

    const struct reference_bytes bytes = {.data = output.data, .length = output.length};

    REQUIRE(reference_read(&reference, REFERENCE_REQUEST, &bytes) == REFERENCE_WHOLE);
    REQUIRE(reference.length == output.length);
    REQUIRE(reference.chunked == chunked);
    message_require_same(message, &reference, is_rewritten);
    require_clean(&reference, message);
    require_host(&reference, message, options);
    reference_free(&reference);

    struct message_source again = {
        .kind = HTTP1_KIND_REQUEST, .data = output.data, .length = output.length};
    struct message second;

    /* What we add may exceed what we would accept ourselves, and the next hop may be the last. */
    message_read(&second, &again);
    REQUIRE(second.result == HTTP1_DONE || second.head.bad_status == 431 ||
            second.head.bad_status == 414 || message->head.max_forwards == 1);
    REQUIRE(second.result != HTTP1_DONE || second.length == output.length);
    message_free(&second);
    free(output.data);
}

static void pass_on_each_way(const struct message *message)
{
    struct http1_request_options options = {.host = "upstream.example:8080"};

    pass_on(message, &options);
    options.client_host = true;
    options.pass_expect = true;
    options.forwarded = HTTP1_FORWARDED_X;
    options.client = "192.0.2.1";
    pass_on(message, &options);
    options.forwarded = HTTP1_FORWARDED_RFC7239;
    options.client = "2001:db8::1";
    options.known_length = message->head.framing == HTTP1_CHUNKED;
    options.length = message->payload_length;
    pass_on(message, &options);
}

/* The data are what one client sends: one request after the other. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;
    enum http1_result result = HTTP1_DONE;

    while (result == HTTP1_DONE && at < size) {
        struct message_source source = {
            .kind = HTTP1_KIND_REQUEST, .data = (const char *)data + at, .length = size - at};
        struct message message;

        message_read_both(&message, &source);
        result = message.result;
        if (result == HTTP1_DONE) {
            require_plain(&message, &source);
            pass_on_each_way(&message);
            at += message.length;
        }
        message_free(&message);
    }
    return 0;
}
