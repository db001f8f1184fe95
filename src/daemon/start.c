/* SPDX-License-Identifier: ISC */
/* What a start takes of the system, or a check only looks at: user, logs, descriptors. */
#include "daemon/start.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/account.h"
#include "base/log.h"
#include "config/config_place.h"
#include "config/descriptors.h"
#include "daemon/files.h"
#include "daemon/pid_file.h"
#include "net/bound_socket.h"

#define FINDING_MAX 1024

/* The line is for a check, 0: none. */
static PRINTF(4, 5) void report(const struct start *start, enum log_level level, int line,
                                const char *format, ...)
{
    char text[FINDING_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (start->findings == NULL && line == 0)
        log_message(level, "%s: %s", start->config->file, text);
    else if (start->findings == NULL)
        log_message(level, "%s:%d: %s", start->config->file, line, text);
    else if (level == LOG_LEVEL_ERROR)
        config_errors_add(start->findings, line, "%s", text);
    else
        config_errors_warn(start->findings, line, "%s", text);
}

int start_init(struct start *start, const struct config *config)
{
    *start = (struct start){.config = config};
    return user_find(&start->user, config->user);
}

void start_clear(struct start *start)
{
    user_clear(&start->user);
}

/* 0, or -1 when there is a reason why a log could not be opened: then it was found, or logged. */
static int note_reason(const struct start *start, const char *what, const char *target, int line,
                       const char *reason)
{
    const char *user = start->user.name;
    if (reason == NULL)
        return 0;
    if (user == NULL)
        report(start, LOG_LEVEL_ERROR, line, "cannot open the %s %s: %s", what, target, reason);
    else
        report(start, LOG_LEVEL_ERROR, line, "cannot open the %s %s as user %s: %s", what, target,
               user, reason);
    return -1;
}

/* The same of what comes of opening one, with -1 and errno. */
static int note_log(const struct start *start, const char *what, const char *target, int line,
                    int result)
{
    return note_reason(start, what, target, line,
                       result == 0 ? NULL : log_open_error(target, errno));
}

/* 0, or -1: then it was found, or logged. */
static int check_pid_file(const struct start *start)
{
    const struct config *config = start->config;
    const char *reason = pid_file_check(config->pid_file), *user = start->user.name;
    if (reason == NULL)
        return 0;
    report(start, LOG_LEVEL_ERROR, config->pid_file_line, "cannot write the pid file %s%s%s: %s",
           config->pid_file, user != NULL ? " as user " : "", user != NULL ? user : "", reason);
    return -1;
}

/* A mistake for each line, as of a check. */
static void log_findings(const struct config *config, const struct config_errors *findings)
{
    char *text = NULL, *rest, *line;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL) {
        log_error("%s: %s", config->file, error_text(errno));
        return;
    }
    config_errors_write(findings, config->file, stream);
    fclose(stream);
    for (rest = text; (line = strsep(&rest, "\n")) != NULL && *line != '\0';)
        log_error("%s", line);
    free(text);
}

/* 0, or -1: then it was found, or logged. */
static int check_readable(const struct start *start)
{
    struct config_errors own, *findings = start->findings != NULL ? start->findings : &own;
    if (start->user.name == NULL)
        return 0;
    config_errors_init(&own);
    files_check_user(start->config, findings, start->user.name);
    log_findings(start->config, &own);
    int result = config_errors_any(&own) ? -1 : 0;
    config_errors_clear(&own);
    return result;
}

int start_open_files(struct start *start)
{
    const struct config *config = start->config;
    bool check = start->findings != NULL;
    if (user_pose(&start->user) < 0)
        return -1;
    int result =
        note_log(start, "log", config->log, config->log_line,
                 check ? log_check(config->log) : log_open(config->log, config->log_level));
    result |= note_log(start, "access log", config->access_log, config->access_log_line,
                       check ? log_check(config->access_log)
                             : log_access_open(config->access_log, config->log_format));
    result |= check_pid_file(start) | check_readable(start);
    return user_unpose(&start->user) < 0 ? -1 : result;
}

/* Whoever can open a TCP connection is anybody: only of a unix socket the system keeps out whom it
 * is not for. */
static void warn_of_control(const struct start *start)
{
    const struct config_admin *admin = &start->config->admin;
    for (size_t i = 0; i < admin->addresses.count && admin->control == CONTROL_ALL; i++) {
        const struct config_address *address = &admin->addresses.list[i];
        if (address->address.sa.ss_family != AF_UNIX)
            report(start, LOG_LEVEL_WARNING, address->line,
                   "[admin] control = all: anybody who reaches %s can pause and drain, reload, "
                   "and change the log's level",
                   address->address.text);
    }
}

