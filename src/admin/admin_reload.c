/* SPDX-License-Identifier: ISC */
/* POST /reload: waits until the reload is over, and responds with its changes, or with every
 * mistake. */
#include "admin/admin_reload.h"

#include <stdlib.h>
#include <string.h>

#include "admin/admin_internal.h"
#include "admin/status.h"

/* A client's order, under way. */
struct admin_reloading {
    struct admin *admin;
    struct admin_connection *connection; /* NULL: the client has gone */
    struct admin_reload reload;
};

/* The next line of a text, without its newline, to be freed; NULL at the end of the text, or when
 * out of memory. Empty lines are skipped. */
static char *next_line(const char **text)
{
    *text += strspn(*text, "\n");
    size_t length = strcspn(*text, "\n");
    char *line = length == 0 ? NULL : strndup(*text, length);
    *text += length;
    return line;
}

/* NULL when out of memory. */
static json_t *list_of(const char *text)
{
    json_t *list = json_array();
    char *line;
    while ((line = next_line(&text)) != NULL) {
        int result = json_array_append_new(list, status_text(line));
        free(line);
        if (result < 0)
            break;
    }
    if (*text == '\0')
        return list;
    json_decref(list);
    return NULL;
}

#define REFUSAL "not reloaded, and nothing has changed"

/* As text it is what kaproxy -t prints. */
static void refuse(struct admin_connection *connection, const char *mistakes)
{
    if (admin_wants_json(connection))
        admin_answer_json(connection, 409,
                          json_pack("{s:s, s:o}", "error", REFUSAL, "mistakes", list_of(mistakes)));
    else
        admin_answer_text(connection, 409, *mistakes == '\0' ? REFUSAL : mistakes);
}

static void answer(struct admin_connection *connection, const struct admin_reload *reload)
{
    connection->reload = NULL;
    connection->since = admin_now(); /* its response has the same time as others */
    if (!reload->ok)
        refuse(connection, reload->text);
    else
        admin_answer_json(
            connection, 200,
            json_pack("{s:s, s:o}", "result", "reloaded", "changes", list_of(reload->text)));
}

static void on_done(struct admin_reload *reload)
{
    struct admin_reloading *reloading = container_of(reload, struct admin_reloading, reload);
    struct admin *admin = reloading->admin;
    admin->reload_count--;
    admin->snapshots.is_old = true;
    if (reloading->connection != NULL)
        answer(reloading->connection, reload);
    free(reloading);
}

/* It continues. */
void admin_forget_reload(struct admin_reloading *reloading)
{
    reloading->connection = NULL;
}

static bool has_parameters(const struct admin_connection *connection)
{
    const struct evhttp_request *request = connection->request;
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    return query != NULL ||
           evbuffer_get_length(evhttp_request_get_input_buffer(connection->request)) > 0;
}

void admin_ask_reload(struct admin_connection *connection)
{
    struct admin *admin = connection->admin;
    if (has_parameters(connection)) {
        admin_say(connection, 400, "reload takes no parameters");
        return;
    }
    if (admin->reload_count >= ADMIN_ORDERS_MAX) {
        admin_say(connection, 503, "%d wait for a reload already", ADMIN_ORDERS_MAX);
        return;
    }
    struct admin_reloading *reloading = calloc(1, sizeof(*reloading));
    if (reloading == NULL) {
        admin_answer(connection, 503, NULL, NULL);
        return;
    }
    reloading->admin = admin;
    reloading->connection = connection;
    reloading->reload.done = on_done;
    admin_peer(connection, reloading->reload.by);
    connection->reload = reloading;
    admin->reload_count++;
    admin_wait(connection);
    admin->ops.reload(admin->ops.arg, &reloading->reload);
}
