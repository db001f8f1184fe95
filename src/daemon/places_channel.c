/* SPDX-License-Identifier: ISC */
/* Messages about places, over a socket. */
#include "daemon/places_channel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

#define MESSAGE_MAX (PLACES_KEY_MAX + 128)

/* How many are read in one run. */
#define PIECE 64

/* A number and the space after it. */
static bool take_number(const char **text, uint64_t most, uint64_t *number)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    unsigned long long value = strtoull(*text, &end, 10);
    if (errno != 0 || value > most || *end != ' ')
        return false;
    *text = end + 1;
    *number = value;
    return true;
}

static bool take_places(const char **text, unsigned *places)
{
    uint64_t number;
    if (!take_number(text, PLACES_MOST, &number))
        return false;
    *places = (unsigned)number;
    return true;
}

/* Three parts, the last one a digest, all of printable characters. */
static bool is_key(const char *key)
{
    unsigned tabs = 0;
    const char *part = key, *c;
    for (c = key; *c != '\0'; c++) {
        if (*c == '\t') {
            tabs++;
            part = c + 1;
        } else if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) {
            return false;
        }
    }
    return tabs == 2 && strspn(part, "0123456789abcdef") == 2 * TLS_DIGEST_SIZE &&
           strlen(part) == 2 * TLS_DIGEST_SIZE && c - key < PLACES_KEY_MAX;
}

static bool take_word(const char **text, const char *word)
{
    size_t length = strlen(word);
    bool has = strncmp(*text, word, length) == 0;
    *text += has ? length : 0;
    return has;
}

static bool parse(const char *text, struct places_message *message)
{
    *message = (struct places_message){.kind = PLACES_ALL};
    if (strcmp(text, "all") == 0)
        return true;
    if (take_word(&text, "host "))
        message->kind = PLACES_HOST;
    else if (take_word(&text, "grant "))
        message->kind = PLACES_GRANT;
    else
        return false;
    if (!take_number(&text, UINT64_MAX, &message->seq) || message->seq == 0 ||
        !take_places(&text, &message->places))
        return false;
    if (message->kind == PLACES_HOST &&
        (!take_places(&text, &message->want) || !take_places(&text, &message->held)))
        return false;
    message->key = text;
    return is_key(text);
}

static void log_malformed(const char *text, size_t length)
{
    char quoted[2 * 256];
    log_quote(quoted, sizeof(quoted), text, length < 128 ? length : 128);
    log_warning("a message about places that cannot be understood is ignored: %s", quoted);
}

static void end(struct places_channel *channel)
{
    places_channel_clear(channel);
    channel->ended(channel);
}

/* False: there are no more. */
static bool receive(struct places_channel *channel)
{
    char text[MESSAGE_MAX + 1];
    struct places_message message;
    ssize_t length = recv(channel->fd, text, MESSAGE_MAX, MSG_DONTWAIT | MSG_TRUNC);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (length <= 0) {
        end(channel);
        return false;
    }
    size_t whole = (size_t)length < MESSAGE_MAX ? (size_t)length : MESSAGE_MAX;
    text[whole] = '\0';
    if ((size_t)length > MESSAGE_MAX || strlen(text) != whole || !parse(text, &message))
        log_malformed(text, whole);
    else
        channel->received(channel, &message);
    return channel->fd >= 0;
}

static void on_ready(struct watch *watch, uint32_t events)
{
    struct places_channel *channel = container_of(watch, struct places_channel, watch);
    for (int i = 0; i < PIECE && receive(channel); i++)
        continue;
    if (channel->fd < 0 || !channel->waits || (events & EPOLLOUT) == 0)
        return;
    channel->waits = false;
    if (loop_rewatch(channel->loop, &channel->watch, channel->fd, EPOLLIN) < 0)
        end(channel);
    else
        channel->writable(channel);
}

int places_channel_init(struct places_channel *channel, struct loop *loop, int fd)
{
    channel->loop = loop;
    channel->fd = fd;
    channel->waits = false;
    channel->watch.ready = on_ready;
    return loop_watch(loop, &channel->watch, fd, EPOLLIN);
}

void places_channel_clear(struct places_channel *channel)
{
    if (channel->fd < 0)
        return;
    loop_unwatch(channel->loop, &channel->watch, channel->fd, true);
    close(channel->fd);
    channel->fd = -1;
}

static size_t format(const struct places_message *message, char text[MESSAGE_MAX])
{
    switch (message->kind) {
    case PLACES_HOST:
        return (size_t)snprintf(text, MESSAGE_MAX, "host %" PRIu64 " %u %u %u %s", message->seq,
                                message->places, message->want, message->held, message->key);
    case PLACES_GRANT:
        return (size_t)snprintf(text, MESSAGE_MAX, "grant %" PRIu64 " %u %s", message->seq,
                                message->places, message->key);
    case PLACES_ALL:
        break;
    }
    return (size_t)snprintf(text, MESSAGE_MAX, "all");
}

bool places_channel_send(struct places_channel *channel, const struct places_message *message)
{
    char text[MESSAGE_MAX];
    if (channel->fd < 0 || channel->waits)
        return false;
    size_t length = format(message, text);
    if (send(channel->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return true;
    bool full = errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == EINTR;
    if (full && loop_rewatch(channel->loop, &channel->watch, channel->fd, EPOLLIN | EPOLLOUT) == 0)
        channel->waits = true;
    else
        end(channel);
    return false;
}

char *places_format_key(const struct pool *pool, const struct endpoint *endpoint,
                        char key[PLACES_KEY_MAX])
{
    char text[ENDPOINT_TEXT_MAX];
    size_t n = (size_t)snprintf(key, PLACES_KEY_MAX, "%s\t%s\t", pool_get_name(pool),
                                endpoint_format(endpoint, text));
    for (size_t i = 0; i < TLS_DIGEST_SIZE; i++)
        n += (size_t)snprintf(key + n, PLACES_KEY_MAX - n, "%02x", endpoint->tls_digest[i]);
    return key;
}
