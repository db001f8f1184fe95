/* SPDX-License-Identifier: ISC */
/* Headers and bodies: the tables, each message split in every way; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http1_requests.h"
#include "http1_responses.h"

/* Reads one message, as a session would, from what has arrived of it. */
struct reader {
    struct http1_head head, trailer;
    struct http1_body body;
    enum { IN_HEAD, IN_BODY, IN_TRAILER, ENDED } phase;
    enum outcome outcome;
    size_t at; /* all before it was consumed */
    char payload[64];
    size_t payload_length;
    char *copy; /* what arrived after its first byte; NULL: nothing yet */
    size_t length;
};

static void reader_begin(struct reader *reader, const struct http1_case *message)
{
    memset(reader, 0, sizeof(*reader));
    reader->outcome = HEAD_CUT;
    if (message->kind == HTTP1_KIND_REQUEST)
        http1_request_begin(&reader->head);
    else
        http1_response_begin(
            &reader->head, &(struct http1_request_info){message->method, message->upgrade, false});
}

static void reader_end(struct reader *reader)
{
    free(reader->copy);
    reader->copy = NULL;
}

static void read_head(struct reader *reader, char *data, size_t length)
{
    enum http1_result result = http1_head_parse(&reader->head, data, length);

    if (result == HTTP1_BAD) {
        reader->outcome = HEAD_BAD;
        reader->phase = ENDED;
    } else if (result == HTTP1_DONE) {
        reader->at = reader->head.length;
        reader->phase = IN_BODY;
        http1_body_begin(&reader->body, reader->head.kind, reader->head.framing,
                         reader->head.content_length);
    }
}

static void read_body(struct reader *reader, const char *data, size_t length)
{
    enum http1_result result;

    do {
        struct http1_piece piece;

        result = http1_body_feed(&reader->body, data + reader->at, length - reader->at, &piece);
        assert_true(piece.length == 0 || piece.start + piece.length == piece.consumed);
        assert_true(reader->payload_length + piece.length <= sizeof(reader->payload));
        memcpy(reader->payload + reader->payload_length, data + reader->at + piece.start,
               piece.length);
        reader->payload_length += piece.length;
        reader->at += piece.consumed;
    } while (result == HTTP1_MORE && reader->at < length);
    if (result == HTTP1_TRAILER) {
        reader->phase = IN_TRAILER;
        http1_trailer_begin(&reader->trailer);
        return;
    }
    if (result != HTTP1_MORE)
        reader->phase = ENDED;
    if (result == HTTP1_BAD)
        reader->outcome = BODY_BAD;
    else if (result == HTTP1_DONE)
        reader->outcome = WHOLE;
    else
        reader->outcome = http1_body_whole_at_close(&reader->body) ? UNTIL_CLOSE : BODY_CUT;
}

static void read_trailer(struct reader *reader, char *data, size_t length)
{
    enum http1_result result =
        http1_head_parse(&reader->trailer, data + reader->at, length - reader->at);

    reader->outcome = BODY_CUT;
    if (result == HTTP1_MORE)
        return;
    reader->phase = ENDED;
    reader->outcome = result == HTTP1_DONE ? WHOLE : TRAILER_BAD;
    if (result == HTTP1_DONE)
        reader->at += reader->trailer.length;
}

/* The first `length` bytes have arrived. They are copied again, so that reads past them are
 * detected, as are pointers kept from the call before. What was changed in them stays changed. */
static void reader_see(struct reader *reader, const char *data, size_t length)
{
    char *copy = malloc(length + 1);
    char *seen = copy + 1;

    assert_non_null(copy);
    memcpy(seen, data, length);
    if (reader->copy)
        memcpy(seen, reader->copy + 1, reader->length);
    reader_end(reader);
    reader->copy = copy;
    reader->length = length;
    if (reader->phase == IN_HEAD)
        read_head(reader, seen, length);
    if (reader->phase == IN_BODY)
        read_body(reader, seen, length);
    if (reader->phase == IN_TRAILER)
        read_trailer(reader, seen, length);
}

