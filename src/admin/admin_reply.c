/* Answers of the admin server. */
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_internal.h"

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

/* evhttp would send a body to HEAD as well. */
static void send_reply(struct evhttp_request *request, int status, struct evbuffer *body)
{
    char length[24];
    if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD) {
        evhttp_send_reply(request, status, reason(status), body);
        return;
    }
    snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Length", length);
    evhttp_send_reply(request, status, reason(status), NULL);
}

void admin_reply(struct admin *admin, struct evhttp_request *request, int status, const char *type,
                 const char *policy, struct evbuffer *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Content-Type", type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    if (policy != NULL)
        evhttp_add_header(headers, "Content-Security-Policy", policy);
    admin_clients_answered(admin, request);
    send_reply(request, status, body);
}

static void reply_without_memory(struct evhttp_request *request)
{
    evhttp_send_reply(request, 503, reason(503), NULL);
}

void admin_reply_json(struct admin *admin, struct evhttp_request *request, int status,
                      json_t *object)
{
    struct evbuffer *body = evbuffer_new();
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (body == NULL || text == NULL || evbuffer_add_printf(body, "%s\n", text) < 0)
        reply_without_memory(request);
    else
        admin_reply(admin, request, status, "application/json", NULL, body);
    free(text);
    if (body != NULL)
        evbuffer_free(body);
}

static bool wants_json(struct evhttp_request *request)
{
    const char *accept = evhttp_find_header(evhttp_request_get_input_headers(request), "Accept");
    return accept != NULL && strstr(accept, "application/json") != NULL;
}

void admin_reply_text(struct admin *admin, struct evhttp_request *request, int status,
                      const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (wants_json(request)) {
        admin_reply_json(admin, request, status,
                         json_pack("{s:s%}", status < 400 ? "text" : "error", text, strlen(text)));
        return;
    }
    struct evbuffer *body = evbuffer_new();
    if (body == NULL || evbuffer_add_printf(body, "%s\n", text) < 0)
        reply_without_memory(request);
    else
        admin_reply(admin, request, status, "text/plain; charset=utf-8", NULL, body);
    if (body != NULL)
        evbuffer_free(body);
}

/* Later */

static void on_closed(struct evhttp_connection *connection, void *arg)
{
    struct admin_pending *pending = arg;
    (void)connection;
    pending->request = NULL;
}

void admin_pending_begin(struct admin_pending *pending, struct admin *admin,
                         struct evhttp_request *request)
{
    pending->admin = admin;
    pending->request = request;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_closed, pending);
}

struct evhttp_request *admin_pending_end(struct admin_pending *pending)
{
    struct evhttp_request *request = pending->request;
    if (request != NULL)
        evhttp_connection_set_closecb(evhttp_request_get_connection(request), NULL, NULL);
    pending->request = NULL;
    return request;
}
