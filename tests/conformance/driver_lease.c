/* SPDX-License-Identifier: ISC */
/* Commands about the connection that a request holds. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "driver.h"

const char *driver_label(const struct driver *driver, const struct peer_conn *conn)
{
    if (driver->masked)
        return "@*";
    return conn != NULL && conn->label[0] != '\0' ? conn->label : "@?";
}

void request_identify(struct request *request)
{
    struct sockaddr_in local;
    socklen_t length = sizeof(local);
    int fd = request->allocation.stream->fd;
    if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
        return;
    request->conn = peer_find(&request->upstream->peer, &local);
    if (request->conn != NULL && request->conn->label[0] == '\0')
        snprintf(request->conn->label, sizeof(request->conn->label), "@%.30s", request->name);
}

/* The request of this name, if it holds a connection. */
static struct request *holder(struct driver *driver, const char *name)
{
    struct request *request = driver_request(driver, name);
    return request != NULL && request->allocation.stream != NULL ? request : NULL;
}

/* The same, if its socket is open; else the command is refused. */
static struct stream *open_stream(struct driver *driver, const struct words *words)
{
    const struct request *request = holder(driver, words_at(words, 1));
    if (request != NULL && request->allocation.stream->fd >= 0)
        return request->allocation.stream;
    trace_refused(driver);
    return NULL;
}

void command_free(struct driver *driver, const struct words *words)
{
    struct request *request = driver_request(driver, words_at(words, 1));
    if (request == NULL) {
        trace_refused(driver);
        return;
    }
    /* In the original this drops a reference: doing it again is not an error. */
    if (request->allocation.stream == NULL)
        return;
    pool_release(&request->allocation, RELEASE_PEEK);
    request->allocation.stream = NULL;
}

void command_close(struct driver *driver, const struct words *words)
{
    struct stream *stream = open_stream(driver, words);
    if (stream != NULL)
        stream_close(stream);
}

void command_half_close(struct driver *driver, const struct words *words)
{
    const struct stream *stream = open_stream(driver, words);
    if (stream != NULL)
        (void)shutdown(stream->fd, SHUT_RDWR);
}

void command_probe(struct driver *driver, const struct words *words)
{
    const struct request *request = holder(driver, words_at(words, 1));
    const char *state = "closed";
    if (request != NULL && request->allocation.stream->fd >= 0) {
        switch (stream_peek(request->allocation.stream)) {
        case PEEK_QUIET:
            state = "open";
            break;
        case PEEK_DATA:
            state = "data";
            break;
        case PEEK_EOF:
            state = "eof";
            break;
        case PEEK_ERROR:
            break;
        }
    }
    trace(driver, "= probe %s %s", words_at(words, 1), state);
}

void command_local_addr(struct driver *driver, const struct words *words)
{
    const struct stream *stream = open_stream(driver, words);
    struct sockaddr_in local;
    socklen_t length = sizeof(local);
    char text[INET_ADDRSTRLEN];
    if (stream == NULL)
        return;
    if (getsockname(stream->fd, (struct sockaddr *)&local, &length) < 0)
        driver_fail("getsockname");
    trace(driver, "= local-addr %s %s", words_at(words, 1),
          inet_ntop(AF_INET, &local.sin_addr, text, sizeof(text)));
}

/* Shown even if conns are masked: the set is what a scenario asks for when it is undefined who gets
 * which. */
void command_conn_set(struct driver *driver, const struct words *words)
{
    const char *labels[DRIVER_WORDS_MAX];
    size_t count = 0;
    for (size_t i = 1; i < words->count; i++) {
        const struct request *request = holder(driver, words->word[i]);
        if (request == NULL || request->conn == NULL)
            continue;
        size_t known = 0;
        while (known < count && strcmp(labels[known], request->conn->label) != 0)
            known++;
        if (known == count)
            labels[count++] = request->conn->label;
    }
    trace_sorted(driver, "= conn-set", labels, count, "none");
}