static void check_outcome(const struct reader *reader, const struct http1_case *message)
{
    unsigned status =
        reader->outcome == TRAILER_BAD ? reader->trailer.bad_status : reader->head.bad_status;

    assert_int_equal(reader->outcome, message->outcome);
    assert_int_equal(status, message->status);
    if (reader->outcome == HEAD_BAD)
        assert_non_null(reader->head.bad_text);
    if (reader->outcome == BODY_BAD)
        assert_non_null(reader->body.bad_text);
    if (!message->payload)
        return;
    assert_int_equal(reader->head.framing, message->framing);
    assert_int_equal(reader->head.repaired, message->repaired);
    assert_int_equal(reader->payload_length, strlen(message->payload));
    assert_memory_equal(reader->payload, message->payload, reader->payload_length);
    if (message->outcome == WHOLE)
        assert_int_equal(message->length - reader->at, message->rest);
}

/* Heads hold no pointers except static texts, so their used parts can be compared as they are. */
static void check_same(const struct reader *reader, const struct reader *whole)
{
    assert_memory_equal(&reader->head, &whole->head, sizeof(reader->head));
    assert_memory_equal(&reader->trailer, &whole->trailer, sizeof(reader->trailer));
    if (whole->outcome != BODY_BAD) /* where the broken call began depends on the split */
        assert_int_equal(reader->at, whole->at);
    if (whole->outcome == WHOLE) /* repaired alike */
        assert_memory_equal(reader->copy + 1, whole->copy + 1, whole->length);
    assert_ptr_equal(reader->body.bad_text, whole->body.bad_text);
}

static void check_message(const struct http1_case *message)
{
    struct reader whole, reader;

    reader_begin(&whole, message);
    reader_see(&whole, message->text, message->length);
    check_outcome(&whole, message);

    reader_begin(&reader, message);
    for (size_t i = 0; i <= message->length; i++)
        reader_see(&reader, message->text, i);
    check_outcome(&reader, message);
    check_same(&reader, &whole);
    reader_end(&reader);

    for (size_t i = 0; i <= message->length; i++) {
        reader_begin(&reader, message);
        reader_see(&reader, message->text, i);
        reader_see(&reader, message->text, message->length);
        check_outcome(&reader, message);
        check_same(&reader, &whole);
        reader_end(&reader);
    }
    reader_end(&whole);
}

static const struct http1_case *current; /* the case that is being checked */

static void check_messages(const struct http1_case *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        current = &messages[i];
        check_message(current);
    }
    current = NULL;
}

static void test_requests(void **state)
{
    (void)state;
    check_messages(http1_requests, ARRAY_LEN(http1_requests));
}

static void test_responses(void **state)
{
    (void)state;
    check_messages(http1_responses, ARRAY_LEN(http1_responses));
}

/* Reports which case failed, in one line of printable characters. */
static int name_failed_case(void **state)
{
    (void)state;
    if (!current)
        return 0;
    fprintf(stderr, "# RFC %s: ", current->rule);
    for (size_t i = 0; i < current->length; i++)
        fputc(current->text[i] < ' ' || current->text[i] > '~' ? '.' : current->text[i], stderr);
    fputc('\n', stderr);
    current = NULL;
    return 0;
}

/* A message that is built piece by piece. */
struct text {
    char data[2 * HTTP1_HEAD_MAX];
    size_t length;
};

static void add(struct text *text, const char *more)
{
    assert_true(text->length + strlen(more) <= sizeof(text->data));
    memcpy(text->data + text->length, more, strlen(more));
    text->length += strlen(more);
}

static void fill(struct text *text, char c, size_t up_to)
{
    assert_true(up_to <= sizeof(text->data));
    while (text->length < up_to)
        text->data[text->length++] = c;
}

