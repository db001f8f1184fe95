/* SPDX-License-Identifier: ISC */
/* What GET shows. */
#include "admin/admin_internal.h"

#include <event2/keyvalq_struct.h>
#include <string.h>
#include <time.h>

#include "admin/exposition.h"
#include "admin/page.h"
#include "admin/status.h"

static const char *header(const struct admin_connection *connection, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(connection->request), name);
}

static void show_metrics(struct admin_connection *connection)
{
    const struct admin *admin = connection->admin;
    bool openmetrics = exposition_wants_openmetrics(header(connection, "Accept"));
    struct evbuffer *body = evbuffer_new();
    if (body != NULL && exposition_write(body, &admin->ops, &admin->view, openmetrics) < 0) {
        evbuffer_free(body);
        body = NULL;
    }
    admin_add_header(connection, "Vary", "Accept");
    admin_answer(connection, 200, openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT, body);
}

static void show_alive(struct admin_connection *connection)
{
    const struct admin_ops *ops = &connection->admin->ops;
    usec_t unanswered = ops->unanswered(ops->arg);
    if (unanswered < ADMIN_LOOP_DEAD)
        admin_say(connection, 200, "ok");
    else
        admin_say(connection, 503, "the loop that carries clients has not answered for %d s",
                  (int)(unanswered / USEC_PER_SEC));
}

static void show_ready(struct admin_connection *connection)
{
    const struct admin_ops *ops = &connection->admin->ops;
    switch (ops->life(ops->arg)) {
    case ADMIN_SERVING:
        admin_say(connection, 200, "ready");
        break;
    case ADMIN_DRAINING:
        admin_say(connection, 503, "draining: no listener accepts clients; resume ends that");
        break;
    case ADMIN_STOPPING:
        admin_say(connection, 503, "stopping: sessions may finish, no other clients are accepted");
        break;
    }
}

static void show_file(struct admin_connection *connection, const struct page_file *file)
{
    struct evbuffer *body = evbuffer_new();
    if (body != NULL && evbuffer_add_reference(body, file->text, file->length, NULL, NULL) < 0) {
        evbuffer_free(body);
        body = NULL;
    }
    admin_answer(connection, 200, file->type, body);
}

void admin_show(struct admin_connection *connection, const char *path)
{
    for (size_t i = 0; i < PAGE_FILES; i++) {
        if (strcmp(page_files[i].path, path) == 0) {
            show_file(connection, &page_files[i]);
            return;
        }
    }
    if (strcmp(path, "/metrics") == 0)
        show_metrics(connection);
    else if (strcmp(path, "/livez") == 0)
        show_alive(connection);
    else if (strcmp(path, "/readyz") == 0)
        show_ready(connection);
    else
        admin_want_snapshot(connection); /* "/" and "/status" */
}

static const struct evhttp_uri *uri_of(const struct admin_connection *connection)
{
    return evhttp_request_get_evhttp_uri(connection->request);
}

/* Was /status?sessions=1 requested? */
static bool wants_sessions(const struct admin_connection *connection)
{
    const char *query = evhttp_uri_get_query(uri_of(connection));
    struct evkeyvalq fields;
    if (query == NULL || evhttp_parse_query_str(query, &fields) < 0)
        return false;
    const char *value = evhttp_find_header(&fields, "sessions");
    bool wants = value != NULL && strcmp(value, "0") != 0;
    evhttp_clear_headers(&fields);
    return wants;
}

static usec_t longer(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

static json_t *status_of(const struct admin *admin, bool show_sessions)
{
    const struct admin_snapshots *snapshots = &admin->snapshots;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    struct status_input input = {
        .ops = &admin->ops,
        .view = &admin->view,
        .history = admin->history,
        .unanswered = admin->ops.unanswered(admin->ops.arg),
        .now = admin_now(),
        .unix_now = ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000,
        .log_errors = {log_target_error(0), log_target_error(1)},
        .show_sessions = show_sessions,
    };
    if (snapshots->asked != NULL)
        input.unanswered = longer(input.unanswered, input.now - snapshots->asked_at);
    if (snapshots->is_late) /* by a timer, whose clock is less exact than ours */
        input.unanswered = longer(input.unanswered, STATUS_STALLED);
    input.snapshot = admin_last_snapshot(admin, &input.snapshot_age);
    return status_new(&input);
}

static struct evbuffer *page_of(const struct admin *admin)
{
    json_t *status = status_of(admin, false);
    struct evbuffer *body = status != NULL ? evbuffer_new() : NULL;
    if (body != NULL && page_write(body, status) < 0) {
        evbuffer_free(body);
        body = NULL;
    }
    json_decref(status);
    return body;
}

void admin_show_status(struct admin_connection *connection)
{
    const struct admin *admin = connection->admin;
    const char *path = evhttp_uri_get_path(uri_of(connection));
    if (strcmp(path, "/") != 0) {
        admin_answer_json(connection, 200, status_of(admin, wants_sessions(connection)));
        return;
    }
    admin_add_header(connection, "Content-Security-Policy", PAGE_POLICY);
    admin_add_header(connection, "Referrer-Policy", "no-referrer");
    admin_answer(connection, 200, PAGE_TYPE, page_of(admin));
}
