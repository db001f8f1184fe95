/* Makes the server of the admin pages, and ends it. */
#include "admin/admin_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"

/* What evhttp takes of a request. */
#define HEAD_MAX 8192
#define BODY_MAX 4096

/* How often the loop is asked whether it is alive. */
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
    if (now - admin->sampled_at < HISTORY_INTERVAL)
        return;
    admin->sampled_at = now;
    history_sample(admin->history, now);
}

/* 0, or -1; then it was logged. */
static int bind_sockets(struct admin *admin)
{
    const struct config_admin *config = &admin->config->admin;
    admin->sockets = calloc(config->addresses.count, sizeof(*admin->sockets));
    if (admin->sockets == NULL) {
        log_error("[admin]: %s", strerror(errno));
        return -1;
    }
    for (size_t i = 0; i < config->addresses.count; i++) {
        const struct listen_address *address = &config->addresses.list[i].address;
        struct admin_socket *admin_socket = &admin->sockets[i];
        const char *error;
        admin_socket->admin = admin;
        admin_socket->bound = bound_socket_open(address, &config->socket.file, &error);
        if (admin_socket->bound == NULL) {
            log_error("[admin]: cannot listen on %s: %s", address->text, error);
            return -1;
        }
        admin->socket_count++;
        log_notice("listening on %s (admin pages)", address->text);
    }
    return 0;
}

struct admin *admin_new(struct event_base *base, const struct config *config)
{
    struct admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL) {
        log_error("[admin]: %s", strerror(errno));
        return NULL;
    }
    admin->base = base;
    admin->config = config;
    TAILQ_INIT(&admin->orders);
    if (bind_sockets(admin) == 0)
        return admin;
    admin_free(admin);
    return NULL;
}

/* All methods, known or not, come to us, to be refused in our words; but for CONNECT, of which
 * evhttp takes apart the target in another way. */
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

int admin_start(struct admin *admin, const struct admin_ops *ops)
{
    const struct timeval tick = {.tv_sec = TICK / USEC_PER_SEC};
    admin->ops = *ops;
    admin->sampled_at = admin_now();
    admin->history = history_new(ops->blocks, ops->block_count, admin->sampled_at);
    admin->http = http_new(admin);
    if (admin->history == NULL || admin->http == NULL || admin_snapshots_init(admin) < 0) {
        errno = ENOMEM;
        return -1;
    }
    event_assign(&admin->tick, admin->base, -1, EV_PERSIST, admin_on_tick, admin);
    if (event_add(&admin->tick, &tick) < 0)
        return -1;
    return admin_connections_start(admin);
}

void admin_free(struct admin *admin)
{
    if (admin == NULL)
        return;
    if (event_initialized(&admin->tick))
        event_del(&admin->tick);
    admin_connections_stop(admin);
    if (admin->http != NULL)
        evhttp_free(admin->http);
    admin_connections_clear(admin);
    admin_orders_clear(admin);
    admin_snapshots_clear(admin);
    history_free(admin->history);
    for (size_t i = 0; i < admin->socket_count; i++)
        bound_socket_unref(admin->sockets[i].bound);
    free(admin->sockets);
    free(admin);
}
