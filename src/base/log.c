/* SPDX-License-Identifier: ISC */
/* Levels, the form of a line, and the two logs: messages and accesses. */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log_internal.h"

#define MESSAGE_MAX 2048
#define HEAD_MAX    96

static size_t tell_lost_messages(char line[LOG_LOSS_MAX], unsigned long lost);
static size_t tell_lost_accesses(char line[LOG_LOSS_MAX], unsigned long lost);

static char message_bytes[LOG_RING_SIZE], access_bytes[LOG_RING_SIZE];

/* As log_sink_init leaves them; messages go to standard error until log_open. */
#define SINK(memory)                                                                               \
    .ring = {.bytes = (memory), .size = sizeof(memory)}, .putting = PTHREAD_MUTEX_INITIALIZER,     \
    .wake_at = SIZE_MAX

struct log_sink log_sinks[LOG_SINKS] = {
    [LOG_MESSAGES] = {.name = "log",
                      .index = LOG_MESSAGES,
                      .tell_loss = tell_lost_messages,
                      .enough = 1,
                      .target = {.kind = LOG_TO_STANDARD, .fd = STDERR_FILENO},
                      .form = LOG_FORM(LOG_STYLE_PLAIN, LOG_FORMAT_LOGFMT),
                      SINK(message_bytes)},
    [LOG_ACCESSES] = {.name = "access log",
                      .index = LOG_ACCESSES,
                      .tell_loss = tell_lost_accesses,
                      .enough = 64 * 1024,
                      .target = {.kind = LOG_TO_NOTHING, .fd = -1},
                      .form = LOG_FORM(LOG_STYLE_NONE, LOG_FORMAT_LOGFMT),
                      SINK(access_bytes)},
};

struct log_stats log_stats;

static const char *log_name(unsigned log)
{
    return log == LOG_MESSAGES ? "messages" : "access";
}

static const struct metric metrics[] = {
    {.name = "lines_lost",
     .help = "Log lines dropped because their target accepted no more",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct log_stats, lost),
     .label = "log",
     .count = LOG_SINKS,
     .value = log_name,
     .log = "log_lines_lost_"},
    {.name = "failing",
     .help = "Whether a log cannot be written, for example because the disk is full",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct log_stats, failing),
     .label = "log",
     .count = LOG_SINKS,
     .value = log_name,
     .log = "log_failing_"},
};

const struct metric_set log_metrics = {
    .prefix = "log_", .metrics = metrics, .count = ARRAY_LEN(metrics)};

_Atomic enum log_level log_threshold = LOG_LEVEL_NOTICE;

static atomic_bool ready; /* log_ready was called */

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug"};
static const int severities[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

/* Looked up once: a line costs no system call. */
int log_process_id(void)
{
    static atomic_int pid;
    if (atomic_load(&pid) == 0)
        atomic_store(&pid, (int)getpid());
    return atomic_load(&pid);
}

/* Writes the prefix of a message on a descriptor; returns its length. */
static size_t put_plain_head(char *text, size_t size, enum log_level level, bool journal)
{
    if (journal) /* sd-daemon(3); journald knows the time and the process */
        return (size_t)snprintf(text, size, "<%d>", severities[level]);
    size_t n = log_timestamp(text);
    return n + (size_t)snprintf(text + n, size - n, " kaproxy[%d] %s: ", log_process_id(),
                                level_names[level]);
}

static unsigned form_of(const struct log_sink *sink)
{
    return atomic_load_explicit(&sink->form, memory_order_relaxed);
}

/* Writes the prefix of a message; returns its length. */
static size_t put_head(char *text, size_t size, enum log_level level, unsigned form)
{
    enum log_style style = log_form_style(form);
    if (style == LOG_STYLE_SYSLOG)
        return log_syslog_head(text, size, severities[level]);
    return put_plain_head(text, size, level, style == LOG_STYLE_JOURNAL);
}

/* The same for a line of the access log, which contains its time. */
static size_t put_access_head(char *text, size_t size, unsigned form)
{
    bool syslog = log_form_style(form) == LOG_STYLE_SYSLOG;
    return syslog ? log_syslog_head(text, size, LOG_INFO) : 0;
}

static size_t tell_lost_messages(char line[LOG_LOSS_MAX], unsigned long lost)
{
    size_t n = put_head(line, LOG_LOSS_MAX, LOG_LEVEL_ERROR, form_of(&log_sinks[LOG_MESSAGES]));
    return n + (size_t)snprintf(line + n, LOG_LOSS_MAX - n, "%lu log lines could not be written\n",
                                lost);
}

static size_t tell_lost_accesses(char line[LOG_LOSS_MAX], unsigned long lost)
{
    unsigned form = form_of(&log_sinks[LOG_ACCESSES]);
    size_t n = put_access_head(line, LOG_LOSS_MAX, form);
    struct log_line fields;
    log_line_start(&fields, log_form_format(form));
    log_field_time(&fields);
    LOG_FIELD_NUMBER(&fields, "lost_lines", lost);
    log_line_end(&fields);
    assert(fields.length <= LOG_LOSS_MAX - n);
    memcpy(line + n, fields.text, fields.length);
    return n + fields.length;
}

/* Opening and closing */

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_threshold, level, memory_order_relaxed);
}

/* Lines already put go to the new target. 0, or -1 with errno; the sink then remains unchanged. */
static int open_sink(struct log_sink *sink, const char *name, enum log_format format)
{
    struct log_target target;
    char *copy = strdup(name);
    if (copy == NULL)
        return -1;
    if (log_target_open(&target, name) < 0) {
        int error = errno;
        free(copy);
        errno = error;
        return -1;
    }
    size_t mark = log_sink_announce(sink, &copy, LOG_FORM(log_target_style(&target), format));
    log_sink_swap(sink, &target, mark);
    log_target_close(&target); /* the old target and its name */
    free(copy);
    return 0;
}

