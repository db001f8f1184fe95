/* SPDX-License-Identifier: ISC */
/* Messages for the operator, and the access log. The logs are the program's only mutable globals:
 * they are opened while there is one thread, and any thread may write to them. Later they change by
 * log_prepare and log_commit.
 *
 * Nobody who logs ever waits. Once log_start was called, lines go through a ring of 1 MiB for each
 * log to a thread that writes them; it wakes for a message at once, and for the access log when 64
 * KiB of lines are there, or 100 ms after it wrote the ones before. Until then lines are written
 * at once, as far as their target takes them at the time.
 *
 * What cannot be written (a reader that stopped, a full disk) waits in the ring, and is tried
 * again. Lines that do not fit are dropped, and a line tells how many as soon as there is room
 * again. The lines of each log stay in order. */
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

/* Target of a log: "stderr", "stdout", "syslog", "off" (access log), or a file's path. /dev/stderr
 * and /dev/stdout are the descriptors 2 and 1, and these are never changed: they are shared with
 * other processes. 0, or -1 with errno (for log_open_error) when a file cannot be opened; the log
 * then stays what it was. Until one is opened messages go to standard error. */
MUST_CHECK int log_open(const char *target, enum log_level level);
MUST_CHECK int log_access_open(const char *target, enum log_format format);

/* Whether they would be opened, by the present user; a file that is not there is not made. Whether
 * somebody reads a FIFO cannot be known without an end for him. 0, or -1 with errno. */
MUST_CHECK int log_check(const char *target);

/* What errno says of a file that cannot be opened as a log. */
const char *log_open_error(const char *path, int error);

/* Does the descriptor lead to journald? systemd.exec(5), JOURNAL_STREAM. There a line's priority is
 * what it begins with: sd-daemon(3). */
bool log_is_journal(int fd);

/* Other targets, while lines are logged. */
struct log_change;

/* Opens what the logs are to go to from log_commit on, with the present user's rights; where a
 * target is the same as now it stays open as it is. Any thread, but one change at a time: no other
 * is committed before this one is, or is freed. 0; or -1, and then nothing is open and *change is
 * NULL, and errors[0] says what is wrong with the log, errors[1] with the access log (NULL:
 * nothing), in a text that stays. A FIFO whose only writer a change was has an end for its reader
 * when that is freed. */
MUST_CHECK int log_prepare(struct log_change **change, const char *log, const char *access_log,
                           const char *errors[2]);

/* All at once, and it cannot fail: lines that are logged from now on go to the new targets, in this
 * format, and messages are of this level. Those from before go to the old ones, as far as these
 * take them, then to the new ones; their order stays. Any thread, after log_ready or before
 * log_start. The change is the log's from now on. */
void log_commit(struct log_change *change, enum log_level level, enum log_format format);

/* Closes what was opened, for a change that is not committed. NULL is harmless. */
void log_change_free(struct log_change *change);

/* Starts the thread that writes, before other threads are. 0, or -1 with errno. */
MUST_CHECK int log_start(void);

/* The start is over. Until then each error is written to standard error too, for whoever started
 * us, unless that is where messages go. */
void log_ready(void);

/* Has files opened again (SIGHUP), by the thread that writes, once it has written to the old ones
 * what was logged before, as far as they take it. A message says whether that worked; a file that
 * cannot be opened stays as it was. */
void log_reopen(void);

/* Writes what is left, within 1 s at most, and ends the thread, when there are no others any more.
 * Messages go to standard error then. */
void log_close(void);

/* Which messages are logged from now on. Any thread. */
void log_set_level(enum log_level level);

/* Asked many times for each exchange, by any thread. */
extern _Atomic enum log_level log_threshold; /* for log_enabled */
static inline bool log_enabled(enum log_level level)
{
    return level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

/* As in the configuration: "notice". */
const char *log_level_name(enum log_level level);

/* Either may be another one each time that it is asked for. Any thread. */
bool log_access_enabled(void);

/* How the access log's lines are to be put together. */
enum log_format log_access_format(void);

/* One line, without a final newline; control characters become question marks. */
void log_message(enum log_level level, const char *format, ...) PRINTF(2, 3);

/* What is counted of the logs, the messages and the access log: a metric block. */
struct log_stats {
    struct counter lost[2];  /* lines that were dropped */
    struct gauge failing[2]; /* 1: they cannot be written */
};
extern struct log_stats log_stats;
extern const struct metric_set log_metrics;

/* Why the messages (0) or the access log (1) cannot be written, as errno says it; 0: they can. Any
 * thread. */
int log_target_error(unsigned log);

/* A finished access-log line of LOG_LINE_MAX bytes at most, with its final newline, the only one,
 * in this format. False when the log has another one by now: nothing was done, and the line is to
 * be put together again. */
MUST_CHECK bool log_access(enum log_format format, const char *text, size_t length);

#define log_error(...)   log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_message(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_message(LOG_LEVEL_INFO, __VA_ARGS__)
/* Arguments are evaluated only when the level is on. */
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_enabled(LOG_LEVEL_DEBUG))                                                          \
            log_message(LOG_LEVEL_DEBUG, __VA_ARGS__);                                             \
    } while (0)

#endif