/* At once and byte by byte. Returns the head's bad_status, 0 when it is done, 1 for more. */
static unsigned verdict(enum http1_kind kind, const struct text *text)
{
    static struct text copy; /* of what is repaired */
    struct http1_head heads[2];
    enum http1_result results[2];

    copy = *text;

    for (int i = 0; i < 2; i++) {
        if (kind == HTTP1_KIND_TRAILER)
            http1_trailer_begin(&heads[i]);
        else if (kind == HTTP1_KIND_REQUEST)
            http1_request_begin(&heads[i]);
        else
            http1_response_begin(&heads[i], &(struct http1_request_info){.method = HTTP1_GET});
    }
    results[0] = http1_head_parse(&heads[0], copy.data, copy.length);
    copy = *text;
    results[1] = HTTP1_MORE;
    for (size_t i = 0; i <= text->length && results[1] == HTTP1_MORE; i++)
        results[1] = http1_head_parse(&heads[1], copy.data, i);
    assert_int_equal(results[0], results[1]);
    assert_ptr_equal(heads[0].bad_text, heads[1].bad_text);
    return results[0] == HTTP1_MORE ? 1 : results[0] == HTTP1_DONE ? 0 : heads[0].bad_status;
}

static struct text text;

/* A start line of 8192 bytes passes, a longer one does not, without waiting for its end. */
static void check_start_line_limit(const char *line_end)
{
    static const char end[] = " HTTP/1.1";

    for (size_t extra = 0; extra < 2; extra++) {
        text.length = 0;
        add(&text, "GET /");
        fill(&text, 'a', HTTP1_START_LINE_MAX + extra - strlen(end));
        add(&text, end);
        assert_int_equal(text.length, HTTP1_START_LINE_MAX + extra);
        assert_int_equal(verdict(HTTP1_KIND_REQUEST, &text), extra ? 414 : 1);
        add(&text, line_end);
        add(&text, "Host: a");
        add(&text, line_end);
        add(&text, line_end);
        assert_int_equal(verdict(HTTP1_KIND_REQUEST, &text), extra ? 414 : 0);

        text.length = 0;
        add(&text, "HTTP/1.1 200 ");
        fill(&text, 'a', HTTP1_START_LINE_MAX + extra);
        add(&text, line_end);
        add(&text, line_end);
        assert_int_equal(verdict(HTTP1_KIND_RESPONSE, &text), extra ? 502 : 0);
    }
}

static void test_start_line_limit(void **state)
{
    (void)state;
    check_start_line_limit("\r\n");
    check_start_line_limit("\n");
}

/* 32768 bytes of header pass, one more does not. */
static void check_head_limit(const char *line_end)
{
    for (size_t extra = 0; extra < 2; extra++) {
        size_t value_end = HTTP1_HEAD_MAX + extra - 2 * strlen(line_end);

        text.length = 0;
        add(&text, "GET / HTTP/1.0");
        add(&text, line_end);
        add(&text, "X: ");
        fill(&text, 'a', value_end);
        add(&text, line_end);
        add(&text, line_end);
        assert_int_equal(verdict(HTTP1_KIND_REQUEST, &text), extra ? 431 : 0);
        memcpy(text.data, "HTTP/1.1 200 O", 14);
        assert_int_equal(verdict(HTTP1_KIND_RESPONSE, &text), extra ? 502 : 0);
    }
}

static void test_head_limit(void **state)
{
    (void)state;
    check_head_limit("\r\n");
    check_head_limit("\n");
    text.length = 0;
    add(&text, GET11 "X: ");
    fill(&text, 'a', HTTP1_HEAD_MAX);
    assert_int_equal(verdict(HTTP1_KIND_REQUEST, &text), 431);
}

/* The same if a value continues over many lines, and if it is all control characters. */
static void test_repaired_head_limit(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        text.length = 0;
        add(&text, OK11 "X:");
        while (text.length < HTTP1_HEAD_MAX - 10)
            add(&text, "\r\n a");
        fill(&text, 'b', HTTP1_HEAD_MAX + extra - 4);
        add(&text, "\r\n\r\n");
        assert_int_equal(verdict(HTTP1_KIND_RESPONSE, &text), extra ? 502 : 0);

        text.length = 0;
        add(&text, OK11 "X:");
        fill(&text, '\b', HTTP1_HEAD_MAX + extra - 4);
        add(&text, "\r\n\r\n");
        assert_int_equal(verdict(HTTP1_KIND_RESPONSE, &text), extra ? 502 : 0);
    }
}

