/* Payload on its way, in either direction. */
#include <errno.h>
#include <string.h>

#include "http1/http1_compose.h"
#include "session/http/http_internal.h"

enum http1_result http_squeeze(struct http1_body *body, char **data, size_t *length,
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

/* The parts that one span of payload is sent in. */
#define PARTS_MAX 5

static void add_part(struct iovec *parts, int *count, const char *data, size_t length)
{
    if (length > 0)
        parts[(*count)++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = length};
}

/* What a stream has not taken of the parts. 0, or -1 with ENOMEM. */
static int hold_back(struct buffer *backlog, const struct iovec *parts, int count, size_t written)
{
    for (int i = 0; i < count; i++) {
        size_t skip = written < parts[i].iov_len ? written : parts[i].iov_len;
        written -= skip;
        if (buffer_append(backlog, (const char *)parts[i].iov_base + skip,
                          parts[i].iov_len - skip) < 0)
            return -1;
    }
    return 0;
}

/* Writes as far as the stream takes it; what was written, or -1 with errno. */
static ssize_t write_parts(struct stream *to, const struct iovec *parts, int count)
{
    if (count == 0 || to == NULL || !to->writable)
        return 0;
    ssize_t n = stream_writev(to, parts, count);
    return n < 0 && errno == EAGAIN ? 0 : n;
}

ssize_t http_pass(struct stream *to, struct buffer *backlog, const struct http_payload *payload)
{
    struct iovec parts[PARTS_MAX];
    char line[HTTP1_CHUNK_LINE_MAX];
    size_t behind = buffer_length(backlog);
    bool chunk = payload->chunked && payload->length > 0;
    int count = 0, first;
    add_part(parts, &count, buffer_data(backlog), behind);
    first = count;
    if (chunk) {
        ssize_t n = http1_compose_chunk_line(line, sizeof(line), payload->length);
        if (n < 0)
            return -1;
        add_part(parts, &count, line, (size_t)n);
    }
    add_part(parts, &count, payload->data, payload->length);
    if (chunk)
        add_part(parts, &count, HTTP1_CHUNK_END, sizeof(HTTP1_CHUNK_END) - 1);
    if (payload->chunked && payload->last)
        add_part(parts, &count, HTTP1_LAST_CHUNK, sizeof(HTTP1_LAST_CHUNK) - 1);
    ssize_t written = write_parts(to, parts, count);
    if (written < 0)
        return -1;
    size_t of_backlog = (size_t)written < behind ? (size_t)written : behind;
    buffer_consume(backlog, of_backlog);
    if (hold_back(backlog, parts + first, count - first, (size_t)written - of_backlog) < 0)
        return -1;
    return written;
}
