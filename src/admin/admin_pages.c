/* GET: what there is to see. */
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/admin_internal.h"
#include "admin/exposition.h"
#include "admin/page.h"
#include "admin/status.h"

/* The loop is dead, for a supervisor that ends what is. */
#define DEAD (10 * USEC_PER_SEC)

typedef void serve_page(struct admin *admin, struct evhttp_request *request);

static void serve_metrics(struct admin *admin, struct evhttp_request *request)
{
    const char *accept = evhttp_find_header(evhttp_request_get_input_headers(request), "Accept");
    bool openmetrics = exposition_wants_openmetrics(accept);
    struct evbuffer *body = evbuffer_new();
    admin->ops->ping(admin->ops->arg);
    if (body == NULL || exposition_write(body, admin->ops, openmetrics) < 0)
        admin_reply_text(admin, request, 503, "out of memory");
    else
        admin_reply(admin, request, 200, openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT,
                    NULL, body);
    if (body != NULL)
        evbuffer_free(body);
}

static bool asks_for_sessions(struct evhttp_request *request)
{
    struct evkeyvalq query;
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    if (text == NULL || evhttp_parse_query_str(text, &query) < 0)
        return false;
    const char *value = evhttp_find_header(&query, "sessions");
    bool asks = value != NULL && strcmp(value, "0") != 0;
    evhttp_clear_headers(&query);
    return asks;
}

static void serve_later(struct admin *admin, struct evhttp_request *request, bool json)
{
    struct admin_pending *pending = calloc(1, sizeof(*pending));
    if (pending == NULL) {
        admin_reply_text(admin, request, 503, "out of memory");
        return;
    }
    pending->json = json;
    pending->sessions = json && asks_for_sessions(request);
    admin_pending_begin(pending, admin, request);
    TAILQ_INSERT_TAIL(&admin->waiting, pending, link);
    admin_want_snapshot(admin);
}

static void serve_status(struct admin *admin, struct evhttp_request *request)
{
    serve_later(admin, request, true);
}

static void serve_page_later(struct admin *admin, struct evhttp_request *request)
{
    serve_later(admin, request, false);
}

static void serve_livez(struct admin *admin, struct evhttp_request *request)
{
    usec_t unanswered = admin->ops->unanswered(admin->ops->arg);
    admin->ops->ping(admin->ops->arg);
    if (unanswered > DEAD)
        admin_reply_text(admin, request, 503,
                         "the loop that carries clients has not answered for %d s",
                         (int)(unanswered / USEC_PER_SEC));
    else
        admin_reply_text(admin, request, 200, "alive");
}

static void serve_readyz(struct admin *admin, struct evhttp_request *request)
{
    switch (admin->ops->life(admin->ops->arg)) {
    case ADMIN_SERVING:
        admin_reply_text(admin, request, 200, "ready");
        break;
    case ADMIN_DRAINING:
        admin_reply_text(admin, request, 503, "draining: no listener accepts clients");
        break;
    case ADMIN_STOPPING:
        admin_reply_text(admin, request, 503, "stopping");
        break;
    }
}

static const struct {
    const char *path;
    serve_page *serve;
} pages[] = {
    {"/", serve_page_later}, {"/status", serve_status}, {"/metrics", serve_metrics},
    {"/livez", serve_livez}, {"/readyz", serve_readyz},
};

static const struct page_file *file_at(const char *path)
{
    for (size_t i = 0; i < PAGE_FILES; i++) {
        if (strcmp(page_files[i].path, path) == 0)
            return &page_files[i];
    }
    return NULL;
}

static void serve_file(struct admin *admin, struct evhttp_request *request,
                       const struct page_file *file)
{
    struct evbuffer *body = evbuffer_new();
    if (body == NULL || evbuffer_add_reference(body, file->text, file->length, NULL, NULL) < 0)
        admin_reply_text(admin, request, 503, "out of memory");
    else
        admin_reply(admin, request, 200, file->type, NULL, body);
    if (body != NULL)
        evbuffer_free(body);
}

bool admin_pages_serve(struct admin *admin, struct evhttp_request *request, const char *path)
{
    const struct page_file *file = file_at(path);
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(pages[i].path, path) == 0) {
            pages[i].serve(admin, request);
            return true;
        }
    }
    if (file != NULL)
        serve_file(admin, request, file);
    return file != NULL;
}

bool admin_pages_have(const char *path)
{
    bool have = file_at(path) != NULL;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        have |= strcmp(pages[i].path, path) == 0;
    return have;
}

static int64_t unix_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

static json_t *make_status(struct admin *admin, bool sessions)
{
    const struct admin_ops *ops = admin->ops;
    const struct status_input input = {
        .ops = ops,
        .history = admin->history,
        .snapshot = admin->last.taken_at != 0 ? &admin->last : NULL,
        .snapshot_age = admin->last.taken_at != 0 ? unix_now() - admin->last.taken_at : 0,
        .unanswered = ops->unanswered(ops->arg),
        .now = admin_now(),
        .unix_now = unix_now(),
        .show_sessions = sessions,
    };
    return status_new(&input);
}

static void answer_page(struct admin *admin, struct evhttp_request *request, json_t *status)
{
    struct evbuffer *body = evbuffer_new();
    if (status == NULL || body == NULL || page_write(body, status) < 0)
        admin_reply_text(admin, request, 503, "out of memory");
    else
        admin_reply(admin, request, 200, PAGE_TYPE, PAGE_POLICY, body);
    if (body != NULL)
        evbuffer_free(body);
    json_decref(status);
}

/* Those who leave at the sight of their answer take others with them at the most: each is taken
 * off the list first. */
void admin_pages_answer(struct admin *admin)
{
    struct admin_pending *pending;
    while ((pending = TAILQ_FIRST(&admin->waiting)) != NULL) {
        TAILQ_REMOVE(&admin->waiting, pending, link);
        struct evhttp_request *request = admin_pending_end(pending);
        if (request != NULL && pending->json)
            admin_reply_json(admin, request, 200, make_status(admin, pending->sessions));
        else if (request != NULL)
            answer_page(admin, request, make_status(admin, false));
        free(pending);
    }
}
