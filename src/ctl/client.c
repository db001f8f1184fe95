/* SPDX-License-Identifier: ISC */
/* A socket that never blocks, ppoll, and a small parser for HTTP. */
#include "ctl/client.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "config-build.h"
#include "http1/http1.h"

#define READ_SIZE 65536

/* How soon a unix socket whose backlog is full is tried again: there is no event for that. */
#define AGAIN (50 * USEC_PER_MSEC)

struct exchange {
    const struct client *client;
    struct answer *answer;
    usec_t until;
    int fd;
    struct http1_head head;
    struct http1_request_info request;
    struct http1_body framing;
    bool has_head, is_whole;
};

usec_t client_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

static PRINTF(2, 3) int fail(struct answer *answer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(answer->error, sizeof(answer->error), format, args);
    va_end(args);
    return -1;
}

enum waited { WAITED_READY, WAITED_TIME, WAITED_WOKEN };

/* fd -1: only for the time. */
static enum waited wait_for(const struct client *client, int fd, short events, usec_t until)
{
    struct pollfd fds[] = {{.fd = fd, .events = events}, {.fd = client->wake_fd, .events = POLLIN}};
    for (;;) {
        if (client->stop != NULL && *client->stop)
            return WAITED_WOKEN;
        usec_t left = until - client_now();
        if (left < 0)
            left = 0;
        struct timespec span = {left / USEC_PER_SEC, left % USEC_PER_SEC * 1000};
        int count = ppoll(fds, ARRAY_LEN(fds), &span, client->mask);
        if (count < 0 && errno != EINTR)
            return WAITED_TIME;
        if (count > 0 && fds[1].revents != 0)
            return WAITED_WOKEN;
        if (count > 0)
            return WAITED_READY;
        if (left == 0)
            return WAITED_TIME;
    }
}

bool client_sleep(const struct client *client, usec_t span)
{
    return wait_for(client, -1, 0, client_now() + span) != WAITED_WOKEN;
}

/* 0 when it is ready; else -1 with the error. */
static int wait_ready(struct exchange *exchange, short events)
{
    const struct client *client = exchange->client;
    switch (wait_for(client, exchange->fd, events, exchange->until)) {
    case WAITED_READY:
        return 0;
    case WAITED_WOKEN:
        exchange->answer->woken = true;
        return fail(exchange->answer, "interrupted");
    case WAITED_TIME:
        break;
    }
    return fail(exchange->answer, "no answer from %s within %.3g s", client->place.text,
                (double)client->max_time / (double)USEC_PER_SEC);
}

static int fail_connect(struct exchange *exchange, int number)
{
    const char *place = exchange->client->place.text;
    struct answer *answer = exchange->answer;
    bool is_unix = exchange->client->place.sa.ss_family == AF_UNIX;
    if (number == ENOENT && is_unix)
        return fail(answer, "there is no socket %s: is kaproxy running, and [admin] set?", place);
    if ((number == EACCES || number == EPERM) && is_unix)
        return fail(answer,
                    "no permission to connect to %s: socket_mode, socket_user and socket_group "
                    "of [admin] say who may",
                    place);
    if (number == ECONNREFUSED)
        return fail(answer, "connection refused by %s: is kaproxy running%s?", place,
                    is_unix ? "" : ", and [admin] set");
    return fail(answer, "cannot connect to %s: %s", place, strerror(number));
}

static int try_connect(struct exchange *exchange)
{
    const struct listen_address *place = &exchange->client->place;
    exchange->fd = socket(place->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (exchange->fd < 0)
        return errno;
    if (connect(exchange->fd, (const struct sockaddr *)&place->sa, place->length) == 0)
        return 0;
    return errno;
}

static int open_socket(struct exchange *exchange)
{
    int number;
    while ((number = try_connect(exchange)) == EAGAIN) {
        close(exchange->fd);
        exchange->fd = -1;
        if (client_now() >= exchange->until || !client_sleep(exchange->client, AGAIN))
            return wait_ready(exchange, 0);
    }
    if (number != 0 && number != EINPROGRESS)
        return fail_connect(exchange, number);
    if (wait_ready(exchange, POLLOUT) < 0)
        return -1;
    socklen_t size = sizeof(number);
    if (getsockopt(exchange->fd, SOL_SOCKET, SO_ERROR, &number, &size) < 0)
        number = errno;
    return number == 0 ? 0 : fail_connect(exchange, number);
}

/* A peer that does not read all of it may have responded already. */
static int send_all(struct exchange *exchange, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(exchange->fd, data, length, MSG_NOSIGNAL);
        if (sent >= 0) {
            data += sent;
            length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (wait_ready(exchange, POLLOUT) < 0)
                return -1;
        } else if (errno != EINTR) {
            return 0;
        }
    }
    return 0;
}

