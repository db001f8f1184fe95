#include "log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "log_internal.h"

#define MESSAGE_MAX 2048

static size_t tell_lost_messages(char line[LOG_LOSS_MAX], unsigned long lost);
static size_t tell_lost_accesses(char line[LOG_LOSS_MAX], unsigned long lost);

static char message_bytes[LOG_RING_SIZE], access_bytes[LOG_RING_SIZE];

/* As log_sink_init makes them; messages go to standard error until they are told otherwise. */
#define SINK(memory)                                                                               \
    .ring = {.bytes = (memory), .size = sizeof(memory)}, .putting = PTHREAD_MUTEX_INITIALIZER,     \
    .wake_at = SIZE_MAX

struct log_sink log_sinks[LOG_SINKS] = {
    [LOG_MESSAGES] = {.name = "log",
                      .tell_loss = tell_lost_messages,
                      .enough = 1,
                      .kind = LOG_TO_STANDARD,
                      .fd = STDERR_FILENO,
                      SINK(message_bytes)},
    [LOG_ACCESSES] = {.name = "access log",
                      .tell_loss = tell_lost_accesses,
                      .enough = 64 * 1024,
                      .kind = LOG_TO_NOTHING,
                      .fd = -1,
                      SINK(access_bytes)},
};

enum log_level log_threshold = LOG_LEVEL_NOTICE;

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug"};
static const int severities[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};

/* What stands before a message; returns its length. */
static size_t put_head(char *text, size_t size, enum log_level level)
{
    const struct log_sink *sink = &log_sinks[LOG_MESSAGES];
    if (sink->kind == LOG_TO_SYSLOG)
        return log_syslog_head(text, size, severities[level]);
    if (sink->journal) /* sd-daemon(3); journald knows the time */
        return (size_t)snprintf(text, size, "<%d>", severities[level]);
    size_t n = log_timestamp(text);
    return n + (size_t)snprintf(text + n, size - n, " %s: ", level_names[level]);
}

/* The same for a line of the access log, which has its time in it. */
static size_t put_access_head(char *text, size_t size)
{
    bool syslog = log_sinks[LOG_ACCESSES].kind == LOG_TO_SYSLOG;
    return syslog ? log_syslog_head(text, size, LOG_INFO) : 0;
}

static size_t tell_lost_messages(char line[LOG_LOSS_MAX], unsigned long lost)
{
    size_t n = put_head(line, LOG_LOSS_MAX, LOG_LEVEL_ERROR);
    return n + (size_t)snprintf(line + n, LOG_LOSS_MAX - n, "%lu log lines could not be written\n",
                                lost);
}

static size_t tell_lost_accesses(char line[LOG_LOSS_MAX], unsigned long lost)
{
    size_t n = put_access_head(line, LOG_LOSS_MAX);
    memcpy(line + n, "ts=", 3);
    n += 3 + log_timestamp(line + n + 3);
    return n + (size_t)snprintf(line + n, LOG_LOSS_MAX - n, " lost_lines=%lu\n", lost);
}

/* Opening and closing */

int log_open(const char *target, enum log_level level)
{
    if (log_sink_open(&log_sinks[LOG_MESSAGES], target) < 0)
        return -1;
    log_threshold = level;
    return 0;
}

int log_access_open(const char *target)
{
    return log_sink_open(&log_sinks[LOG_ACCESSES], target);
}

const char *log_open_error(int error)
{
    return error == ENXIO ? "a FIFO that nobody reads, or a socket" : strerror(error);
}

int log_start(void)
{
    return log_writer_start();
}

void log_reopen(void)
{
    log_writer_reopen();
}

void log_close(void)
{
    if (!log_writer_stop())
        return; /* a disk holds it up, and this is the end of the process */
    log_sink_close(&log_sinks[LOG_MESSAGES]);
    log_sink_close(&log_sinks[LOG_ACCESSES]);
    log_sink_init(&log_sinks[LOG_MESSAGES], message_bytes, sizeof(message_bytes));
    log_sink_init(&log_sinks[LOG_ACCESSES], access_bytes, sizeof(access_bytes));
    log_sinks[LOG_MESSAGES].kind = LOG_TO_STANDARD;
    log_sinks[LOG_MESSAGES].fd = STDERR_FILENO;
}

bool log_access_enabled(void)
{
    return log_sinks[LOG_ACCESSES].kind != LOG_TO_NOTHING;
}

/* Lines */

void log_message(enum log_level level, const char *format, ...)
{
    char line[MESSAGE_MAX];
    if (!log_enabled(level))
        return;
    size_t n = put_head(line, sizeof(line), level);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    va_end(args);
    if (length < 0)
        return;
    size_t end = n + (size_t)length;
    if (end > sizeof(line) - 2)
        end = sizeof(line) - 2;
    for (; n < end; n++) {
        unsigned char c = (unsigned char)line[n];
        if (c < 0x20 || c == 0x7f)
            line[n] = '?';
    }
    line[end++] = '\n';
    log_sink_put(&log_sinks[LOG_MESSAGES], line, end);
    log_writer_notice(&log_sinks[LOG_MESSAGES]);
}

void log_access(const char *text, size_t length)
{
    struct log_sink *sink = &log_sinks[LOG_ACCESSES];
    bool begins_to_lose;
    if (sink->kind == LOG_TO_NOTHING)
        return;
    if (sink->kind == LOG_TO_SYSLOG) {
        char line[LOG_LOSS_MAX + LOG_LINE_MAX];
        size_t n = put_access_head(line, LOG_LOSS_MAX);
        assert(length <= LOG_LINE_MAX);
        memcpy(line + n, text, length);
        begins_to_lose = log_sink_put(sink, line, n + length);
    } else {
        begins_to_lose = log_sink_put(sink, text, length);
    }
    if (begins_to_lose)
        log_warning("the access log takes no more lines: they are dropped and counted");
    log_writer_notice(sink);
}
