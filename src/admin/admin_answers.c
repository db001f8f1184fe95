/* SPDX-License-Identifier: ISC */
/* Composes responses and hands them to evhttp. */
#include "admin/admin_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT "text/plain; charset=utf-8"
#define JSON "application/json"

#define SENTENCE_MAX 2048

void admin_add_header(struct admin_connection *connection, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(connection->request), name, value);
}

/* after this evhttp frees the request */
static void on_sent(struct evhttp_request *request, void *arg)
{
    struct admin_connection *connection = arg;
    (void)request;
    connection->state = ADMIN_READING;
    connection->request = NULL;
    connection->since = admin_now();
}

void admin_wait(struct admin_connection *connection)
{
    connection->state = ADMIN_WAITING;
}

void admin_answer(struct admin_connection *connection, int status, const char *type,
                  struct evbuffer *body)
{
    struct evhttp_request *request = connection->request;
    char length[24];
    if (body == NULL) {
        evhttp_connection_free(connection->http);
        return;
    }
    snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
    admin_add_header(connection, "Content-Type", type);
    admin_add_header(connection, "Content-Length", length);
    admin_add_header(connection, "Cache-Control", "no-store");
    admin_add_header(connection, "X-Content-Type-Options", "nosniff");
    if (evhttp_request_get_command(request) == EVHTTP_REQ_HEAD)
        evbuffer_drain(body, evbuffer_get_length(body));
    connection->state = ADMIN_SENDING;
    connection->order = NULL;
    connection->reload = NULL;
    evhttp_request_set_on_complete_cb(request, on_sent, connection);
    evhttp_send_reply(request, status, NULL, body);
    evbuffer_free(body);
}

static int add_json(const char *text, size_t length, void *arg)
{
    return evbuffer_add(arg, text, length);
}

void admin_answer_json(struct admin_connection *connection, int status, json_t *json)
{
    struct evbuffer *body = json != NULL ? evbuffer_new() : NULL;
    if (body != NULL &&
        (json_dump_callback(json, add_json, body, JSON_INDENT(1) | JSON_REAL_PRECISION(16)) < 0 ||
         evbuffer_add(body, "\n", 1) < 0)) {
        evbuffer_free(body);
        body = NULL;
    }
    json_decref(json);
    admin_answer(connection, status, JSON, body);
}

bool admin_wants_json(const struct admin_connection *connection)
{
    const char *accept =
        evhttp_find_header(evhttp_request_get_input_headers(connection->request), "Accept");
    return accept != NULL && strcasestr(accept, JSON) != NULL;
}

void admin_answer_text(struct admin_connection *connection, int status, const char *text)
{
    size_t length = strlen(text);
    const char *end = length > 0 && text[length - 1] == '\n' ? "" : "\n";
    struct evbuffer *body = evbuffer_new();
    if (body != NULL && evbuffer_add_printf(body, "%s%s", text, end) < 0) {
        evbuffer_free(body);
        body = NULL;
    }
    admin_answer(connection, status, TEXT, body);
}

void admin_say(struct admin_connection *connection, int status, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    if (admin_wants_json(connection)) {
        const char *name = status < 400 ? "text" : "error";
        admin_answer_json(connection, status, json_pack("{s:s}", name, sentence));
    } else {
        admin_answer_text(connection, status, sentence);
    }
}
