/* SPDX-License-Identifier: ISC */
/* POST: who may request what, with which parameters; one after the other. */
#include "admin/admin_internal.h"

#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "net/address.h"

#define FORM "application/x-www-form-urlencoded"

static const char *header(const struct admin_connection *connection, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(connection->request), name);
}

static int descriptor(const struct admin_connection *connection)
{
    return bufferevent_getfd(evhttp_connection_get_bufferevent(connection->http));
}

bool admin_is_unix(const struct admin_connection *connection)
{
    int domain = 0;
    socklen_t length = sizeof(domain);
    return getsockopt(descriptor(connection), SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
           domain == AF_UNIX;
}

void admin_peer(const struct admin_connection *connection, char text[ADMIN_PEER_MAX])
{
    struct ucred peer;
    union address address;
    socklen_t length = sizeof(peer);
    snprintf(text, ADMIN_PEER_MAX, "somebody who has left");
    if (admin_is_unix(connection)) {
        if (getsockopt(descriptor(connection), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
            snprintf(text, ADMIN_PEER_MAX, "unix:uid:%u,pid:%d", peer.uid, peer.pid);
        return;
    }
    length = sizeof(address);
    if (getpeername(descriptor(connection), &address.sa, &length) == 0) {
        char peer_text[ADDRESS_TEXT_MAX];
        snprintf(text, ADMIN_PEER_MAX, "%s", address_format(&address, peer_text));
    }
}

/* A name can be made to lead a browser here after its page was loaded from elsewhere (DNS
 * rebinding); an address, or localhost, cannot. */
static bool is_own_host(struct admin_connection *connection)
{
    const char *host = evhttp_request_get_host(connection->request);
    char bare[ADDRESS_SCOPED_MAX];
    union address address;
    if (host == NULL)
        return false;
    size_t length = strlen(host);
    if (host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    if (length >= sizeof(bare))
        return false;
    memcpy(bare, host, length);
    bare[length] = '\0';
    return strcasecmp(bare, "localhost") == 0 || address_parse(&address, bare);
}

const char *admin_forbidden(struct admin_connection *connection)
{
    enum config_control control = connection->admin->view.config->admin.control;
    bool is_unix = admin_is_unix(connection);
    const char *value = header(connection, "Kaproxy-Control");
    if (control == CONTROL_NONE)
        return "nothing can be changed here: [admin] has control = none";
    if (control == CONTROL_UNIX && !is_unix)
        return "nothing can be changed over TCP, only through a unix socket: [admin] has control = "
               "unix";
    if (value == NULL || strcasecmp(value, "yes") != 0)
        return "the header \"Kaproxy-Control: yes\" is missing, without which web pages could send "
               "this";
    if (!is_unix && !is_own_host(connection))
        return "over TCP the host that is asked must be an IP address or localhost";
    return NULL;
}

/* Names consist of visible ASCII characters. */
static bool is_name(const char *value)
{
    for (; *value != '\0'; value++) {
        if (*value <= ' ' || *value > '~')
            return false;
    }
    return true;
}

static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};

static bool find_level(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcmp(levels[i], name) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Where a parameter is stored; NULL: the verb has no such parameter. */
static char *field_of(struct command *command, const char *name)
{
    if (command->verb == COMMAND_LOG_LEVEL)
        return NULL;
    if (strcmp(name, "pool") == 0)
        return command->pool;
    if (strcmp(name, "host") == 0)
        return command->host;
    return strcmp(name, "listener") == 0 ? command->listener : NULL;
}

#define BAD "this request cannot be taken apart"

/* NULL, or what is wrong with it. */
static const char *take_parameter(struct command *command, const char *name, const char *value,
                                  bool *has_level)
{
    if (command->verb == COMMAND_LOG_LEVEL && strcmp(name, "level") == 0) {
        if (*has_level)
            return "level is given twice";
        *has_level = true;
        return find_level(value, &command->level)
                   ? NULL
                   : "level is one of error, warning, notice, info and debug";
    }
    char *field = field_of(command, name);
    if (field == NULL)
        return command->verb == COMMAND_LOG_LEVEL ? "the only parameter is level"
                                                  : "the parameters are pool, host and listener";
    if (*field != '\0')
        return "a parameter is given twice";
    if (*value == '\0')
        return "a parameter is empty: leave it out to mean all";
    if (strlen(value) >= COMMAND_NAME_MAX || !is_name(value))
        return "a parameter is not a name";
    memcpy(field, value, strlen(value) + 1);
    return NULL;
}

/* NULL, or what is wrong. */
static const char *take_parameters(struct command *command, const char *text, bool *has_level)
{
    const char *mistake = NULL;
    struct evkeyvalq fields;
    struct evkeyval *field;
    if (strstr(text, "%00") != NULL) /* there evhttp would end the value */
        return "a parameter is not a name";
    if (evhttp_parse_query_str(text, &fields) < 0)
        return "parameters are written NAME=VALUE, with & between them";
    TAILQ_FOREACH (field, &fields, next) {
        if (mistake == NULL)
            mistake = take_parameter(command, field->key, field->value, has_level);
    }
    evhttp_clear_headers(&fields);
    return mistake;
}

static const char *take_body(struct command *command, struct admin_connection *connection,
                             bool *has_level)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(connection->request);
    const char *type = header(connection, "Content-Type");
    size_t length = evbuffer_get_length(body);
    if (length == 0)
        return NULL;
    if (type == NULL || strncasecmp(type, FORM, strlen(FORM)) != 0)
        return "a body must be " FORM;
    const unsigned char *bytes = evbuffer_pullup(body, -1);
    char *text = bytes == NULL ? NULL : strndup((const char *)bytes, length);
    if (text == NULL)
        return "there is no memory for the body";
    const char *mistake = strlen(text) == length ? take_parameters(command, text, has_level) : BAD;
    free(text);
    return mistake;
}

/* NULL, or what is wrong. */
static const char *take_request(struct command *command, struct admin_connection *connection)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(connection->request));
    bool has_level = false;
    const char *mistake = query != NULL ? take_parameters(command, query, &has_level) : NULL;
    if (mistake == NULL)
        mistake = take_body(command, connection, &has_level);
    if (mistake != NULL)
        return mistake;
    if (command->verb == COMMAND_LOG_LEVEL && !has_level)
        return "the parameter level is missing";
    if (command->listener[0] != '\0' && (command->pool[0] != '\0' || command->host[0] != '\0'))
        return "either a listener is meant, or hosts by pool and host";
    return NULL;
}

static void carry_out(struct admin *admin)
{
    struct admin_order *order = TAILQ_FIRST(&admin->orders);
    if (order != NULL)
        admin->ops.command(admin->ops.arg, &order->command);
}

static void answer(struct admin_order *order)
{
    static const char *const results[] = {
        [COMMAND_PAUSE] = "paused",          [COMMAND_RESUME] = "resumed",
        [COMMAND_RECONNECT] = "reconnected", [COMMAND_DRAIN] = "draining",
        [COMMAND_LOG_LEVEL] = "set",
    };
    const struct command *command = &order->command;
    struct admin_connection *connection = order->connection;
    if (connection == NULL)
        return;
    connection->order = NULL; /* the order is complete, whatever happens to the response */
    order->connection = NULL;
    if (command->status >= 400) {
        admin_say(connection, command->status, "%s", command->text);
        return;
    }
    admin_answer_json(connection, command->status,
                      json_pack("{s:s, s:s, s:I, s:I}", "result", results[command->verb], "text",
                                command->text, "matched", (json_int_t)command->matched, "busy",
                                (json_int_t)command->busy));
}

static void on_done(struct command *command)
{
    struct admin_order *order = container_of(command, struct admin_order, command);
    struct admin *admin = order->admin;
    TAILQ_REMOVE(&admin->orders, order, link);
    admin->order_count--;
    admin->snapshots.is_old = true;
    answer(order);
    free(order);
    carry_out(admin);
}

/* What was begun continues. */
void admin_forget_order(struct admin_order *order)
{
    struct admin *admin = order->admin;
    order->connection = NULL;
    if (order == TAILQ_FIRST(&admin->orders))
        return;
    TAILQ_REMOVE(&admin->orders, order, link);
    admin->order_count--;
    free(order);
}

void admin_orders_clear(struct admin *admin)
{
    struct admin_order *order;
    while ((order = TAILQ_FIRST(&admin->orders)) != NULL) {
        TAILQ_REMOVE(&admin->orders, order, link);
        free(order);
    }
}

static void queue(struct admin_order *order, struct admin_connection *connection)
{
    struct admin *admin = connection->admin;
    order->admin = admin;
    order->connection = connection;
    order->command.done = on_done;
    admin_peer(connection, order->command.by);
    connection->order = order;
    admin_wait(connection);
    TAILQ_INSERT_TAIL(&admin->orders, order, link);
    if (admin->order_count++ == 0)
        carry_out(admin);
}

void admin_order(struct admin_connection *connection, enum command_verb verb)
{
    if (connection->admin->order_count >= ADMIN_ORDERS_MAX) {
        admin_say(connection, 503, "%d commands wait for each other already", ADMIN_ORDERS_MAX);
        return;
    }
    struct admin_order *order = calloc(1, sizeof(*order));
    if (order == NULL) {
        admin_answer(connection, 503, NULL, NULL);
        return;
    }
    order->command.verb = verb;
    const char *reason = take_request(&order->command, connection);
    if (reason == NULL) {
        queue(order, connection);
        return;
    }
    free(order);
    admin_say(connection, 400, "%s", reason);
}
