/* The admin server's sockets, its routes, and its questions to the worker. */
#include "admin/admin.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin_internal.h"
#include "base/log.h"

/* What a request may have. */
#define HEAD_MAX 8192
#define BODY_MAX 4096

/* How old a snapshot may be, and how long one is waited for. */
#define FRESH USEC_PER_SEC

#define PATHS                                                                                      \
    "/, /status, /metrics, /livez, /readyz, and POST to /pause, /resume, /reconnect, "             \
    "/drain, /log-level"

usec_t admin_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

/* Sockets */

struct admin *admin_new(const struct config *config)
{
    const struct config_admin *settings = &config->admin;
    size_t count = settings->addresses.count;
    struct admin *admin = calloc(1, sizeof(*admin) + count * sizeof(*admin->sockets));
    if (admin == NULL) {
        log_error("cannot start: %s", strerror(errno));
        return NULL;
    }
    admin->config = config;
    TAILQ_INIT(&admin->clients.list);
    TAILQ_INIT(&admin->waiting);
    TAILQ_INIT(&admin->posts);
    for (size_t i = 0; i < count; i++) {
        struct admin_socket *socket = &admin->sockets[i];
        const struct listen_address *address = &settings->addresses.list[i].address;
        const char *error;
        socket->admin = admin;
        if (bound_socket_open(&socket->socket, address, &settings->socket.file, &error) < 0) {
            log_error("admin: cannot listen on %s: %s", address->text, error);
            admin_free(admin);
            return NULL;
        }
        admin->socket_count++;
        log_notice("listening on %s (admin)", address->text);
    }
    return admin;
}

void admin_set_accepting(struct admin *admin, bool accepting)
{
    if (accepting == admin->accepting)
        return;
    admin->accepting = accepting;
    for (size_t i = 0; i < admin->socket_count; i++) {
        if (admin->sockets[i].listener == NULL)
            continue;
        if (accepting)
            evconnlistener_enable(admin->sockets[i].listener);
        else
            evconnlistener_disable(admin->sockets[i].listener);
    }
}

/* For want of descriptors, as a rule: the sweep tries again. */
static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    struct admin *admin = arg;
    (void)listener;
    admin_set_accepting(admin, false);
    event_add(&admin->sweep, &(struct timeval){.tv_sec = 1});
}

