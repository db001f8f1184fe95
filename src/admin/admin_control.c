/* POST: what an operator has done. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "admin/admin_internal.h"
#include "net/address.h"

#define HEADER "Kaproxy-Control"

static bool find_verb(const char *path, enum command_verb *verb)
{
    for (*verb = 0; *verb < COMMAND_VERBS; (*verb)++) {
        if (*path == '/' && strcmp(path + 1, command_name(*verb)) == 0)
            return true;
    }
    return false;
}

bool admin_control_has(const char *path)
{
    enum command_verb verb;
    return find_verb(path, &verb);
}

/* Who asks, and whether over a unix socket. */
static bool identify(struct evhttp_request *request, char *text, size_t size)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
    union address peer = {.sa.sa_family = AF_UNSPEC};
    struct ucred process;
    socklen_t length = sizeof(peer);
    char address[ADDRESS_TEXT_MAX];
    if (getpeername(fd, &peer.sa, &length) < 0) {
        snprintf(text, size, "a client that has left");
        return false;
    }
    if (peer.sa.sa_family != AF_UNIX) {
        snprintf(text, size, "%s", address_format(&peer, address));
        return false;
    }
    length = sizeof(process);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &process, &length) < 0)
        snprintf(text, size, "unix");
    else
        snprintf(text, size, "unix:uid:%u,pid:%d", (unsigned)process.uid, (int)process.pid);
    return true;
}

/* An IP address, or localhost, with a port or without. */
static bool is_local_name(const char *host)
{
    union address address;
    char name[64];
    size_t length = strlen(host);
    if (*host == '[') {
        host++;
        length = strcspn(host, "]");
    } else {
        length = strcspn(host, ":");
    }
    if (length == 0 || length >= sizeof(name))
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    return strcasecmp(name, "localhost") == 0 || address_parse(&address, name);
}

/* NULL, or why not. */
static const char *refuse(const struct admin *admin, struct evhttp_request *request, bool is_unix)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    const char *header = evhttp_find_header(headers, HEADER);
    const char *host = evhttp_find_header(headers, "Host");
    switch (admin->config->admin.control) {
    case CONTROL_NONE:
        return "nothing can be changed here: [admin] control = none";
    case CONTROL_UNIX:
        if (!is_unix)
            return "things are changed over the unix socket alone: [admin] control = unix";
        break;
    case CONTROL_ALL:
        break;
    }
    if (header == NULL || strcasecmp(header, "yes") != 0)
        return "the field \"" HEADER ": yes\" is missing, without which nothing is changed";
    if (!is_unix && (host == NULL || !is_local_name(host)))
        return "the Host must be an IP address or localhost, or else a page in a browser could "
               "have sent this";
    return NULL;
}

static char *place_of(struct command *command, const char *name)
{
    if (strcmp(name, "pool") == 0)
        return command->pool;
    if (strcmp(name, "host") == 0)
        return command->host;
    if (strcmp(name, "listener") == 0)
        return command->listener;
    return NULL;
}