static int send_request(struct exchange *exchange, const char *method, const char *target,
                        const char *accept)
{
    const struct listen_address *place = &exchange->client->place;
    bool is_unix = place->sa.ss_family == AF_UNIX;
    bool is_post = strcmp(method, "POST") == 0;
    char text[4096];
    int length = snprintf(text, sizeof(text),
                          "%s %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: kaproxyctl/" PACKAGE_VERSION
                          "\r\nAccept: %s\r\n%s\r\n",
                          method, target, is_unix ? "localhost" : place->text, accept,
                          is_post ? "Kaproxy-Control: yes\r\nContent-Length: 0\r\n" : "");
    exchange->request.method = is_post ? HTTP1_POST : HTTP1_GET;
    if (length < 0 || (size_t)length >= sizeof(text))
        return fail(exchange->answer, "the names are too long");
    return send_all(exchange, text, (size_t)length);
}

/* What was read of the header. 1: it is complete, and what follows it is left; 0: more is needed;
 * -1: error. */
static int take_head(struct exchange *exchange, struct buffer *buffer)
{
    for (;;) {
        switch (http1_head_parse(&exchange->head, buffer_data(buffer), buffer_length(buffer))) {
        case HTTP1_MORE:
            return 0;
        case HTTP1_DONE:
            break;
        default:
            return fail(exchange->answer, "what answers at %s is not kaproxy: %s",
                        exchange->client->place.text, exchange->head.bad_text);
        }
        buffer_consume(buffer, exchange->head.length);
        if (!http1_head_is_interim(&exchange->head))
            return 1;
        http1_response_begin(&exchange->head, &exchange->request);
    }
}

static int take_body(struct exchange *exchange, struct buffer *buffer)
{
    struct answer *answer = exchange->answer;
    enum http1_result result = HTTP1_MORE;
    while (result == HTTP1_MORE) {
        struct http1_piece piece;
        result =
            http1_body_feed(&exchange->framing, buffer_data(buffer), buffer_length(buffer), &piece);
        if (result == HTTP1_BAD)
            return fail(answer, "what answers at %s is not kaproxy: %s",
                        exchange->client->place.text, exchange->framing.bad_text);
        if (buffer_length(&answer->body) + piece.length > CLIENT_ANSWER_MAX)
            return fail(answer, "the answer from %s is larger than %d MiB",
                        exchange->client->place.text, CLIENT_ANSWER_MAX / (1024 * 1024));
        if (piece.length > 0 &&
            buffer_append(&answer->body, buffer_data(buffer) + piece.start, piece.length) < 0)
            return fail(answer, "out of memory");
        if (piece.consumed == 0)
            break;
        buffer_consume(buffer, piece.consumed);
        if (buffer_length(buffer) == 0)
            break;
    }
    exchange->is_whole = result == HTTP1_DONE || result == HTTP1_TRAILER;
    return 0;
}

static int take(struct exchange *exchange, struct buffer *buffer)
{
    if (!exchange->has_head) {
        int result = take_head(exchange, buffer);
        if (result <= 0)
            return result;
        exchange->has_head = true;
        exchange->answer->status = exchange->head.status;
        http1_body_begin(&exchange->framing, HTTP1_KIND_RESPONSE, exchange->head.framing,
                         exchange->head.content_length);
    }
    return take_body(exchange, buffer);
}

static int take_end(struct exchange *exchange, int number)
{
    const char *place = exchange->client->place.text;
    exchange->is_whole =
        number == 0 && exchange->has_head && http1_body_whole_at_close(&exchange->framing);
    if (exchange->is_whole)
        return 0;
    if (exchange->has_head || exchange->head.scanned > 0)
        return fail(exchange->answer, "the answer from %s was cut off", place);
    return fail(exchange->answer, "%s closed the connection without an answer%s%s", place,
                number == 0 ? "" : ": ", number == 0 ? "" : strerror(number));
}

static int read_answer(struct exchange *exchange, struct buffer *buffer)
{
    http1_response_begin(&exchange->head, &exchange->request);
    while (!exchange->is_whole) {
        if (wait_ready(exchange, POLLIN) < 0)
            return -1;
        char *room = buffer_reserve(buffer, READ_SIZE);
        if (room == NULL)
            return fail(exchange->answer, "out of memory");
        ssize_t length = recv(exchange->fd, room, READ_SIZE, 0);
        int result = 0;
        if (length > 0) {
            buffer_extend(buffer, (size_t)length);
            result = take(exchange, buffer);
        } else if (length == 0 || (errno != EAGAIN && errno != EINTR)) {
            result = take_end(exchange, length == 0 ? 0 : errno);
        }
        if (result < 0)
            return -1;
    }
    return 0;
}

int client_ask(const struct client *client, const char *method, const char *target,
               const char *accept, struct answer *answer)
{
    struct exchange exchange = {
        .client = client, .answer = answer, .until = client_now() + client->max_time, .fd = -1};
    struct buffer buffer = {.memory = NULL};
    *answer = (struct answer){.status = 0};
    int result = open_socket(&exchange);
    if (result == 0)
        result = send_request(&exchange, method, target, accept);
    if (result == 0)
        result = read_answer(&exchange, &buffer);
    if (exchange.fd >= 0)
        close(exchange.fd);
    buffer_clear(&buffer);
    if (result < 0)
        buffer_clear(&answer->body);
    return result;
}
