/* SPDX-License-Identifier: ISC */
/* Commands: their subjects, found by name; their result, in a sentence. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/requests.h"

/* The command's progress. */
struct result {
    unsigned upstreams, listeners;      /* subjects of the command */
    unsigned changed;                   /* of these: changed by it */
    unsigned leases, sessions;          /* still in use */
    char name[ENDPOINT_TEXT_MAX + 128]; /* of the only one */
};

static PRINTF(3, 4) void answer(struct command *command, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(command->text, sizeof(command->text), format, args);
    va_end(args);
    command->status = status;
}

/* Appends to a list of names, as far as there is room. */
static void put_name(char *list, size_t size, const char *name)
{
    size_t n = strlen(list);
    if (n + strlen(name) + sizeof(", ...") <= size)
        snprintf(list + n, size - n, "%s%s", n > 0 ? ", " : "", name);
    else if (n + sizeof(", ...") <= size && strcmp(list + n - strlen("..."), "...") != 0)
        snprintf(list + n, size - n, ", ...");
}

/* The state to set. */
static enum service service_of(enum command_verb verb)
{
    return verb == COMMAND_PAUSE   ? SERVICE_PAUSED
           : verb == COMMAND_DRAIN ? SERVICE_DRAINING
                                   : SERVICE_OPEN;
}

/* Upstreams. */

/* By its full text, or by addr:port. */
static bool is_named(const struct endpoint *endpoint, const char *name)
{
    char text[ENDPOINT_TEXT_MAX];
    endpoint_format(endpoint, text);
    return strcasecmp(text, name) == 0 || strcasecmp(strstr(text, "://") + 3, name) == 0;
}

static bool is_in_scope(const struct command *command, const struct pool *pool,
                        const struct pool_host *host)
{
    struct pool_view view;
    if (command->pool[0] != '\0' && strcmp(command->pool, pool_get_name(pool)) != 0)
        return false;
    if (command->host[0] == '\0')
        return true;
    pool_view(host, &view);
    return is_named(view.endpoint, command->host);
}

static void do_host(const struct command *command, struct pool *pool, struct pool_host *host,
                    struct result *result)
{
    struct pool_view view;
    char text[ENDPOINT_TEXT_MAX];
    enum service service = service_of(command->verb);
    result->upstreams++;
    result->changed += command->verb == COMMAND_RECONNECT || pool_get_service(host) != service;
    if (command->verb == COMMAND_RECONNECT)
        pool_reconnect(pool, host);
    else
        pool_set_service(pool, host, service);
    if (command->verb != COMMAND_RESUME)
        result->leases += pool_leases(host);
    pool_view(host, &view);
    snprintf(result->name, sizeof(result->name), "%s (pool %s)",
             endpoint_format(view.endpoint, text), pool_get_name(pool));
}

static void do_hosts(const struct requests *requests, const struct command *command,
                     struct result *result)
{
    for (size_t i = 0; i < requests->pool_count; i++) {
        struct pool *pool = requests->pools[i];
        struct pool_host *host = NULL;
        while ((host = pool_next_host(pool, host)) != NULL) {
            if (is_in_scope(command, pool, host))
                do_host(command, pool, host, result);
        }
    }
}

static bool is_pool(const struct requests *requests, const char *name)
{
    for (size_t i = 0; i < requests->pool_count; i++) {
        if (strcmp(pool_get_name(requests->pools[i]), name) == 0)
            return true;
    }
    return false;
}

static void no_such_pool(const struct requests *requests, struct command *command)
{
    char list[COMMAND_TEXT_MAX - 2 * COMMAND_NAME_MAX] = "";
    for (size_t i = 0; i < requests->pool_count; i++)
        put_name(list, sizeof(list), pool_get_name(requests->pools[i]));
    answer(command, 404, "there is no pool %s; there are: %s", command->pool, list);
}

static void no_such_host(const struct requests *requests, struct command *command)
{
    char list[COMMAND_TEXT_MAX - 3 * COMMAND_NAME_MAX] = "", text[ENDPOINT_TEXT_MAX];
    bool of_pool = command->pool[0] != '\0';
    for (size_t i = 0; i < requests->pool_count; i++) {
        const struct pool *pool = requests->pools[i];
        const struct pool_host *host = NULL;
        struct pool_view view;
        while ((host = pool_next_host(pool, host)) != NULL) {
            pool_view(host, &view);
            if (!of_pool || strcmp(command->pool, pool_get_name(pool)) == 0)
                put_name(list, sizeof(list), endpoint_format(view.endpoint, text));
        }
    }
    answer(command, 404, "%s%s has no upstream%s%s; there are: %s", of_pool ? "pool " : "kaproxy",
           command->pool, command->host[0] != '\0' ? " " : "", command->host,
           list[0] != '\0' ? list : "none");
}

/* Listeners. */

/* False: it cannot be done, and the answer says why. */
static bool do_listener(const struct requests *requests, struct command *command,
                        struct listener *listener, struct result *result)
{
    const struct listener_context *context = listener_get_context(listener);
    const char *name = context->config->name, *address;
    enum service service = service_of(command->verb), was = listener_get_service(listener);
    bool reopens = was == SERVICE_DRAINING || service == SERVICE_DRAINING;
    if (requests->listeners->stopped && reopens && was != service) {
        answer(command, 409, "kaproxy is stopping");
        return false;
    }
    if (listener_set_service(listener, service, &address) < 0) {
        answer(command, 409, "listener %s cannot listen on %s again: %s", name, address,
               strerror(errno));
        return false;
    }
    result->listeners++;
    result->changed += was != service;
    if (service == SERVICE_DRAINING)
        result->sessions += (unsigned)gauge_get(&context->counters->stats.sessions);
    snprintf(result->name, sizeof(result->name), "listener %s", name);
    return true;
}

