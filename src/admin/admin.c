/* SPDX-License-Identifier: ISC */
/* Creates the server of the admin pages, and ends it. */
#include "admin/admin_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* The size of a request that evhttp accepts. */
#define HEAD_MAX 8192
#define BODY_MAX 4096

/* How often the loop is pinged. */
#define TICK USEC_PER_SEC

usec_t admin_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

void admin_on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct admin *admin = arg;
    usec_t now = admin_now();
    (void)fd;
    (void)what;
    admin->ops.ping(admin->ops.arg);
    admin_accept_again(admin); /* in case there was no memory to try it sooner */
    if (now - admin->sampled_at < HISTORY_INTERVAL)
        return;
    admin->sampled_at = now;
    history_sample(admin->history, now);
}

/* Copies from before a time without ticks are not of the last minute. */
int admin_start_tick(struct admin *admin)
{
    const struct timeval tick = {.tv_sec = TICK / USEC_PER_SEC};
    if (event_pending(&admin->tick, EV_TIMEOUT, NULL))
        return 0;
    if (event_add(&admin->tick, &tick) < 0)
        return -1;
    admin->sampled_at = admin_now();
    history_restart(admin->history, admin->sampled_at);
    return 0;
}

void admin_stop_tick(struct admin *admin)
{
    event_del(&admin->tick);
}

struct admin *admin_new(struct event_base *base)
{
    struct admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL)
        return NULL;
    admin->base = base;
    admin->is_open = true;
    TAILQ_INIT(&admin->orders);
    return admin;
}

/* All methods, known or not, come to us, to be rejected in our words; except for CONNECT, whose
 * target evhttp parses in another way. */
#define METHODS (UINT16_MAX & ~EVHTTP_REQ_CONNECT)

static struct evhttp *http_new(struct admin *admin)
{
    const struct timeval limit = {.tv_sec = ADMIN_AGE_MAX / USEC_PER_SEC};
    struct evhttp *http = evhttp_new(admin->base);
    if (http == NULL)
        return NULL;
    evhttp_set_allowed_methods(http, METHODS);
    evhttp_set_max_headers_size(http, HEAD_MAX);
    evhttp_set_max_body_size(http, BODY_MAX);
    evhttp_set_default_content_type(http, NULL);
    evhttp_set_timeout_tv(http, &limit); /* for a connection that there was no memory to watch */
    evhttp_set_gencb(http, admin_on_request, admin);
    return http;
}

/* Begins with the view it was given before. 0, or -1 with errno. */
static int start_sockets(struct admin *admin)
{
    size_t count = admin->socket_count;
    struct bound_socket **sockets = calloc(count + 1, sizeof(*sockets));
    int result = -1;
    for (size_t i = 0; sockets != NULL && i < count; i++)
        sockets[i] = admin->sockets[i].bound;
    if (sockets != NULL)
        result = admin_set_sockets(admin, sockets, count);
    free(sockets);
    return result;
}

int admin_start(struct admin *admin, const struct admin_ops *ops, const struct admin_view *view)
{
    admin->ops = *ops;
    event_assign(&admin->tick, admin->base, -1, EV_PERSIST, admin_on_tick, admin);
    admin_snapshots_init(admin);
    if (admin_set_view(admin, view) < 0)
        return -1;
    admin->http = http_new(admin);
    if (admin->http == NULL) {
        errno = ENOMEM;
        return -1;
    }
    admin_connections_start(admin);
    return start_sockets(admin);
}

void admin_free(struct admin *admin)
{
    if (admin == NULL)
        return;
    if (event_initialized(&admin->tick))
        event_del(&admin->tick);
    if (admin->http != NULL)
        evhttp_free(admin->http);
    admin_connections_clear(admin);
    admin_orders_clear(admin);
    admin_snapshots_clear(admin);
    history_free(admin->history);
    free(admin->blocks);
    free(admin);
}
