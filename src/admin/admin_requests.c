/* SPDX-License-Identifier: ISC */
/* Which path does what, and which requests are rejected. */
#include "admin/admin_internal.h"

#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

#define READ_METHODS "GET, HEAD"

/* The paths of GET; for the others see command_name, and RELOAD. */
static const char *const pages[] = {"/",       "/metrics",   "/status", "/livez",
                                    "/readyz", "/style.css", "/page.js"};

#define RELOAD "/reload"

#define PATHS                                                                                      \
    "GET / /metrics /status /status?sessions=1 /livez /readyz, "                                   \
    "POST " RELOAD " /pause /resume /reconnect /drain /log-level"

static bool is_page(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(pages[i], path) == 0)
            return true;
    }
    return false;
}

/* COMMAND_VERBS: none. */
static enum command_verb find_verb(const char *path)
{
    enum command_verb verb = 0;
    while (verb < COMMAND_VERBS && (*path != '/' || strcmp(command_name(verb), path + 1) != 0))
        verb++;
    return verb;
}

static const char *header(const struct evhttp_request *request, const char *name)
{
    return evhttp_find_header(request->input_headers, name);
}

/* Does it have a body whose end evhttp finds in another way than others may, or that it does not
 * read? */
static bool has_odd_body(const struct evhttp_request *request)
{
    const char *coding = header(request, "Transfer-Encoding");
    const char *length = header(request, "Content-Length");
    if (coding != NULL)
        return strcasecmp(coding, "chunked") != 0 || length != NULL ||
               request->type == EVHTTP_REQ_HEAD;
    return length != NULL && request->type == EVHTTP_REQ_HEAD && strcmp(length, "0") != 0;
}

/* Rejects what cannot be answered as it is meant, whatever it requests. True: it was rejected. */
static bool refuse(struct admin_connection *connection)
{
    struct evhttp_request *request = connection->request;
    if (request->major != 1 || request->minor < 0) {
        request->major = request->minor = 1;
        admin_add_header(connection, "Connection", "close");
        admin_say(connection, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
        return true;
    }
    if (has_odd_body(request)) {
        admin_add_header(connection, "Connection", "close");
        admin_say(connection, 400, "it is not clear where this request's body ends");
        return true;
    }
    return false;
}

static void refuse_method(struct admin_connection *connection, const char *path,
                          const char *allowed)
{
    /* Whether such a request has a body is unknown. */
    admin_add_header(connection, "Connection", "close");
    admin_add_header(connection, "Allow", allowed);
    admin_say(connection, 405, "%s takes %s", path, allowed);
}

/* From a client that may send it. */
static void obey(struct admin_connection *connection, enum command_verb verb)
{
    const char *reason = admin_forbidden(connection);
    if (reason != NULL)
        admin_say(connection, 403, "%s", reason);
    else if (verb == COMMAND_VERBS)
        admin_ask_reload(connection);
    else
        admin_order(connection, verb);
}

static void dispatch(struct admin_connection *connection, const char *path)
{
    enum evhttp_cmd_type method = connection->request->type;
    enum command_verb verb = find_verb(path);
    bool changes = verb != COMMAND_VERBS || strcmp(path, RELOAD) == 0;
    bool reads = method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD;
    if (changes && method == EVHTTP_REQ_POST)
        obey(connection, verb);
    else if (changes)
        refuse_method(connection, path, "POST");
    else if (!is_page(path))
        admin_say(connection, 404, "there is no such page; there are: " PATHS);
    else if (reads)
        admin_show(connection, path);
    else
        refuse_method(connection, path, READ_METHODS);
}

static struct admin_connection *find_connection(struct admin *admin,
                                                const struct evhttp_connection *http)
{
    for (size_t i = 0; i < CONFIG_ADMIN_CONNECTIONS; i++) {
        if (admin->connections[i].http == http)
            return &admin->connections[i];
    }
    return NULL;
}

void admin_on_request(struct evhttp_request *request, void *arg)
{
    struct evhttp_connection *http = evhttp_request_get_connection(request);
    struct admin_connection *connection = find_connection(arg, http);
    const char *coded = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    size_t length;
    if (connection == NULL) { /* there was no memory to watch it */
        evhttp_connection_free(http);
        return;
    }
    connection->request = request;
    if (refuse(connection))
        return;
    char *path = evhttp_uridecode(coded, 0, &length);
    if (path == NULL)
        admin_answer(connection, 0, NULL, NULL);
    else
        dispatch(connection, strlen(path) == length ? path : "");
    free(path);
}
