/* SPDX-License-Identifier: ISC */
/* Shared by the log's files; for log*.c only.
 *
 *   log.c          levels, the form of a line, the two logs
 *   log_line.c     values of a line
 *   log_ring.c     lines on their way from the loggers to the writer
 *   log_sink.c     one log: its ring, writing, losses
 *   log_target.c   where a log goes: opening and checking it
 *   log_change.c   changes of targets while lines are logged
 *   log_syslog.c   the system's log
 *   log_writer.c   the writing thread, and what happens to lines without it */
#ifndef KAPROXY_LOG_INTERNAL_H
#define KAPROXY_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/log_line.h"
#include "base/log_ring.h"
#include "base/util.h"

#define LOG_RING_SIZE (1024 * 1024)
#define LOG_LOSS_MAX  160 /* a line that reports losses */

enum log_sink_index { LOG_MESSAGES, LOG_ACCESSES, LOG_SINKS };

enum log_kind { LOG_TO_NOTHING, LOG_TO_STANDARD, LOG_TO_SYSLOG, LOG_TO_FILE };

/* An open target of a log. */
struct log_target {
    enum log_kind kind;
    int fd;       /* -1: syslog without a connection, or nothing */
    char *path;   /* LOG_TO_FILE */
    bool packets; /* LOG_TO_SYSLOG: one line per packet */
};

/* The prefix of a line, as the target requires. */
enum log_style { LOG_STYLE_NONE, LOG_STYLE_PLAIN, LOG_STYLE_JOURNAL, LOG_STYLE_SYSLOG };

/* Everything the form of a line depends on, in one number: the style and, for the access log, the
 * format. A line is not put if it was composed in another form than its log has by then. */
#define LOG_FORM(style, format) ((unsigned)(style) | (unsigned)(format) << 8)

static inline enum log_style log_form_style(unsigned form)
{
    return (enum log_style)(form & 0xff);
}

static inline enum log_format log_form_format(unsigned form)
{
    return (enum log_format)(form >> 8);
}

/* One log. Lines are put into its ring by any thread, one at a time, and written by one thread:
 * log_writer.c's, once it runs. Lines that do not fit are dropped and counted; the count is put in
 * their place as soon as there is room again. Lines that cannot be written stay in the ring, so
 * that nothing is lost until it is full. */
struct log_sink {
    const char *name;
    /* Composes the line that reports so many lost lines. */
    size_t (*tell_loss)(char line[LOG_LOSS_MAX], unsigned long lost);
    /* While the writer rests after other lines, this many bytes are worth waking it for. */
    size_t enough;

    /* For the threads that put lines. The lock is held while a line is copied, and never across a
     * system call; the writer takes it only to put a line itself, not to empty the ring. So no
     * thread waits longer than others take to copy a line. */
    pthread_mutex_t putting;
    atomic_ulong lost; /* lines since the last one that was put */
    enum log_sink_index index;
    bool lost_before;  /* and others before it, since the ring was last empty */
    char *target_name; /* of the newest target, which lines are now put for; NULL: none was opened.
                          Under the lock */
    atomic_uint form;  /* of the lines for it; changed under the lock */
    struct log_ring ring;
    atomic_size_t wake_at; /* the caller that finds this many bytes in the ring wakes the writer */

    /* For the writer. */
    struct log_target target;
    dev_t dev; /* the file it is open on, unless it is syslog */
    ino_t ino;
    bool bulk;      /* a regular file, which accepts everything at once and is always ready */
    size_t started; /* bytes already written of a first line that is not yet complete */
    bool failing;
    usec_t retry_at; /* while it is failing */
};

extern struct log_sink log_sinks[LOG_SINKS];

/* A sink that is off, with an empty ring; for a sink that was never used or was closed. */
void log_sink_init(struct log_sink *sink, char *bytes, size_t size);

/* For the writer, or while there is only one thread. */
void log_sink_close(struct log_sink *sink);

enum log_put {
    LOG_PUT_DONE,    /* or dropped, like others before it */
    LOG_PUT_LOSES,   /* dropped, as the first one since the ring was empty */
    LOG_PUT_OLD_FORM /* nothing was done: compose it again */
};