static void test_field_limit(void **state)
{
    (void)state;
    for (unsigned extra = 0; extra < 2; extra++) {
        text.length = 0;
        add(&text, GET11);
        for (unsigned i = 1; i < HTTP1_FIELD_MAX + extra; i++)
            add(&text, "X: a\r\n");
        add(&text, "\r\n");
        assert_int_equal(verdict(HTTP1_KIND_REQUEST, &text), extra ? 431 : 0);
    }
}

static void test_trailer_limit(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        text.length = 0;
        add(&text, "X: ");
        fill(&text, 'a', HTTP1_TRAILER_MAX + extra - 4);
        add(&text, "\r\n\r\n");
        assert_int_equal(verdict(HTTP1_KIND_TRAILER, &text), extra ? 431 : 0);
    }
}

/* Connection lists cost work for each member and each field, in one line or in many. */
static void test_member_limit(void **state)
{
    (void)state;
    for (unsigned extra = 0; extra < 2; extra++) {
        text.length = 0;
        add(&text, GET11 "Connection: a");
        for (unsigned i = 1; i < 64 + extra; i++)
            add(&text, i % 2 ? "," : ",a");
        add(&text, "\r\n\r\n");
        assert_int_equal(verdict(HTTP1_KIND_REQUEST, &text), extra ? 400 : 0);

        text.length = 0;
        add(&text, GET11);
        for (unsigned i = 0; i < 64 + extra; i++)
            add(&text, i % 3 ? "Connection: close\r\n" : "Connection: a\r\n");
        add(&text, "\r\n");
        assert_int_equal(verdict(HTTP1_KIND_REQUEST, &text), extra ? 400 : 0);
    }
}

/* Feeds a chunked body and reports how it ended. */
static enum http1_result feed_all(struct http1_body *body, const char *data, size_t length)
{
    enum http1_result result = HTTP1_MORE;
    size_t at = 0;

    while (result == HTTP1_MORE && at < length) {
        struct http1_piece piece;

        result = http1_body_feed(body, data + at, length - at, &piece);
        at += piece.consumed;
    }
    return result;
}

/* Extensions without end are rejected, over many chunks too; payload pays for them. */
static void test_extension_limit(void **state)
{
    struct http1_body body;

    (void)state;
    text.length = 0;
    add(&text, "1;");
    fill(&text, 'a', 2 + HTTP1_EXTENSION_MAX - 1);
    add(&text, "\r\nx\r\n0\r\n\r\n");
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(feed_all(&body, text.data, text.length), HTTP1_DONE);

    text.length = 0;
    add(&text, "1;");
    fill(&text, 'a', 2 + HTTP1_EXTENSION_MAX);
    add(&text, "\r\nx\r\n0\r\n\r\n");
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(feed_all(&body, text.data, text.length), HTTP1_BAD);
    assert_false(http1_body_whole_at_close(&body));

    text.length = 0;
    while (text.length < 4 * HTTP1_EXTENSION_MAX)
        add(&text, "1;aaaaaaaa\r\nx\r\n");
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(feed_all(&body, text.data, text.length), HTTP1_BAD);

    text.length = 0;
    while (text.length < 4 * HTTP1_EXTENSION_MAX)
        add(&text, "9;aaaaaaaa\r\n123456789\r\n");
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(feed_all(&body, text.data, text.length), HTTP1_MORE);
}

/* Padding counts like an extension. */
static void test_padding_limit(void **state)
{
    struct http1_body body;

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        text.length = 0;
        add(&text, "1 ");
        fill(&text, '\t', 2 + HTTP1_EXTENSION_MAX - 1 + extra);
        add(&text, "\r\nx\r\n0\r\n\r\n");
        http1_body_begin(&body, HTTP1_KIND_RESPONSE, HTTP1_CHUNKED, 0);
        assert_int_equal(feed_all(&body, text.data, text.length), extra ? HTTP1_BAD : HTTP1_DONE);
        http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
        assert_int_equal(feed_all(&body, text.data, text.length), HTTP1_BAD);
    }
}

