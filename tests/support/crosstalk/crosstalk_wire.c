/* SPDX-License-Identifier: ISC */
/* A connection of the cross-talk test: lines, bodies, and the bytes that an id determines. */
#include "crosstalk.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* All bodies are taken from here, at offsets that their ids determine. */
#define NOISE_SIZE 1048573
static char noise[NOISE_SIZE];

/* A wait this long means that something is stuck. */
#define WAIT_MAX 60

void wire_prepare(void)
{
    struct random random = {run.seed};
    for (size_t i = 0; i < NOISE_SIZE; i++)
        noise[i] = (char)random_next(&random);
}

static size_t noise_start(const struct plan *plan, enum side side)
{
    return (plan->id * 2654435761UL + (side == SIDE_RESPONSE ? 777767UL : 0)) % NOISE_SIZE;
}

void wire_begin(struct wire *wire, int fd)
{
    struct timeval wait_max = {.tv_sec = WAIT_MAX};
    int one = 1;
    wire->fd = fd;
    wire->tls = NULL;
    wire->broken = false;
    wire->start = wire->end = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait_max, sizeof(wait_max));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait_max, sizeof(wait_max));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void wire_close(struct wire *wire)
{
    if (wire->tls != NULL)
        tls_end(wire);
    wire_cut(wire);
}

void wire_cut(struct wire *wire)
{
    if (wire->tls != NULL)
        tls_free(wire);
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}

void wire_reset(struct wire *wire)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    wire_cut(wire);
}

/* TLS ignores the flags: each call makes its own records. */
static int send_some(struct wire *wire, const char *data, size_t length, int flags)
{
    while (length > 0) {
        ssize_t n = wire->tls != NULL ? tls_send(wire, data, length)
                                      : send(wire->fd, data, length, MSG_NOSIGNAL | flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            complain("stuck: nothing could be sent for %d s", WAIT_MAX);
        if (n < 0) { /* a reset, which reading will not report again */
            wire->broken = true;
            return -1;
        }
        data += n;
        length -= (size_t)n;
    }
    return 0;
}

int wire_send(struct wire *wire, const void *data, size_t length)
{
    return send_some(wire, data, length, 0);
}

int wire_send_body(struct wire *wire, const struct plan *plan, enum side side, size_t upto,
                   struct random *random)
{
    size_t size = side == SIDE_RESPONSE ? plan->response_size : plan->request_size;
    bool chunked =
        (side == SIDE_RESPONSE ? plan->response_framing : plan->request_framing) == FRAMING_CHUNKED;
    size_t start = noise_start(plan, side);
    for (size_t done = 0; done < upto;) {
        size_t at = (start + done) % NOISE_SIZE, piece = upto - done;
        char line[32];
        if (chunked && piece > 1)
            piece = 1 + random_below(random, piece < 65536 ? piece : 65536);
        if (piece > NOISE_SIZE - at)
            piece = NOISE_SIZE - at;
        int n = snprintf(line, sizeof(line), "%zx\r\n", piece);
        if (chunked && send_some(wire, line, (size_t)n, MSG_MORE) < 0)
            return -1;
        if (send_some(wire, noise + at, piece, chunked ? MSG_MORE : 0) < 0 ||
            (chunked && send_some(wire, "\r\n", 2, done + piece < size ? 0 : MSG_MORE) < 0))
            return -1;
        done += piece;
    }
    return chunked && upto == size ? wire_send(wire, "0\r\n\r\n", 5) : 0;
}

/* More bytes; false: there are no more. */
static bool fill(struct wire *wire)
{
    if (wire->start == wire->end)
        wire->start = wire->end = 0;
    if (wire->end == sizeof(wire->data)) {
        memmove(wire->data, wire->data + wire->start, wire->end - wire->start);
        wire->end -= wire->start;
        wire->start = 0;
    }
    char *room = wire->data + wire->end;
    size_t size = sizeof(wire->data) - wire->end;
    ssize_t n;
    do
        n = wire->tls != NULL ? tls_receive(wire, room, size) : recv(wire->fd, room, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        complain("stuck: nothing arrived for %d s", WAIT_MAX);
    wire->broken |= n < 0;
    if (n <= 0)
        return false;
    wire->end += (size_t)n;
    return true;
}

/* Up to and including `end`, as a string; false: the connection ended before, or it is too long. */
static bool read_until(struct wire *wire, const char *end, char *text, size_t size)
{
    for (;;) {
        const char *data = wire->data + wire->start;
        const char *found = memmem(data, wire->end - wire->start, end, strlen(end));
        if (found != NULL) {
            size_t length = (size_t)(found - data) + strlen(end);
            if (length >= size) {
                complain("too long: %.60s", data);
                return false;
            }
            memcpy(text, data, length);
            text[length] = '\0';
            wire->start += length;
            return true;
        }
        if (wire->end - wire->start >= size || !fill(wire))
            return false;
    }
}

bool wire_read_head(struct wire *wire, char head[HEAD_MAX])
{
    return read_until(wire, "\r\n\r\n", head, HEAD_MAX);
}

const char *head_find(const char *head, const char *name)
{
    const char *line = head;
    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) == 0)
            return line + strlen(name) + strspn(line + strlen(name), " ");
    }
    return NULL;
}

