#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_MAX_LENGTH 2048

enum sink_kind { SINK_OFF, SINK_STDERR, SINK_SYSLOG, SINK_FILE };

struct sink {
    enum sink_kind kind;
    char *path; /* SINK_FILE */
    int fd;
    unsigned long lost; /* lines that could not be written since the last one that could */
    bool torn;          /* the last of them in part */
};

static struct sink messages = {.kind = SINK_STDERR, .fd = STDERR_FILENO};
static struct sink accesses = {.kind = SINK_OFF, .fd = -1};
static enum log_level threshold = LOG_LEVEL_NOTICE;

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug"};
static const int syslog_levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};

static void sink_close(struct sink *sink)
{
    if (sink->kind == SINK_FILE)
        close(sink->fd);
    free(sink->path);
    *sink = (struct sink){.kind = SINK_OFF, .fd = -1};
}

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

static int sink_open(struct sink *sink, const char *target)
{
    struct sink opened = {.fd = -1};
    if (strcmp(target, "off") == 0) {
        opened.kind = SINK_OFF;
    } else if (strcmp(target, "stderr") == 0) {
        opened.kind = SINK_STDERR;
        opened.fd = STDERR_FILENO;
    } else if (strcmp(target, "syslog") == 0) {
        opened.kind = SINK_SYSLOG;
        openlog("kaproxy", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    } else {
        opened.kind = SINK_FILE;
        opened.path = strdup(target);
        if (opened.path == NULL)
            return -1;
        opened.fd = open_file(target);
        if (opened.fd < 0) {
            free(opened.path);
            return -1;
        }
    }
    sink_close(sink);
    *sink = opened;
    return 0;
}

/* One write a line, so that lines of several processes do not mix. 0, or -1 when not all of it
 * could be written; *torn tells that a part was. */
static int write_line(int fd, const char *line, size_t length, bool *torn)
{
    size_t written = 0;
    while (written < length) {
        ssize_t n = write(fd, line + written, length - written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            *torn |= written > 0;
            return -1;
        }
        written += (size_t)n;
    }
    return 0;
}

/* A disk that was full, or a reader that was gone, is reported when it is back. */
static int report_loss(struct sink *sink)
{
    char note[120] = "\n";
    size_t n = sink->torn ? 1 : 0;
    bool access = sink == &accesses;
    if (access)
        n += (size_t)snprintf(note + n, sizeof(note) - n, "ts=");
    n += log_timestamp(note + n);
    n += (size_t)snprintf(
        note + n, sizeof(note) - n,
        access ? " lost_lines=%lu\n" : " error: %lu log lines could not be written\n", sink->lost);
    if (write_line(sink->fd, note, n, &sink->torn) < 0)
        return -1;
    sink->lost = 0;
    sink->torn = false;
    return 0;
}

static void sink_write(struct sink *sink, const char *line, size_t length)
{
    if (sink->kind == SINK_OFF)
        return;
    if (sink->lost > 0 && report_loss(sink) < 0) {
        sink->lost++;
    } else if (write_line(sink->fd, line, length, &sink->torn) < 0) {
        sink->lost = 1;
        if (sink == &accesses)
            log_error("the access log cannot be written: %s", strerror(errno));
    }
}

int log_open(const char *target, enum log_level level)
{
    if (sink_open(&messages, target) < 0)
        return -1;
    threshold = level;
    return 0;
}

int log_access_open(const char *target)
{
    return sink_open(&accesses, target);
}

static int sink_reopen(struct sink *sink)
{
    if (sink->kind != SINK_FILE)
        return 0;
    int fd = open_file(sink->path);
    if (fd < 0) {
        log_error("cannot open %s anew: %s", sink->path, strerror(errno));
        return -1;
    }
    close(sink->fd);
    sink->fd = fd;
    return 0;
}

int log_reopen(void)
{
    int result = sink_reopen(&messages);
    return sink_reopen(&accesses) < 0 ? -1 : result;
}

static void sink_set_owner(const struct sink *sink, uid_t user, gid_t group)
{
    if (sink->kind == SINK_FILE && fchown(sink->fd, user, group) < 0)
        log_warning("cannot give %s to its new owner: %s", sink->path, strerror(errno));
}

void log_set_owner(uid_t user, gid_t group)
{
    sink_set_owner(&messages, user, group);
    sink_set_owner(&accesses, user, group);
}

void log_close(void)
{
    sink_close(&accesses);
    sink_close(&messages);
    messages = (struct sink){.kind = SINK_STDERR, .fd = STDERR_FILENO};
}

bool log_enabled(enum log_level level)
{
    return level <= threshold;
}

bool log_access_enabled(void)
{
    return accesses.kind != SINK_OFF;
}

void log_message(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char line[LINE_MAX_LENGTH];
    size_t n = 0;
    if (messages.kind != SINK_SYSLOG) {
        n = log_timestamp(line);
        n += (size_t)snprintf(line + n, sizeof(line) - n, " %s: ", level_names[level]);
    }
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    va_end(args);
    if (length < 0)
        return;
    if (messages.kind == SINK_SYSLOG) {
        syslog(syslog_levels[level], "%s", line);
        return;
    }
    n += (size_t)length;
    if (n > sizeof(line) - 2)
        n = sizeof(line) - 2;
    line[n++] = '\n';
    sink_write(&messages, line, n);
}

void log_access(const char *line, size_t length)
{
    if (accesses.kind == SINK_SYSLOG)
        syslog(LOG_INFO, "%.*s", (int)(length > 0 ? length - 1 : 0), line);
    else if (accesses.kind != SINK_OFF)
        sink_write(&accesses, line, length);
}
