/* SPDX-License-Identifier: ISC */
/* Dials that are answered with a socketpair. */
#include "stub_dialer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "far.h"
#include "net/dialer.h"

struct dial {
    struct loop *loop;
    struct stream *stream;
    struct dial_handler *handler;
    struct task task;
    TAILQ_ENTRY(dial) link;
};

static enum stub_response response;
static TAILQ_HEAD(, dial) held = TAILQ_HEAD_INITIALIZER(held);

static void on_task(struct task *task)
{
    struct dial *dial = container_of(task, struct dial, task);
    struct dial_handler *handler = dial->handler;
    const struct failure refused = {
        .function = "connect", .number = ECONNREFUSED, .text = "Connection refused"};
    int fd = -1;
    if (response == STUB_HOLD)
        return;
    if (response == STUB_CONNECT)
        fd = far_open_upstream();
    if (fd >= 0) {
        stream_init(dial->stream, fd);
        REQUIRE(stream_watch(dial->stream, dial->loop) == 0);
    }
    TAILQ_REMOVE(&held, dial, link);
    free(dial);
    handler->done(handler, fd >= 0 ? NULL : &refused);
}

void stub_dialer_set(enum stub_response to)
{
    struct dial *dial;
    response = to;
    TAILQ_FOREACH (dial, &held, link)
        loop_post(dial->loop, &dial->task);
}

struct dial *dialer_start(struct loop *loop, struct resolver *resolver,
                          const struct endpoint *endpoint, const struct dial_options *options,
                          struct stream *stream, struct dial_handler *handler)
{
    struct dial *dial = calloc(1, sizeof(*dial));
    (void)resolver;
    (void)endpoint;
    (void)options;
    REQUIRE(dial != NULL);
    *dial = (struct dial){.loop = loop, .stream = stream, .handler = handler};
    dial->task.run = on_task;
    stream->fd = -1;
    TAILQ_INSERT_TAIL(&held, dial, link);
    loop_post(loop, &dial->task);
    return dial;
}

void dialer_cancel(struct dial *dial)
{
    if (dial == NULL)
        return;
    loop_unpost(dial->loop, &dial->task);
    TAILQ_REMOVE(&held, dial, link);
    free(dial);
}

void dialer_time_is_up(const struct dial *dial, const char *key, usec_t limit,
                       struct failure *failure)
{
    (void)dial;
    (void)limit;
    failure->function = "connect";
    failure->number = ETIMEDOUT;
    snprintf(failure->text, sizeof(failure->text), "no connection within %s", key);
}

bool dialer_is_connected(struct dial *dial)
{
    (void)dial;
    return false;
}

void dialer_last_try(struct dial *dial)
{
    (void)dial;
}

void dialer_limit(struct dial *dial, const char *key, usec_t limit)
{
    (void)dial;
    (void)key;
    (void)limit;
}

bool dialer_failed_here(const struct failure *failure)
{
    (void)failure;
    return false;
}