/* A failure does not stop the others; the last one is answered. */
static bool do_listeners(const struct requests *requests, struct command *command,
                         struct result *result)
{
    bool done = true;
    struct listener *listener = NULL;
    while ((listener = listener_next(requests->listeners, listener)) != NULL) {
        const char *name = listener_get_context(listener)->config->name;
        if (command->listener[0] == '\0' || strcmp(command->listener, name) == 0)
            done &= do_listener(requests, command, listener, result);
    }
    return done;
}

static void no_such_listener(const struct requests *requests, struct command *command)
{
    char list[COMMAND_TEXT_MAX - 2 * COMMAND_NAME_MAX] = "";
    struct listener *listener = NULL;
    while ((listener = listener_next(requests->listeners, listener)) != NULL)
        put_name(list, sizeof(list), listener_get_context(listener)->config->name);
    answer(command, 404, "there is no listener %s; there are: %s", command->listener, list);
}

/* The answer. */

static const char *s(unsigned count)
{
    return count == 1 ? "" : "s";
}

/* "2 upstreams and 1 listener", or the name of the only one. */
static void put_subject(char *text, size_t size, const struct result *result)
{
    unsigned upstreams = result->upstreams, listeners = result->listeners;
    if (upstreams + listeners == 1)
        snprintf(text, size, "%s", result->name);
    else if (listeners == 0)
        snprintf(text, size, "%u upstreams", upstreams);
    else if (upstreams == 0)
        snprintf(text, size, "%u listeners", listeners);
    else
        snprintf(text, size, "%u upstream%s and %u listener%s", upstreams, s(upstreams), listeners,
                 s(listeners));
}

/* What is still in use; "": nothing. */
static void put_rest(char *text, size_t size, const struct command *command,
                     const struct result *result)
{
    unsigned leases = result->leases, sessions = result->sessions;
    if (leases > 0 && command->verb == COMMAND_RECONNECT)
        snprintf(text, size, "; %u connection%s of before %s still in use", leases, s(leases),
                 leases == 1 ? "is" : "are");
    else if (leases > 0)
        snprintf(text, size, "; %u lease%s still in use", leases, leases == 1 ? " is" : "s are");
    else if (sessions > 0)
        snprintf(text, size, "; %u session%s left", sessions, sessions == 1 ? " is" : "s are");
    else
        text[0] = '\0';
}

static void answer_done(struct command *command, const struct result *result)
{
    char subject[sizeof(result->name)], rest[64];
    bool one = result->upstreams + result->listeners == 1;
    put_subject(subject, sizeof(subject), result);
    put_rest(rest, sizeof(rest), command, result);
    command->matched = result->upstreams + result->listeners;
    command->busy = result->leases + result->sessions;
    int status = command->busy > 0 ? 202 : 200;
    if (command->verb == COMMAND_RECONNECT)
        answer(command, status, "%s get%s new connections%s", subject, one ? "s" : "", rest);
    else
        answer(command, status, "%s %s %s%s%s", subject, one ? "is" : "are",
               result->changed == 0 ? "already " : "", service_name(service_of(command->verb)),
               rest);
}

static void do_scope(const struct requests *requests, struct command *command)
{
    bool of_host = command->pool[0] != '\0' || command->host[0] != '\0';
    bool of_listener = command->listener[0] != '\0', all = !of_host && !of_listener;
    bool hosts = of_host || (all && command->verb != COMMAND_DRAIN);
    bool listeners = of_listener || (all && service_of(command->verb) != SERVICE_PAUSED);
    struct result result = {0};
    if (of_host && of_listener) {
        answer(command, 404, "a listener is not part of a pool or an upstream: give only its name");
        return;
    }
    if (command->verb == COMMAND_RECONNECT && of_listener) {
        answer(command, 409, "a listener has no connections of its own: name its upstream");
        return;
    }
    if (command->pool[0] != '\0' && !is_pool(requests, command->pool)) {
        no_such_pool(requests, command);
        return;
    }
    if (hosts)
        do_hosts(requests, command, &result);
    if (listeners && command->verb != COMMAND_RECONNECT &&
        !do_listeners(requests, command, &result))
        return;
    if (result.upstreams + result.listeners > 0)
        answer_done(command, &result);
    else if (of_listener)
        no_such_listener(requests, command);
    else
        no_such_host(requests, command);
}

static void report(const struct command *command)
{
    const char *parts[][2] = {
        {"pool", command->pool}, {"host", command->host}, {"listener", command->listener}};
    char scope[3 * (COMMAND_NAME_MAX + 16)] = "";
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i][1][0] != '\0')
            n += (size_t)snprintf(scope + n, sizeof(scope) - n, " %s=%s", parts[i][0], parts[i][1]);
    }
    if (command->verb == COMMAND_LOG_LEVEL)
        snprintf(scope, sizeof(scope), " level=%s", log_level_name(command->level));
    log_notice("admin: %s%s by %s: %s", command_name(command->verb), scope, command->by,
               command->text);
}

/* Logged if either level, before or after, allows it. */
static void set_log_level(struct command *command)
{
    answer(command, 200, "the log level is %s until the next reload or start",
           log_level_name(command->level));
    command->matched = 1;
    if (command->level < LOG_LEVEL_NOTICE)
        report(command);
    log_set_level(command->level);
    if (command->level >= LOG_LEVEL_NOTICE)
        report(command);
}

void requests_command(const struct requests *requests, struct command *command)
{
    command->matched = command->busy = 0;
    if (command->verb == COMMAND_LOG_LEVEL) {
        set_log_level(command);
        return;
    }
    do_scope(requests, command);
    report(command);
}
