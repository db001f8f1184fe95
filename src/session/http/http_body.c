/* SPDX-License-Identifier: ISC */
/* Moving payload, in either direction. */
#include <errno.h>
#include <string.h>

#include "http1/http1_compose.h"
#include "session/http/http_internal.h"

enum http1_result http_dechunk(struct http1_body *body, char **data, size_t *length,
                               size_t *consumed)
{
    enum http1_result result = HTTP1_MORE;
    struct http1_piece piece = {0};
    char *payload = *data;
    size_t total = 0, used = 0;
    do {
        char *here = *data + used;
        result = http1_body_feed(body, here, *length - used, &piece);
        if (result == HTTP1_BAD)
            break;
        if (total == 0)
            payload = here + piece.start;
        else
            memmove(payload + total, here + piece.start, piece.length);
        total += piece.length;
        used += piece.consumed;
    } while (result == HTTP1_MORE && piece.consumed > 0 && used < *length);
    *data = payload;
    *length = total;
    *consumed = used;
    return result;
}

/* After the place for the backlog. */
static void add_piece(struct iovec *pieces, int *count, const char *data, size_t length)
{
    if (length > 0)
        pieces[++*count] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = length};
}

ssize_t http_pass(struct stream *to, struct buffer *backlog, const struct http_payload *payload)
{
    struct iovec pieces[1 + EXCHANGE_PIECES_MAX];
    char line[HTTP1_CHUNK_LINE_MAX];
    bool chunk = payload->chunked && payload->length > 0;
    int count = 0;
    if (chunk) {
        ssize_t n = http1_compose_chunk_line(line, sizeof(line), payload->length);
        if (n < 0)
            return -1;
        add_piece(pieces, &count, line, (size_t)n);
    }
    add_piece(pieces, &count, payload->data, payload->length);
    if (chunk)
        add_piece(pieces, &count, HTTP1_CHUNK_END, sizeof(HTTP1_CHUNK_END) - 1);
    if (payload->chunked && payload->last)
        add_piece(pieces, &count, HTTP1_LAST_CHUNK, sizeof(HTTP1_LAST_CHUNK) - 1);
    return exchange_pass(to, backlog, pieces, count);
}

enum relay_result http_move_bulk(struct http_session *http, const struct exchange_bulk *bulk,
                                 struct http1_body *body)
{
    uint64_t before = bulk->relay->taken;
    enum relay_result result = exchange_move(&http->client, bulk);
    http1_body_skip(body, bulk->relay->taken - before);
    return result;
}
