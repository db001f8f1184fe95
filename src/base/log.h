/* SPDX-License-Identifier: ISC */
/* Messages for the operator, and the access log. The logs are the program's only mutable globals:
 * they are opened while there is one thread, and any thread may write to them. Later changes are
 * made with log_prepare and log_commit.
 *
 * Logging never blocks. After log_start, lines pass through a ring of 1 MiB per log to a thread
 * that writes them. It wakes at once for a message; for the access log it wakes when 64 KiB of
 * lines are pending, or 100 ms after its previous write. Before log_start lines are written
 * directly, as far as their target accepts them at the time.
 *
 * Lines that cannot be written (a stopped reader, a full disk) stay in the ring and are retried.
 * Lines that do not fit are dropped, and a line reports how many as soon as there is room again.
 * The lines of each log stay in order. */
#ifndef KAPROXY_LOG_H
#define KAPROXY_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/log_line.h"
#include "base/metric.h"
#include "base/util.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Target of a log: "stderr", "stdout", "syslog", "off" (access log only), or a file's path.
 * /dev/stderr and /dev/stdout are descriptors 2 and 1; these are never modified, as they are shared
 * with other processes. 0, or -1 with errno (for log_open_error) when a file cannot be opened; the
 * log then remains unchanged. Until one is opened, messages go to standard error. */
MUST_CHECK int log_open(const char *target, enum log_level level);
MUST_CHECK int log_access_open(const char *target, enum log_format format);

/* Whether the targets could be opened by the current user; a missing file is not created. Whether a
 * FIFO has a reader cannot be known without opening it for writing, and so is not checked. 0, or -1
 * with errno. */
MUST_CHECK int log_check(const char *target);

/* Describes an errno of opening a file as a log. */
const char *log_open_error(const char *path, int error);

/* Is the descriptor connected to journald (JOURNAL_STREAM, systemd.exec(5))? A line's priority is
 * then its prefix: sd-daemon(3). */
bool log_is_journal(int fd);

/* Changes of targets, while lines are logged. */
struct log_change;

/* Opens the targets that the logs will have from log_commit on, with the current user's
 * permissions; a target that does not change stays open as it is. Any thread, but one change at a
 * time: this one must be committed or freed before the next one is committed. 0; or -1, and then
 * nothing is open, *change is NULL, errors[0] says what is wrong with the log, and errors[1] with
 * the access log (NULL: nothing), as texts that remain valid. If the change is the only writer of a
 * FIFO, freeing it causes end-of-file at the reader. */
MUST_CHECK int log_prepare(struct log_change **change, const char *log, const char *access_log,
                           const char *errors[2]);

/* Takes effect as a whole, and cannot fail: lines logged from now on go to the new targets, in this
 * format, and messages are filtered by this level. Earlier lines go to the old targets as far as
 * these accept them, then to the new ones; their order is kept. Any thread, after log_ready or
 * before log_start. The log owns the change from now on. */
void log_commit(struct log_change *change, enum log_level level, enum log_format format);

/* Closes what was opened, for a change that is not committed. NULL is allowed. */
void log_change_free(struct log_change *change);

/* Starts the writing thread, before any other thread is started. 0, or -1 with errno. */
MUST_CHECK int log_start(void);

/* Start-up is complete. Until then each error is also written to standard error, for the process
 * that started us, unless messages go there anyway. */
void log_ready(void);

/* Has the files reopened (SIGHUP), by the writing thread, after it has written earlier lines to the
 * old files, as far as these accept them. A message reports the result; a file that cannot be
 * reopened stays open as it was. */
void log_reopen(void);

/* Writes what is left, for at most 1 s, and ends the thread; no other thread may be running.
 * Messages go to standard error afterwards. */
void log_close(void);

/* Sets which messages are logged from now on. Any thread. */
void log_set_level(enum log_level level);

/* Checked many times per exchange, by any thread. */
extern _Atomic enum log_level log_threshold; /* for log_enabled */
static inline bool log_enabled(enum log_level level)
{
    return level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

/* As in the configuration: "notice". */
const char *log_level_name(enum log_level level);

/* The results may differ from one call to the next. Any thread. */
bool log_access_enabled(void);

/* How the access log's lines are to be composed. */
enum log_format log_access_format(void);

/* One line, without a final newline; control characters become question marks. */
void log_message(enum log_level level, const char *format, ...) PRINTF(2, 3);

/* What is counted of the logs (messages and accesses): a metric block. */
struct log_stats {
    struct counter lost[2];  /* lines that were dropped */
    struct gauge failing[2]; /* 1: cannot be written */
};
extern struct log_stats log_stats;
extern const struct metric_set log_metrics;

/* Why the messages (0) or the access log (1) cannot be written, as an errno; 0: they can. Any
 * thread. */
int log_target_error(unsigned log);

/* A finished access-log line in this format, of at most LOG_LINE_MAX bytes, ending in its only
 * newline. False when the log's format has changed meanwhile: nothing was done, and the line must
 * be composed again. */
MUST_CHECK bool log_access(enum log_format format, const char *text, size_t length);

#define log_error(...)   log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_message(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_message(LOG_LEVEL_INFO, __VA_ARGS__)
/* Arguments are evaluated only if the level is enabled. */
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                          \
            log_message(LOG_LEVEL_DEBUG, __VA_ARGS__);                                             \
    } while (0)

#endif