enum framing head_framing(const char *head, size_t *length)
{
    const char *coding = head_find(head, "Transfer-Encoding:");
    const char *number = head_find(head, "Content-Length:");
    *length = 0;
    if (coding != NULL && number != NULL)
        complain("two framings: %s", head);
    if (coding != NULL)
        return FRAMING_CHUNKED;
    if (number == NULL)
        return FRAMING_CLOSE;
    *length = strtoul(number, NULL, 10);
    return FRAMING_LENGTH;
}

/* What is to be compared, and how much has been. */
struct reading {
    struct wire *wire;
    const struct plan *plan;
    size_t start, size, got, stop;
};

static enum body_end compare(struct reading *reading, const char *data, size_t length)
{
    if (length > reading->size - reading->got) {
        complain("exchange %lu: more than %zu bytes of body", reading->plan->id, reading->size);
        return BODY_WRONG;
    }
    while (length > 0) {
        size_t at = (reading->start + reading->got) % NOISE_SIZE;
        size_t piece = length < NOISE_SIZE - at ? length : NOISE_SIZE - at;
        if (memcmp(noise + at, data, piece) != 0) {
            complain("exchange %lu: wrong bytes after %zu", reading->plan->id, reading->got);
            return BODY_WRONG;
        }
        data += piece;
        length -= piece;
        reading->got += piece;
    }
    return BODY_WHOLE;
}

/* This many bytes of payload; SIZE_MAX: to the end. */
static enum body_end take(struct reading *reading, size_t length)
{
    struct wire *wire = reading->wire;
    while (length > 0) {
        if (wire->start == wire->end && !fill(wire))
            return length > SIZE_MAX / 2 && !wire->broken ? BODY_WHOLE : BODY_CUT;
        size_t piece = wire->end - wire->start < length ? wire->end - wire->start : length;
        enum body_end end = compare(reading, wire->data + wire->start, piece);
        if (end != BODY_WHOLE)
            return end;
        wire->start += piece;
        length -= piece;
        if (reading->got >= reading->stop)
            return BODY_CUT;
    }
    return BODY_WHOLE;
}

static enum body_end take_chunks(struct reading *reading)
{
    for (;;) {
        char line[64], *end;
        if (!read_until(reading->wire, "\r\n", line, sizeof(line)))
            return BODY_CUT;
        size_t length = strtoul(line, &end, 16);
        if (end == line || strcmp(end, "\r\n") != 0) {
            complain("exchange %lu: bad chunk line", reading->plan->id);
            return BODY_WRONG;
        }
        enum body_end taken = take(reading, length);
        if (taken != BODY_WHOLE)
            return taken;
        if (!read_until(reading->wire, "\r\n", line, 3))
            return BODY_CUT;
        if (length == 0)
            return BODY_WHOLE;
    }
}

enum body_end wire_read_body(struct wire *wire, const struct plan *plan, enum side side,
                             enum framing framing, size_t length, size_t stop, size_t *got)
{
    struct reading reading = {
        .wire = wire,
        .plan = plan,
        .start = noise_start(plan, side),
        .size = side == SIDE_RESPONSE ? plan->response_size : plan->request_size,
        .stop = stop,
    };
    enum body_end end = BODY_WHOLE;
    if (framing == FRAMING_CHUNKED)
        end = take_chunks(&reading);
    else if (framing != FRAMING_NONE)
        end = take(&reading, framing == FRAMING_CLOSE ? SIZE_MAX : length);
    *got = reading.got;
    return end;
}

bool wire_is_at_end(struct wire *wire)
{
    return wire->start == wire->end && !fill(wire);
}
