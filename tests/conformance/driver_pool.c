/* SPDX-License-Identifier: ISC */
/* Commands about managers and requests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"

static struct manager *find_manager(struct driver *driver, const char *name)
{
    struct manager *manager;
    TAILQ_FOREACH_REVERSE(manager, &driver->managers, manager_list, link)
    {
        if (*name != '\0' && strcmp(manager->name, name) == 0)
            return manager;
    }
    return NULL;
}

struct request *driver_request(struct driver *driver, const char *name)
{
    struct request *request;
    TAILQ_FOREACH_REVERSE(request, &driver->requests, request_list, link)
    {
        if (strcmp(request->name, name) == 0)
            return request;
    }
    return NULL;
}

bool request_is_over(const struct request *request)
{
    return request->state >= REQUEST_REFUSED;
}

static unsigned words_number(const struct words *words, const char *key)
{
    const char *value = words_value(words, key);
    if (value == NULL)
        return 0;
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (end == value || *end != '\0' || number > UINT32_MAX)
        driver_fail("%s: not a number: '%s'", key, value);
    return (unsigned)number;
}

static struct pool_limits words_limits(const struct words *words)
{
    struct pool_limits limits = {
        .max_per_host = words_number(words, "max_per_host"),
        .max_open = words_number(words, "max_open"),
        .keep_alive = words_seconds(words, "keep_alive", 0),
        .timeout = words_seconds(words, "timeout", 0),
    };
    const char *bind_address = words_value(words, "bind_address");
    if (bind_address != NULL && !address_parse(&limits.bind_address, bind_address))
        driver_fail("not an address: '%s'", bind_address);
    return limits;
}

void command_manager(struct driver *driver, const struct words *words)
{
    const struct pool_limits limits = words_limits(words);
    struct manager *manager = driver_calloc(sizeof(*manager));
    driver_name(manager->name, words_at(words, 1));
    manager->pool = pool_new(driver->loop, driver->resolver, &limits);
    if (manager->pool == NULL)
        driver_fail("pool: %s", strerror(errno));
    pool_set_name(manager->pool, manager->name);
    TAILQ_INSERT_TAIL(&driver->managers, manager, link);
}

/* Those that are not given are the defaults from now on. */
void command_limits(struct driver *driver, const struct words *words)
{
    const struct pool_limits limits = words_limits(words);
    struct manager *manager = find_manager(driver, words_at(words, 1));
    if (manager == NULL)
        trace_refused(driver);
    else
        pool_set_limits(manager->pool, &limits);
}

static usec_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

/* How long the request waited, rounded to half a second. */
static void set_after(struct request *request)
{
    usec_t half = USEC_PER_SEC / 2;
    usec_t halves = (now() - request->started + half / 2) / half;
    snprintf(request->after, sizeof(request->after), "%ld.%d", (long)(halves / 2),
             halves % 2 != 0 ? 5 : 0);
}

static void take_success(struct request *request)
{
    struct driver *driver = request->driver;
    request->state = REQUEST_OK;
    request->from_cache = pool_from_cache_name(request->allocation.from_cache);
    request_identify(request);
    trace(driver, "< %s ok from_cache=%s conn=%s after=%s", request->name, request->from_cache,
          driver_label(driver, request->conn), request->after);
}

/* The original has one name for all of an allocation's time; the pool says what it was spent on. */
static const char *origin_function(const struct failure *failure)
{
    return failure->number == ETIMEDOUT ? "connect" : failure->function;
}

static void take_failure(struct request *request, const struct failure *failure)
{
    const char *number = failure->number != 0 ? strerrorname_np(failure->number) : "-";
    request->state = REQUEST_ERROR;
    snprintf(request->function, sizeof(request->function), "%s", origin_function(failure));
    snprintf(request->text, sizeof(request->text), "%s", failure->text);
    if (number != NULL)
        snprintf(request->number, sizeof(request->number), "%s", number);
    else
        snprintf(request->number, sizeof(request->number), "%d", failure->number);
    if (failure->number != 0)
        trace(request->driver, "< %s error function=%s errno=%s after=%s", request->name,
              request->function, request->number, request->after);
    else
        trace(request->driver, "< %s error function=%s errno=%s after=%s str=\"%s\"", request->name,
              request->function, request->number, request->after, request->text);
}

static void run_actions(struct request *request)
{
    struct driver *driver = request->driver;
    struct action *action, *next;
    struct action_list mine = TAILQ_HEAD_INITIALIZER(mine);
    for (action = TAILQ_FIRST(&driver->actions); action != NULL; action = next) {
        next = TAILQ_NEXT(action, link);
        if (strcmp(action->name, request->name) != 0)
            continue;
        TAILQ_REMOVE(&driver->actions, action, link);
        TAILQ_INSERT_TAIL(&mine, action, link);
    }
    driver->answering = true;
    while ((action = TAILQ_FIRST(&mine)) != NULL) {
        TAILQ_REMOVE(&mine, action, link);
        driver_run(driver, action->command);
        free(action->command);
        free(action);
    }
    driver->answering = false;
}

static void on_answered(struct allocation *allocation, const struct failure *failure)
{
    struct request *request = container_of(allocation, struct request, allocation);
    if (request->state != REQUEST_PENDING)
        driver_fail("%s is answered a second time", request->name);
    set_after(request);
    if (failure == NULL)
        take_success(request);
    else
        take_failure(request, failure);
    run_actions(request);
}