static bool find_level(const char *text, enum log_level *level)
{
    static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* One parameter. True, or a sentence in `mistake`. */
static bool take(struct command *command, const char *name, const char *value, char *mistake,
                 size_t size)
{
    char *place = place_of(command, name);
    if (command->verb == COMMAND_LOG_LEVEL && strcmp(name, "level") == 0) {
        if (command->text[0] == '\0' && find_level(value, &command->level)) {
            command->text[0] = '+'; /* it was given */
            return true;
        }
        snprintf(mistake, size, "level is one of error, warning, notice, info and debug, once");
        return false;
    }
    if (place == NULL || command->verb == COMMAND_LOG_LEVEL) {
        snprintf(mistake, size, "%s takes %s, and no %.64s", command_name(command->verb),
                 command->verb == COMMAND_LOG_LEVEL ? "level" : "pool, host and listener", name);
        return false;
    }
    if (*place != '\0' || *value == '\0' || strlen(value) >= COMMAND_NAME_MAX) {
        snprintf(mistake, size, "%s is given twice, or is empty, or too long", name);
        return false;
    }
    strcpy(place, value);
    return true;
}

static bool take_all(struct command *command, const char *text, char *mistake, size_t size)
{
    struct evkeyvalq query;
    const struct evkeyval *pair;
    bool right = true;
    if (evhttp_parse_query_str(text, &query) < 0) {
        snprintf(mistake, size, "the parameters cannot be read");
        return false;
    }
    TAILQ_FOREACH (pair, &query, next)
        right = right && take(command, pair->key, pair->value, mistake, size);
    evhttp_clear_headers(&query);
    return right;
}

/* Both of the query and of a form's body. */
static bool parse(struct command *command, struct evhttp_request *request, char *mistake,
                  size_t size)
{
    const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    if (query != NULL && *query != '\0' && !take_all(command, query, mistake, size))
        return false;
    if (evbuffer_get_length(input) > 0) {
        if (evbuffer_add(input, "", 1) < 0) {
            snprintf(mistake, size, "out of memory");
            return false;
        }
        const char *body = (const char *)evbuffer_pullup(input, -1);
        if (!take_all(command, body, mistake, size))
            return false;
    }
    if (command->verb == COMMAND_LOG_LEVEL && command->text[0] == '\0') {
        snprintf(mistake, size, "level is missing: error, warning, notice, info or debug");
        return false;
    }
    if (command->listener[0] != '\0' && (command->pool[0] != '\0' || command->host[0] != '\0')) {
        snprintf(mistake, size, "a listener, or hosts by pool and host, but not both");
        return false;
    }
    command->text[0] = '\0';
    return true;
}

static const char *result_of(const struct command *command)
{
    static const char *const names[COMMAND_VERBS] = {[COMMAND_PAUSE] = "paused",
                                                     [COMMAND_RESUME] = "resumed",
                                                     [COMMAND_RECONNECT] = "reconnecting",
                                                     [COMMAND_DRAIN] = "draining",
                                                     [COMMAND_LOG_LEVEL] = "set"};
    return command->status < 400 ? names[command->verb] : "refused";
}

static void start_next(struct admin *admin);

static void on_done(struct command *command)
{
    struct admin_post *post = container_of(command, struct admin_post, command);
    struct admin *admin = post->pending.admin;
    struct evhttp_request *request = admin_pending_end(&post->pending);
    TAILQ_REMOVE(&admin->posts, post, link);
    admin->post_count--;
    admin->last_at = 0; /* what was seen before is not so any more */
    if (request != NULL)
        admin_reply_json(admin, request, command->status,
                         json_pack("{s:s, s:s, s:I, s:I}", "result", result_of(command), "text",
                                   command->text, "matched", (json_int_t)command->matched, "busy",
                                   (json_int_t)command->busy));
    free(post);
    start_next(admin);
}

/* Also that of a client that has left since: it was told to be done. */
static void start_next(struct admin *admin)
{
    struct admin_post *post = TAILQ_FIRST(&admin->posts);
    if (post != NULL)
        admin->ops->command(admin->ops->arg, &post->command);
}

bool admin_control_serve(struct admin *admin, struct evhttp_request *request, const char *path)
{
    enum command_verb verb;
    char mistake[256];
    if (!find_verb(path, &verb))
        return false;
    struct admin_post *post = calloc(1, sizeof(*post));
    if (post == NULL || admin->post_count == ADMIN_POSTS_MAX) {
        admin_reply_text(admin, request, 503,
                         post == NULL ? "out of memory" : "too many commands at once");
        free(post);
        return true;
    }
    post->command.verb = verb;
    post->command.done = on_done;
    bool is_unix = identify(request, post->command.by, sizeof(post->command.by));
    const char *refusal = refuse(admin, request, is_unix);
    if (refusal != NULL || !parse(&post->command, request, mistake, sizeof(mistake))) {
        admin_reply_text(admin, request, refusal != NULL ? 403 : 400, "%s",
                         refusal != NULL ? refusal : mistake);
        free(post);
        return true;
    }
    admin_pending_begin(&post->pending, admin, request);
    TAILQ_INSERT_TAIL(&admin->posts, post, link);
    if (admin->post_count++ == 0)
        start_next(admin);
    return true;
}
