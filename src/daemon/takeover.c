/* SPDX-License-Identifier: ISC */
/* What a new process sends to its predecessor, and receives from it. */
#include "daemon/takeover.h"

#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

/* Once it knows that we serve, a predecessor only has to inform the service manager. */
#define TIMEOUT 30

struct takeover {
    struct takeover_ops ops;
    int control;
    bool serving, is_main, is_alone;
    struct event word, deadline;
};

void takeover_say(int control, const char *word)
{
    ssize_t sent = send(control, word, strlen(word), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* there is room for many words */
}

int takeover_hear(int control, char word[TAKEOVER_WORD_MAX])
{
    ssize_t length = recv(control, word, TAKEOVER_WORD_MAX - 1, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    word[length < 0 ? 0 : length] = '\0';
    return length < 0 ? 0 : (int)length;
}

static void become_main(struct takeover *takeover)
{
    if (!takeover->serving || takeover->is_main)
        return;
    takeover->is_main = true;
    event_del(&takeover->deadline);
    takeover->ops.is_main(takeover->ops.arg);
}

static void on_end(struct takeover *takeover)
{
    if (!takeover->is_alone)
        log_notice("the previous process has ended");
    takeover->is_alone = true;
    event_del(&takeover->word);
    if (!takeover->serving) /* takeover_serving will handle it */
        return;
    become_main(takeover);
    takeover->ops.is_alone(takeover->ops.arg);
}

static void on_word(evutil_socket_t fd, short what, void *arg)
{
    struct takeover *takeover = arg;
    char word[TAKEOVER_WORD_MAX];
    (void)what;
    int length = takeover_hear((int)fd, word);
    if (length == 0)
        on_end(takeover);
    else if (length > 0 && strcmp(word, TAKEOVER_MAIN) == 0)
        become_main(takeover);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct takeover *takeover = arg;
    (void)fd;
    (void)what;
    if (takeover->is_alone) {
        on_end(takeover);
        return;
    }
    log_warning("the previous process does not respond");
    become_main(takeover);
}

struct takeover *takeover_new(struct event_base *base, int control, const struct takeover_ops *ops)
{
    struct takeover *takeover = calloc(1, sizeof(*takeover));
    if (takeover == NULL) {
        close(control);
        return NULL;
    }
    takeover->ops = *ops;
    takeover->control = control;
    event_assign(&takeover->word, base, control, EV_READ | EV_PERSIST, on_word, takeover);
    evtimer_assign(&takeover->deadline, base, on_deadline, takeover);
    if (event_add(&takeover->word, NULL) == 0)
        return takeover;
    takeover_free(takeover);
    errno = ENOMEM;
    return NULL;
}

void takeover_prepared(struct takeover *takeover)
{
    takeover_say(takeover->control, TAKEOVER_PREPARED);
}

void takeover_serving(struct takeover *takeover)
{
    const struct timeval time = {.tv_sec = takeover->is_alone ? 0 : TIMEOUT};
    takeover->serving = true;
    takeover_say(takeover->control, TAKEOVER_SERVING);
    if (event_add(&takeover->deadline, &time) < 0)
        event_active(&takeover->deadline, EV_TIMEOUT, 0);
}

void takeover_free(struct takeover *takeover)
{
    if (takeover == NULL)
        return;
    event_del(&takeover->word);
    event_del(&takeover->deadline);
    close(takeover->control);
    free(takeover);
}
