/* SPDX-License-Identifier: ISC */
/* Reads a message in pieces, writes it again, and compares it with the reference. */
#include "message.h"

#include <stdlib.h>
#include <string.h>

#include "http1/http1_compose.h"

/* How many bytes have arrived when `seen` had arrived before. */
static size_t next_piece(const struct message_source *source, size_t seen, unsigned *random)
{
    if (source->seed == 0)
        return source->length;
    *random = *random * 1103515245U + 12345U;

    size_t step = 1 + (*random >> 16) % 7;

    return source->length - seen < step ? source->length : seen + step;
}

static void read_head(struct message *message, struct http1_head *head, size_t seen)
{
    size_t at = head == &message->head ? 0 : message->length;

    message->result = http1_head_parse(head, message->data + at, seen - at);
    if (message->result == HTTP1_DONE)
        message->length = at + head->length;
}

static void read_body(struct message *message, size_t seen)
{
    do {
        struct http1_piece piece;
        const char *data = message->data + message->length;

        message->result = http1_body_feed(&message->body, data, seen - message->length, &piece);
        REQUIRE(piece.consumed <= seen - message->length);
        REQUIRE(piece.length == 0 || piece.start + piece.length == piece.consumed);
        if (piece.length > 0)
            memcpy(message->payload + message->payload_length, data + piece.start, piece.length);
        message->payload_length += piece.length;
        message->length += piece.consumed;
    } while (message->result == HTTP1_MORE && message->length < seen);
}

static void read_on(struct message *message, size_t seen)
{
    if (!message->head_done) {
        read_head(message, &message->head, seen);
        if (message->result != HTTP1_DONE)
            return;
        message->head_done = true;
        http1_body_begin(&message->body, message->head.kind, message->head.framing,
                         message->head.content_length);
    }
    if (!message->has_trailer) {
        read_body(message, seen);
        if (message->result != HTTP1_TRAILER)
            return;
        message->has_trailer = true;
        message->trailer_data = message->data + message->length;
        http1_trailer_begin(&message->trailer);
    }
    read_head(message, &message->trailer, seen);
}

void message_read(struct message *message, const struct message_source *source)
{
    unsigned random = source->seed;
    size_t seen = 0;

    memset(message, 0, sizeof(*message));
    message->data = malloc(source->length + 1);
    message->payload = malloc(source->length + 1);
    REQUIRE(message->data && message->payload);
    memcpy(message->data, source->data, source->length);
    if (source->kind == HTTP1_KIND_REQUEST)
        http1_request_begin(&message->head);
    else
        http1_response_begin(&message->head,
                             &(struct http1_request_info){source->method, source->upgrade, false});
    do {
        seen = next_piece(source, seen, &random);
        read_on(message, seen);
    } while (message->result == HTTP1_MORE && seen < source->length);
    if (message->result == HTTP1_MORE && message->head_done && source->closed &&
        http1_body_whole_at_close(&message->body))
        message->result = HTTP1_DONE;
}

void message_free(struct message *message)
{
    free(message->data);
    free(message->payload);
    message->data = message->payload = NULL;
}

static void require_same_fields(const struct http1_head *a, const struct http1_head *b)
{
    REQUIRE(a->field_count == b->field_count);
    REQUIRE(memcmp(a->fields, b->fields, a->field_count * sizeof(a->fields[0])) == 0);
}

void message_read_both(struct message *message, const struct message_source *source)
{
    struct message_source pieces = *source;
    struct message other;

    message_read(message, source);
    pieces.seed = 1 + (unsigned)source->length;
    message_read(&other, &pieces);
    REQUIRE(message->result == other.result);
    REQUIRE(message->head_done == other.head_done);
    REQUIRE(message->head.bad_text == other.head.bad_text);
    REQUIRE(message->trailer.bad_text == other.trailer.bad_text);
    REQUIRE(message->body.bad_text == other.body.bad_text);
    REQUIRE(memcmp(&message->head, &other.head, offsetof(struct http1_head, fields)) == 0);
    require_same_fields(&message->head, &other.head);
    require_same_fields(&message->trailer, &other.trailer);
    if (message->result != HTTP1_BAD)
        REQUIRE(message->length == other.length);
    REQUIRE(message->payload_length == other.payload_length);
    REQUIRE(memcmp(message->payload, other.payload, other.payload_length) == 0);
    message_free(&other);
}

void output_add(struct output *output, const char *data, size_t length)
{
    char *grown = realloc(output->data, output->length + length + 1);

    REQUIRE(grown);
    memcpy(grown + output->length, data, length);
    output->data = grown;
    output->length += length;
}

/* Two chunks, when there is anything to divide. */
void output_add_body(struct output *output, const struct message *message, bool chunked)
{
    static char last[HTTP1_TRAILER_MAX + HTTP1_FIELD_MAX + 8];
    static const struct http1_head none;
    size_t half = chunked ? message->payload_length / 2 : message->payload_length;

    for (size_t at = 0; at < message->payload_length;) {
        char line[HTTP1_CHUNK_LINE_MAX];
        size_t part = at == 0 && half > 0 ? half : message->payload_length - at;
        ssize_t length = http1_compose_chunk_line(line, sizeof(line), part);

        REQUIRE(length > 0);
        if (chunked)
            output_add(output, line, (size_t)length);
        output_add(output, message->payload + at, part);
        if (chunked)
            output_add(output, HTTP1_CHUNK_END, 2);
        at += part;
    }
    if (!chunked)
        return;

    ssize_t length = http1_compose_last_chunk(last, sizeof(last),
                                              message->has_trailer ? &message->trailer : &none,
                                              message->has_trailer ? message->trailer_data : "");

    REQUIRE(length > 0);
    output_add(output, last, (size_t)length);
}

void message_require_same(const struct message *message, const struct reference_message *other,
                          bool (*skip)(const struct http1_field *field))
{
    size_t next = 0;

    REQUIRE(other->body_length == message->payload_length);
    if (other->body_length > 0)
        REQUIRE(memcmp(other->body, message->payload, other->body_length) == 0);
    for (unsigned i = 0; i < message->head.field_count; i++) {
        const struct http1_field *field = &message->head.fields[i];

        if (skip && skip(field))
            continue;
        while (next < other->field_count &&
               !(reference_equals(other->fields[next].name, message->data + field->name.start,
                                  field->name.length) &&
                 reference_equals(other->fields[next].value, message->data + field->value.start,
                                  field->value.length)))
            next++;
        REQUIRE(next++ < other->field_count);
    }
}