/* Any thread. `form` is the one in which the line was composed. */
MUST_CHECK enum log_put log_sink_put(struct log_sink *sink, unsigned form, const char *line,
                                     size_t length);

/* Any thread. Whether the newest target has that name. */
bool log_sink_has_target(struct log_sink *sink, const char *name);

/* Any thread. From now on lines are put in this form, for a target of this name, which is swapped
 * with the old name (NULL: the target stays). Returns the value of ring.put at that moment: lines
 * before it are for the old target. */
size_t log_sink_announce(struct log_sink *sink, char **name, unsigned form);

/* For the writer. Swaps the sink's open target with `target`. Lines before the mark that are not
 * yet written go to the new one; if that is none, they are dropped and counted. */
void log_sink_swap(struct log_sink *sink, struct log_target *target, size_t mark);

enum log_sink_state {
    LOG_SINK_DONE,    /* everything due was written */
    LOG_SINK_BLOCKED, /* fd accepts no more at present: poll(2) for POLLOUT */
    LOG_SINK_FAILING, /* it cannot be written, which was logged */
};

/* For the writer. Writes the lines put before `mark`, a value of ring.put, as far as possible
 * without waiting (except for a disk). */
enum log_sink_state log_sink_flush(struct log_sink *sink, size_t mark);

/* For the writer. How many lines before the mark are not yet written, including lost lines and one
 * that is partly written. */
unsigned long log_sink_left(struct log_sink *sink, size_t mark);

/* For the writer. Reopens a file; if that fails the old one stays open, and a message says so. */
MUST_CHECK int log_sink_reopen(struct log_sink *sink);

/* The process that the lines come from. */
int log_process_id(void);

/* Is the sink open on the same file as the descriptor? */
bool log_sink_is_open_on(const struct log_sink *sink, int fd);

/* Opens the target of this name; the system's log need not be available yet. 0, or -1 with
 * errno. */
MUST_CHECK int log_target_open(struct log_target *target, const char *name);
void log_target_close(struct log_target *target);

/* Reopens a file by its name. 0, or -1 with errno, and it stays open as before. */
MUST_CHECK int log_target_reopen(struct log_target *target);

/* Checks what log_target_open would do, but creates nothing and opens no FIFO. 0, or -1 with
 * errno. */
MUST_CHECK int log_target_check(const char *name);

/* Do both names mean the same target? Two paths of one file do not. */
bool log_target_is_same(const char *a, const char *b);

enum log_style log_target_style(const struct log_target *target);

/* The result of log_prepare; the writer's from log_commit on. */
struct log_change {
    struct {
        unsigned form;            /* of lines after the change */
        bool swaps;               /* the target changes */
        struct log_target target; /* the new one, and after the swap the old one */
        char *name;               /* likewise */
        size_t mark;              /* lines before it precede the change */
    } sinks[LOG_SINKS];
    STAILQ_ENTRY(log_change) link; /* for the writer */
};

/* Connects to the system's log; -1 with errno. *packets: one line per packet, without its
 * newline. */
MUST_CHECK int log_syslog_connect(bool *packets);

/* Writes the prefix of a line in the system's log, for a severity of syslog(3); returns its
 * length. */
size_t log_syslog_head(char *text, size_t size, int severity);

/* Starts the thread. 0, or -1 with errno. */
MUST_CHECK int log_writer_start(void);

/* Something was put into the sink. Without the thread it is written at once, as far as possible
 * without waiting; with it, the thread is woken when due. */
void log_writer_notice(struct log_sink *sink);

/* Has the files reopened, by the thread if it runs. */
void log_writer_reopen(void);

/* From now on lines are put in the change's forms. The thread, if it runs, swaps the targets: in
 * the order of these calls, and each after it has written earlier lines to the old targets, as far
 * as these accept them. The change is then freed. */
void log_writer_change(struct log_change *change);

/* How many changes are still pending. */
unsigned log_writer_changes(void);

/* Writes what is left, for at most 1 s, and ends the thread. False: the thread is still busy, and
 * owns the sinks from then on. */
bool log_writer_stop(void);

#endif