/* As the successor of a process that has become this user. */
static bool is_us(const char *user)
{
    uid_t uid;
    gid_t gid;
    return account_find_user(user, &uid, &gid) == 0 && uid == geteuid();
}

static void warn_of_place(const struct start *start)
{
    const struct config *config = start->config;
    const char *warning = config->is_default ? config_place_warning(config->file) : NULL;
    if (warning != NULL)
        report(start, LOG_LEVEL_WARNING, 0, "%s", warning);
}

/* For a start and each reload. */
static void warn_of_values(const struct start *start)
{
    const struct config *config = start->config;
    warn_of_place(start);
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (endpoint_has_tls(&listener->upstream) && !listener->tls_verify)
            report(start, LOG_LEVEL_WARNING, listener->line,
                   "listener %s: tls_verify = no, anybody can pose as the upstream",
                   listener->name);
    }
    warn_of_control(start);
}

void start_warn(const struct start *start)
{
    const struct config *config = start->config;
    if (config->user[0] != '\0' && start->user.name == NULL && !is_us(config->user))
        report(start, LOG_LEVEL_WARNING, 0, "user = %s is ignored: not started as root",
               config->user);
    warn_of_values(start);
}

struct log_change *start_open_again(const struct config *config, struct config_errors *findings)
{
    const struct start start = {.config = config, .findings = findings};
    struct log_change *logs = NULL;
    const char *reasons[2];
    int result = log_prepare(&logs, config->log, config->access_log, reasons);
    note_reason(&start, "log", config->log, config->log_line, reasons[0]);
    note_reason(&start, "access log", config->access_log, config->access_log_line, reasons[1]);
    result |= check_pid_file(&start);
    warn_of_values(&start);
    if (result == 0)
        return logs;
    log_change_free(logs);
    return NULL;
}

static void raise_descriptor_limit(const struct start *start)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        report(start, LOG_LEVEL_WARNING, 0, "cannot raise the limit of descriptors: %s",
               strerror(errno));
}

static uint64_t descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

#define REMEDY "raise it (LimitNOFILE, ulimit -n) or lower max_open"

static unsigned share_descriptors(const struct start *start, unsigned *pipes)
{
    const struct config *config = start->config;
    uint64_t limit = descriptor_limit();
    struct descriptors needed = descriptors_needed(config);
    unsigned clients = descriptors_clients(config, &needed, limit);
    uint64_t connections = descriptors_connections(&needed, clients);
    if (clients == 0)
        report(start, LOG_LEVEL_ERROR, 0,
               "the limit of %" PRIu64 " descriptors leaves none for clients: connections to "
               "upstreams can take %" PRIu64 " and kaproxy itself %" PRIu64 ": " REMEDY,
               limit, connections, needed.own);
    else if (clients < config->max_clients)
        report(start, LOG_LEVEL_WARNING, 0,
               "max_clients is lowered from %u to %u by the limit of %" PRIu64
               " descriptors: connections to upstreams can take %" PRIu64
               " and kaproxy itself %" PRIu64 ": " REMEDY,
               config->max_clients, clients, limit, connections, needed.own);
    *pipes = descriptors_pipes(config, &needed, limit);
    return clients;
}

unsigned start_share_descriptors(const struct start *start, unsigned *pipes)
{
    raise_descriptor_limit(start);
    return share_descriptors(start, pipes);
}

unsigned start_share_again(const struct config *config, struct config_errors *findings,
                           unsigned *pipes)
{
    const struct start start = {.config = config, .findings = findings};
    return share_descriptors(&start, pipes);
}

/* What is wrong with an address or a port here need not be so where the file is going to be used:
 * that is a warning. A socket's directory is like a log's. */
static void check_addresses(const struct start *start, const struct config_addresses *addresses,
                            const char *whose, const char *name)
{
    for (size_t i = 0; i < addresses->count; i++) {
        const struct listen_address *address = &addresses->list[i].address;
        bool is_unix = address->sa.ss_family == AF_UNIX;
        const char *error;
        if (bound_socket_check(address, &error) < 0)
            report(start, is_unix ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, addresses->list[i].line,
                   "%s%s: cannot listen on %s: %s", whose, name, address->text, error);
    }
}

int start_check(const struct config *config, struct config_errors *findings)
{
    struct start start;
    unsigned pipes;
    int result = start_init(&start, config);
    start.findings = findings;
    if (result == 0) {
        result = start_open_files(&start);
        start_warn(&start);
        for (size_t i = 0; i < config->listener_count; i++)
            check_addresses(&start, &config->listeners[i].addresses, "listener ",
                            config->listeners[i].name);
        check_addresses(&start, &config->admin.addresses, "[admin]", "");
        start_share_descriptors(&start, &pipes);
    }
    start_clear(&start);
    return config_errors_any(findings) ? -1 : result;
}