/* Bytes of a body of known length that are moved elsewhere count as if they had been fed. */
static void test_body_skipped(void **state)
{
    struct http1_body body;
    struct http1_piece piece;
    (void)state;
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_LENGTH, 100);
    assert_int_equal(http1_body_rest(&body), 100);
    assert_int_equal(http1_body_feed(&body, "abc", 3, &piece), HTTP1_MORE);
    assert_int_equal(http1_body_rest(&body), 97);
    http1_body_skip(&body, 0);
    http1_body_skip(&body, 90);
    assert_int_equal(http1_body_rest(&body), 7);
    assert_false(http1_body_whole_at_close(&body));
    assert_int_equal(http1_body_feed(&body, "12345678", 8, &piece), HTTP1_DONE);
    assert_int_equal(piece.length, 7);
    assert_int_equal(http1_body_rest(&body), 0);
    http1_body_skip(&body, 0);
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_LENGTH, 5);
    http1_body_skip(&body, 5);
    assert_true(http1_body_whole_at_close(&body));
    assert_int_equal(http1_body_feed(&body, "x", 1, &piece), HTTP1_DONE);
    assert_int_equal(piece.consumed, 0);
    const enum http1_framing others[] = {HTTP1_NO_BODY, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        http1_body_begin(&body, HTTP1_KIND_REQUEST, others[i], 7);
        assert_int_equal(http1_body_rest(&body), 0);
    }
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(http1_body_feed(&body, "5\r\n", 3, &piece), HTTP1_MORE);
    assert_int_equal(http1_body_rest(&body), 0);
}

/* A body that has ended accepts no more, and a broken one stays so. */
static void test_body_ended(void **state)
{
    struct http1_body body;
    struct http1_piece piece;

    (void)state;
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_NO_BODY, 7);
    assert_int_equal(http1_body_feed(&body, "x", 1, &piece), HTTP1_DONE);
    assert_int_equal(piece.consumed, 0);
    assert_true(http1_body_whole_at_close(&body));
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_LENGTH, 1);
    assert_int_equal(http1_body_feed(&body, "", 0, &piece), HTTP1_MORE);
    assert_false(http1_body_whole_at_close(&body));
    assert_int_equal(http1_body_feed(&body, "xy", 2, &piece), HTTP1_DONE);
    assert_int_equal(piece.consumed, 1);
    assert_int_equal(http1_body_feed(&body, "y", 1, &piece), HTTP1_DONE);
    assert_int_equal(piece.consumed, 0);
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(http1_body_feed(&body, "x", 1, &piece), HTTP1_BAD);
    assert_int_equal(http1_body_feed(&body, "0\r\n\r\n", 5, &piece), HTTP1_BAD);
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(http1_body_feed(&body, "5;;", 3, &piece), HTTP1_BAD);
    assert_int_equal(piece.consumed, 0);
}

static struct http1_head head;

static void test_started(void **state)
{
    static char message[] = "\r\nG";

    (void)state;
    http1_request_begin(&head);
    for (size_t i = 0; i < sizeof(message); i++) {
        assert_int_equal(http1_head_parse(&head, message, i), HTTP1_MORE);
        assert_int_equal(http1_head_started(&head), i == 3);
    }
}

/* An empty buffer has no memory. (A failure shows as what clang's sanitizer says about arithmetic
 * on NULL.) */
static void test_no_bytes(void **state)
{
    static char message[] = "GET / HTTP/1.0\r\n\r\n";
    struct http1_piece piece;
    struct http1_body body;

    (void)state;
    http1_request_begin(&head);
    assert_int_equal(http1_head_parse(&head, NULL, 0), HTTP1_MORE);
    assert_false(http1_head_started(&head));
    assert_int_equal(http1_head_parse(&head, message, sizeof(message) - 1), HTTP1_DONE);
    http1_trailer_begin(&head);
    assert_int_equal(http1_head_parse(&head, NULL, 0), HTTP1_MORE);
    http1_body_begin(&body, HTTP1_KIND_REQUEST, HTTP1_CHUNKED, 0);
    assert_int_equal(http1_body_feed(&body, NULL, 0, &piece), HTTP1_MORE);
}