/* evhttp closes what it listens on, and so gets a descriptor of its own. 0, or -1 with errno. */
static int listen_on(struct admin *admin, struct admin_socket *socket)
{
    int fd = fcntl(socket->socket.fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socket->listener = evconnlistener_new(admin->base, NULL, NULL,
                                          LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE, 0, fd);
    if (socket->listener == NULL) {
        close(fd);
        return -1;
    }
    evconnlistener_set_error_cb(socket->listener, on_accept_failed);
    if (evhttp_bind_listener(admin->http, socket->listener) == NULL) {
        evconnlistener_free(socket->listener);
        socket->listener = NULL;
        return -1;
    }
    return 0;
}

/* Snapshots */

static void free_snapshot(struct snapshot *snapshot)
{
    free(snapshot->hosts);
    free(snapshot->listeners);
    free(snapshot->sessions);
    *snapshot = (struct snapshot){.taken_at = 0};
}

static size_t count_hosts(const struct admin_ops *ops)
{
    return ops->config->listener_count; /* there are no more */
}

/* 0, or -1 with ENOMEM. */
static int make_snapshot(struct snapshot *snapshot, const struct admin_ops *ops)
{
    *snapshot = (struct snapshot){.host_count = count_hosts(ops),
                                  .listener_count = ops->config->listener_count,
                                  .session_count = SNAPSHOT_SESSIONS_MAX};
    snapshot->hosts = calloc(snapshot->host_count + 1, sizeof(*snapshot->hosts));
    snapshot->listeners = calloc(snapshot->listener_count + 1, sizeof(*snapshot->listeners));
    snapshot->sessions = calloc(snapshot->session_count, sizeof(*snapshot->sessions));
    if (snapshot->hosts != NULL && snapshot->listeners != NULL && snapshot->sessions != NULL)
        return 0;
    free_snapshot(snapshot);
    return -1;
}

static void on_snapshot(struct snapshot_request *request)
{
    struct admin *admin = container_of(request, struct admin, request);
    admin->asked = false;
    if (request->snapshot.taken_at == 0) { /* the worker has ended */
        free_snapshot(&request->snapshot);
    } else {
        free_snapshot(&admin->last);
        admin->last = request->snapshot;
        admin->last_at = admin_now();
    }
    request->snapshot = (struct snapshot){.taken_at = 0};
    event_del(&admin->overdue);
    admin_pages_answer(admin);
}

static void on_overdue(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    admin_pages_answer(arg);
}

void admin_want_snapshot(struct admin *admin)
{
    bool fresh = admin->last_at != 0 && admin_now() - admin->last_at < FRESH;
    if (!admin->asked && (fresh || make_snapshot(&admin->request.snapshot, admin->ops) < 0)) {
        admin_pages_answer(admin);
        return;
    }
    if (!event_pending(&admin->overdue, EV_TIMEOUT, NULL))
        event_add(&admin->overdue, &(struct timeval){.tv_sec = FRESH / USEC_PER_SEC});
    if (admin->asked)
        return;
    admin->asked = true;
    admin->request.done = on_snapshot;
    admin->ops->ping(admin->ops->arg);
    admin->ops->snapshot(admin->ops->arg, &admin->request);
}

/* Requests */

static void refuse_method(struct admin *admin, struct evhttp_request *request, const char *allow)
{
    evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", allow);
    admin_reply_text(admin, request, 405, "this path takes %s alone", allow);
}

static void on_request(struct evhttp_request *request, void *arg)
{
    struct admin *admin = arg;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *path = uri != NULL ? evhttp_uri_get_path(uri) : NULL;
    bool reads = (evhttp_request_get_command(request) & (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD)) != 0;
    bool posts = evhttp_request_get_command(request) == EVHTTP_REQ_POST;
    if (path == NULL || *path == '\0')
        path = "/";
    if (reads && admin_pages_serve(admin, request, path))
        return;
    if (posts && admin_control_serve(admin, request, path))
        return;
    if (admin_pages_have(path))
        refuse_method(admin, request, "GET, HEAD");
    else if (admin_control_has(path))
        refuse_method(admin, request, "POST");
    else
        admin_reply_text(admin, request, 404, "there is no such path; there are " PATHS);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct admin *admin = arg;
    (void)fd;
    (void)what;
    admin_clients_sweep(admin);
    if (admin->clients.count > 0 || !admin->accepting)
        event_add(&admin->sweep, &(struct timeval){.tv_sec = 1});
}

static void on_sample(evutil_socket_t fd, short what, void *arg)
{
    struct admin *admin = arg;
    (void)fd;
    (void)what;
    history_sample(admin->history, admin_now());
    admin->ops->ping(admin->ops->arg);
}

static void set_up_http(struct admin *admin)
{
    evhttp_set_max_headers_size(admin->http, HEAD_MAX);
    evhttp_set_max_body_size(admin->http, BODY_MAX);
    evhttp_set_timeout(admin->http, ADMIN_TIME / USEC_PER_SEC);
    evhttp_set_allowed_methods(admin->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                                EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                                EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_default_content_type(admin->http, NULL);
    evhttp_set_gencb(admin->http, on_request, admin);
}

int admin_start(struct admin *admin, struct event_base *base, const struct admin_ops *ops)
{
    if (admin->socket_count == 0)
        return 0;
    admin->ops = ops;
    admin->base = base;
    event_assign(&admin->sweep, base, -1, 0, on_sweep, admin);
    event_assign(&admin->overdue, base, -1, 0, on_overdue, admin);
    event_assign(&admin->sample, base, -1, EV_PERSIST, on_sample, admin);
    admin->history = history_new(ops->blocks, ops->block_count, admin_now());
    admin->http = evhttp_new(base);
    if (admin->history == NULL || admin->http == NULL)
        goto err;
    set_up_http(admin);
    admin_clients_init(admin);
    admin->accepting = true;
    for (size_t i = 0; i < admin->socket_count; i++) {
        if (listen_on(admin, &admin->sockets[i]) < 0)
            goto err;
    }
    if (event_add(&admin->sample, &(struct timeval){.tv_sec = HISTORY_INTERVAL / USEC_PER_SEC}) < 0)
        goto err;
    return 0;

err:
    log_error("admin: cannot start: %s", strerror(errno));
    return -1;
}

static void free_waiting(struct admin *admin)
{
    struct admin_pending *pending;
    struct admin_post *post;
    while ((pending = TAILQ_FIRST(&admin->waiting)) != NULL) {
        TAILQ_REMOVE(&admin->waiting, pending, link);
        free(pending);
    }
    while ((post = TAILQ_FIRST(&admin->posts)) != NULL) {
        TAILQ_REMOVE(&admin->posts, post, link);
        free(post);
    }
}

void admin_free(struct admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->base != NULL) {
        event_del(&admin->sweep);
        event_del(&admin->overdue);
        event_del(&admin->sample);
    }
    if (admin->http != NULL)
        evhttp_free(admin->http); /* with its listeners and connections */
    admin_clients_clear(admin);
    free_waiting(admin);
    for (size_t i = 0; i < admin->socket_count; i++)
        bound_socket_close(&admin->sockets[i].socket);
    history_free(admin->history);
    free_snapshot(&admin->last);
    free_snapshot(&admin->request.snapshot);
    free(admin);
}
