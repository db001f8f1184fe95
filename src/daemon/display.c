/* SPDX-License-Identifier: ISC */
/* Shows a configuration once there is memory for it. */
#include "daemon/display.h"

#include <errno.h>
#include <event2/event.h>

#include "base/log.h"

static const struct timeval retry_after = {.tv_sec = 1};

/* 0, or -1 with errno. */
static int listen_there(struct display *display)
{
    const struct generation *generation = display->generation;
    if (!display->listens &&
        admin_set_sockets(display->admin, generation->sockets + generation->admin_at,
                          generation->socket_count - generation->admin_at) < 0)
        return -1;
    display->listens = true;
    return 0;
}

/* 0, or -1 with errno. */
static int show_next(struct display *display)
{
    if (display->next == NULL)
        return 0;
    const struct admin_view *view = worker_view_get(display->next);
    if (admin_set_view(display->admin, view) < 0)
        return -1;
    supervision_set_blocks(display->supervision, view->blocks, view->block_count);
    worker_release_view(display->worker, display->view);
    display->view = display->next;
    display->next = NULL;
    return 0;
}

/* Independently: either works without the other. */
static void try(struct display *display)
{
    int error = listen_there(display) < 0 ? errno : 0;
    if (show_next(display) < 0)
        error = errno;
    if (error != 0) {
        if (!display->late)
            log_error("[admin]: cannot show the new configuration yet: %s", error_text(error));
        event_add(&display->retry, &retry_after);
    } else if (display->late) {
        log_notice("[admin]: shows the new configuration");
    }
    display->late = error != 0;
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    try(arg);
}

void display_init(struct display *display, struct event_base *base, struct worker *worker,
                  struct admin *admin, struct supervision *supervision, struct worker_view *view)
{
    *display = (struct display){.worker = worker,
                                .admin = admin,
                                .supervision = supervision,
                                .view = view,
                                .listens = true};
    evtimer_assign(&display->retry, base, on_retry, display);
}

static void release(struct display *display, struct worker_view **view)
{
    if (*view != NULL)
        worker_release_view(display->worker, *view);
    *view = NULL;
}

void display_set(struct display *display, const struct generation *generation,
                 struct worker_view *view)
{
    release(display, &display->next);
    display->generation = generation;
    display->next = view;
    display->listens = false;
    try(display);
}

const struct admin_view *display_get(const struct display *display)
{
    return worker_view_get(display->view);
}

void display_end(struct display *display)
{
    if (display->worker == NULL)
        return;
    event_del(&display->retry);
    release(display, &display->next);
    release(display, &display->view);
}