/* A header that has ended accepts no more, and a broken one stays so. */
static void test_head_ended(void **state)
{
    static char message[] = "GET / HTTP/1.0\r\n\r\nGET";

    (void)state;
    http1_request_begin(&head);
    for (size_t i = 0; i < sizeof(message); i++)
        assert_int_equal(http1_head_parse(&head, message, i), i < 18 ? HTTP1_MORE : HTTP1_DONE);
    assert_int_equal(head.length, 18);
    http1_request_begin(&head);
    message[0] = '\0';
    assert_int_equal(http1_head_parse(&head, message, 1), HTTP1_BAD);
    message[0] = 'G';
    assert_int_equal(http1_head_parse(&head, message, sizeof(message) - 1), HTTP1_BAD);
}

/* The text names the rule that is broken, not the next best one. */
static void test_bad_text(void **state)
{
    static const struct {
        const char *message, *text;
    } messages[] = {
        {"GET http://u@a/ HTTP/1.0\r\n", "user information"},
        {"GET / HTTP/1.0\r\n X: y\r\n", "begins with whitespace"},
        {"GET / HTTP/1.0\r\nX\r\n", "no colon"},
        {"GET / HTTP/1.0\r\nX : y\r\n", "before a field's colon"},
        {"GET / HTTP/1.0\nX: y\r\n\r\n", "lines end with LF alone, others with CRLF"},
        {"\r\n\r\n\r\n\r\n\r\n", "too many empty lines"},
        {"GET / HTTP/1.0\r\r", "CR without LF"},
        {"GET / HTTP/1.0\b", "control character"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        text.length = 0;
        add(&text, messages[i].message);
        http1_request_begin(&head);
        assert_int_equal(http1_head_parse(&head, text.data, text.length), HTTP1_BAD);
        assert_non_null(strstr(head.bad_text, messages[i].text));
    }
}

/* A long header that arrives slowly is read once, not once for each byte: its bytes may be damaged
 * after they were read, without an effect. */
static void test_no_rescan(void **state)
{
    (void)state;
    text.length = 0;
    add(&text, GET11 "X: ");
    fill(&text, 'a', 1000);
    http1_request_begin(&head);
    assert_int_equal(http1_head_parse(&head, text.data, text.length), HTTP1_MORE);
    text.data[500] = '\0';
    add(&text, "\r\n\r\n");
    assert_int_equal(http1_head_parse(&head, text.data, text.length), HTTP1_DONE);
}

/* Fewer bytes than before cannot be the same message; nothing past them is read. */
static void test_fewer_bytes(void **state)
{
    static char request[] = "GET / HTTP/1.0\r\nX: abc", trailer[] = "Long: abc";

    (void)state;
    for (size_t first = 1; first < sizeof(request); first++)
        for (size_t length = 0; length < first; length++) {
            char *copy = malloc(length + 1);

            assert_non_null(copy);
            memcpy(copy, request, length);
            http1_request_begin(&head);
            assert_int_equal(http1_head_parse(&head, request, first), HTTP1_MORE);
            if (length < head.scanned) {
                assert_int_equal(http1_head_parse(&head, copy, length), HTTP1_BAD);
                assert_int_equal(head.bad_status, 400);
                assert_non_null(head.bad_text);
            }
            free(copy);
        }
    http1_trailer_begin(&head);
    assert_int_equal(http1_head_parse(&head, trailer, sizeof(trailer) - 1), HTTP1_MORE);
    assert_int_equal(http1_head_parse(&head, NULL, 0), HTTP1_BAD);
    assert_int_equal(http1_head_parse(&head, trailer, sizeof(trailer) - 1), HTTP1_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_requests, name_failed_case),
        cmocka_unit_test_teardown(test_responses, name_failed_case),
        cmocka_unit_test(test_start_line_limit),
        cmocka_unit_test(test_head_limit),
        cmocka_unit_test(test_repaired_head_limit),
        cmocka_unit_test(test_field_limit),
        cmocka_unit_test(test_trailer_limit),
        cmocka_unit_test(test_member_limit),
        cmocka_unit_test(test_extension_limit),
        cmocka_unit_test(test_padding_limit),
        cmocka_unit_test(test_body_skipped),
        cmocka_unit_test(test_body_ended),
        cmocka_unit_test(test_started),
        cmocka_unit_test(test_no_bytes),
        cmocka_unit_test(test_head_ended),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_no_rescan),
        cmocka_unit_test(test_fewer_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