int log_open(const char *target, enum log_level level)
{
    if (open_sink(&log_sinks[LOG_MESSAGES], target, LOG_FORMAT_LOGFMT) < 0)
        return -1;
    log_set_level(level);
    return 0;
}

int log_access_open(const char *target, enum log_format format)
{
    return open_sink(&log_sinks[LOG_ACCESSES], target, format);
}

int log_check(const char *target)
{
    return log_target_check(target);
}

const char *log_open_error(const char *path, int error)
{
    struct stat st;
    if (error != ENXIO || stat(path, &st) < 0)
        return error_text(error);
    if (S_ISFIFO(st.st_mode))
        return "a FIFO without a reader";
    if (S_ISSOCK(st.st_mode))
        return "a socket";
    return "a terminal or device that does not exist";
}

int log_start(void)
{
    return log_writer_start();
}

void log_ready(void)
{
    atomic_store(&ready, true);
}

void log_reopen(void)
{
    log_writer_reopen();
}

void log_close(void)
{
    if (!log_writer_stop())
        return; /* blocked by a disk, and the process is ending anyway */
    log_sink_close(&log_sinks[LOG_MESSAGES]);
    log_sink_close(&log_sinks[LOG_ACCESSES]);
    log_sink_init(&log_sinks[LOG_MESSAGES], message_bytes, sizeof(message_bytes));
    log_sink_init(&log_sinks[LOG_ACCESSES], access_bytes, sizeof(access_bytes));
    log_sinks[LOG_MESSAGES].target = (struct log_target){LOG_TO_STANDARD, .fd = STDERR_FILENO};
    atomic_store(&log_sinks[LOG_MESSAGES].form, LOG_FORM(LOG_STYLE_PLAIN, LOG_FORMAT_LOGFMT));
    atomic_store(&ready, false);
}

bool log_access_enabled(void)
{
    return log_form_style(form_of(&log_sinks[LOG_ACCESSES])) != LOG_STYLE_NONE;
}

enum log_format log_access_format(void)
{
    return log_form_format(form_of(&log_sinks[LOG_ACCESSES]));
}

/* Lines */

/* Writes a message and its newline after the prefix of n bytes; returns the line's length. */
static PRINTF(3, 0) size_t
    put_text(char line[MESSAGE_MAX], size_t n, const char *format, va_list args)
{
    int length = vsnprintf(line + n, MESSAGE_MAX - n - 1, format, args);
    size_t end = n + (length < 0 ? 0 : (size_t)length);
    if (end > MESSAGE_MAX - 2)
        end = MESSAGE_MAX - 2;
    for (; n < end; n++) {
        unsigned char c = (unsigned char)line[n];
        if (c < 0x20 || c == 0x7f)
            line[n] = '?';
    }
    line[end++] = '\n';
    return end;
}

/* The process waiting for the start sees standard error, not the log. */
static void repeat_on_stderr(enum log_level level, char *text, size_t length)
{
    char head[HEAD_MAX];
    struct pollfd pollfd = {.fd = STDERR_FILENO, .events = POLLOUT};
    size_t n = put_plain_head(head, sizeof(head), level, log_is_journal(STDERR_FILENO));
    const struct iovec parts[] = {{head, n}, {text, length}};
    if (poll(&pollfd, 1, 0) > 0 && writev(STDERR_FILENO, parts, ARRAY_LEN(parts)) < 0)
        return; /* nowhere left to report it */
}

void log_message(enum log_level level, const char *format, ...)
{
    struct log_sink *sink = &log_sinks[LOG_MESSAGES];
    char line[MESSAGE_MAX];
    size_t head, end;
    unsigned form;
    if (!log_enabled(level))
        return;
    do {
        va_list args;
        form = form_of(sink);
        head = put_head(line, sizeof(line), level, form);
        va_start(args, format);
        end = put_text(line, head, format, args);
        va_end(args);
    } while (log_sink_put(sink, form, line, end) == LOG_PUT_OLD_FORM);
    log_writer_notice(sink);
    if (level == LOG_LEVEL_ERROR && !atomic_load(&ready) &&
        !log_sink_is_open_on(sink, STDERR_FILENO))
        repeat_on_stderr(level, line + head, end - head);
}

static enum log_put put_access(struct log_sink *sink, unsigned form, const char *text,
                               size_t length)
{
    char line[LOG_LOSS_MAX + LOG_LINE_MAX];
    if (log_form_style(form) != LOG_STYLE_SYSLOG)
        return log_sink_put(sink, form, text, length);
    size_t n = put_access_head(line, LOG_LOSS_MAX, form);
    assert(length <= LOG_LINE_MAX);
    memcpy(line + n, text, length);
    return log_sink_put(sink, form, line, n + length);
}

bool log_access(enum log_format format, const char *text, size_t length)
{
    struct log_sink *sink = &log_sinks[LOG_ACCESSES];
    unsigned form = form_of(sink);
    if (log_form_style(form) == LOG_STYLE_NONE)
        return true;
    if (log_form_format(form) != format)
        return false;
    enum log_put result = put_access(sink, form, text, length);
    if (result == LOG_PUT_OLD_FORM)
        return log_access(format, text, length);
    if (result == LOG_PUT_LOSES)
        log_warning("the access log accepts no more lines: they are dropped and counted");
    log_writer_notice(sink);
    return true;
}