/* The scheme is any word, so the endpoint is not parsed. */
static void set_endpoint(struct request *request, const struct words *words)
{
    const char *scheme = words_value(words, "scheme");
    const char *addr = words_value(words, "host");
    struct endpoint *endpoint = &request->endpoint;
    snprintf(endpoint->scheme, sizeof(endpoint->scheme), "%s", scheme != NULL ? scheme : "http");
    snprintf(endpoint->addr, sizeof(endpoint->addr), "%s", addr != NULL ? addr : "127.0.0.1");
    endpoint->port = ntohs(request->upstream->peer.address.sin_port);
}

void command_allocate(struct driver *driver, const struct words *words)
{
    struct manager *manager = find_manager(driver, words_at(words, 1));
    const char *name = words_value(words, "server");
    struct request *request = driver_calloc(sizeof(*request));
    request->driver = driver;
    request->manager = manager;
    driver_name(request->name, words_at(words, 2));
    request->upstream = driver_upstream(driver, name != NULL ? name : "");
    set_endpoint(request, words);
    request->started = now();
    request->allocation.endpoint = &request->endpoint;
    request->allocation.timeout = words_seconds(words, "timeout", 0);
    request->allocation.on_connection = on_answered;
    TAILQ_INSERT_TAIL(&driver->requests, request, link);
    if (manager != NULL && pool_allocate(manager->pool, &request->allocation) == 0)
        return;
    request->state = REQUEST_REFUSED;
    trace_refused(driver);
}

void command_deallocate(struct driver *driver, const struct words *words)
{
    const struct manager *manager = find_manager(driver, words_at(words, 1));
    struct request *request = driver_request(driver, words_at(words, 2));
    if (manager == NULL || request == NULL || request->manager != manager ||
        request->state != REQUEST_PENDING) {
        trace_refused(driver);
        return;
    }
    request->state = REQUEST_CANCELLED;
    pool_cancel(&request->allocation);
}

void command_shutdown(struct driver *driver, const struct words *words)
{
    struct manager *manager = find_manager(driver, words_at(words, 1));
    if (manager == NULL)
        trace_refused(driver);
    else
        pool_shutdown(manager->pool);
}

/* The pool stays for leases and answers in progress; it can no longer be named. */
void command_drop(struct driver *driver, const struct words *words)
{
    struct manager *manager = find_manager(driver, words_at(words, 1));
    if (manager == NULL) {
        trace_refused(driver);
        return;
    }
    pool_shutdown(manager->pool);
    manager->name[0] = '\0';
}

void command_stats(struct driver *driver, const struct words *words)
{
    const struct manager *manager = find_manager(driver, words_at(words, 1));
    struct pool_stats stats;
    if (manager == NULL) {
        trace_refused(driver);
        return;
    }
    pool_get_stats(manager->pool, &stats);
    trace(driver, "= stats %s used=%u connecting=%u idle=%u queued=%u", manager->name, stats.busy,
          stats.connecting, stats.idle, stats.queued);
}

static const char *state_name(const struct request *request)
{
    if (request == NULL)
        return "none";
    switch (request->state) {
    case REQUEST_PENDING:
    case REQUEST_CANCELLED:
        return "pending";
    case REQUEST_OK:
        return "ok";
    case REQUEST_ERROR:
        return "error";
    case REQUEST_REFUSED:
        break;
    }
    return "none";
}

/* What became of a request, by the key that the trace gives it; "?" if it does not have it. */
static const char *request_value(const struct driver *driver, const struct request *request,
                                 const char *key, bool masked)
{
    enum request_state state = request != NULL ? request->state : REQUEST_REFUSED;
    if (state == REQUEST_OK && strcmp(key, "from_cache") == 0)
        return request->from_cache;
    if (state == REQUEST_OK && strcmp(key, "conn") == 0)
        return masked || request->conn == NULL ? driver_label(driver, request->conn)
                                               : request->conn->label;
    if (state == REQUEST_ERROR && strcmp(key, "function") == 0)
        return request->function;
    if (state == REQUEST_ERROR && strcmp(key, "errno") == 0)
        return request->number;
    if (state == REQUEST_ERROR && strcmp(key, "str") == 0)
        return request->text;
    if ((state == REQUEST_OK || state == REQUEST_ERROR) && strcmp(key, "after") == 0)
        return request->after;
    return "?";
}

void command_expect(struct driver *driver, const struct words *words)
{
    const struct request *request = driver_request(driver, words_at(words, 1));
    const char *state = state_name(request);
    char failed[512] = "";
    size_t used = 0;
    if (strcmp(state, words_at(words, 2)) != 0)
        used += (size_t)snprintf(failed, sizeof(failed), " state=%s", state);
    for (size_t i = 3; i < words->count && used < sizeof(failed); i++) {
        char key[DRIVER_NAME_MAX];
        size_t length = strcspn(words->word[i], "=");
        if (words->word[i][length] != '=' || length >= sizeof(key))
            driver_fail("expect: not key=value: %s", words->word[i]);
        memcpy(key, words->word[i], length);
        key[length] = '\0';
        if (strcmp(request_value(driver, request, key, false), words->word[i] + length + 1) == 0)
            continue;
        used += (size_t)snprintf(failed + used, sizeof(failed) - used, " %s=%s", key,
                                 request_value(driver, request, key, true));
    }
    trace(driver, "= expect %s%s", *failed == '\0' ? "ok" : "FAILED", failed);
}
