/* SPDX-License-Identifier: ISC */
/* What the log's files share; for log*.c alone.
 *
 *   log.c          levels, what a line looks like, the two logs
 *   log_line.c     values of a line
 *   log_ring.c     lines on their way from those who log to the writer
 *   log_sink.c     one log: what is in its ring, what is written, what was lost
 *   log_target.c   where a log goes: opening and checking it
 *   log_change.c   other targets while lines are logged
 *   log_syslog.c   the system's log
 *   log_writer.c   the thread that writes, and what becomes of lines without it
 */
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
#define LOG_LOSS_MAX  160 /* a line that tells of losses */

enum log_sink_index { LOG_MESSAGES, LOG_ACCESSES, LOG_SINKS };

enum log_kind { LOG_TO_NOTHING, LOG_TO_STANDARD, LOG_TO_SYSLOG, LOG_TO_FILE };

/* Where a log goes, opened. */
struct log_target {
    enum log_kind kind;
    int fd;       /* -1: syslog without a connection, or nothing */
    char *path;   /* LOG_TO_FILE */
    bool packets; /* LOG_TO_SYSLOG: a line a packet */
};

/* What comes before a line: the target wants that. */
enum log_style { LOG_STYLE_NONE, LOG_STYLE_PLAIN, LOG_STYLE_JOURNAL, LOG_STYLE_SYSLOG };

/* All that a line's looks depend on, in one number: style and, in the access log, format. A line
 * that was composed in another form than its log has by now is not put. */
#define LOG_FORM(style, format) ((unsigned)(style) | (unsigned)(format) << 8)

static inline enum log_style log_form_style(unsigned form)
{
    return (enum log_style)(form & 0xff);
}

static inline enum log_format log_form_format(unsigned form)
{
    return (enum log_format)(form >> 8);
}

/* One log. Lines are put into its ring by any thread, one after the other, and written by one,
 * which is that of log_writer.c once it runs. What does not fit is dropped and counted; the count
 * is put in the dropped lines' place as soon as there is room again. Lines that cannot be written
 * stay in the ring, so that nothing is lost before that is full. */
struct log_sink {
    const char *name;
    /* Composes the line that tells of so many lost ones. */
    size_t (*tell_loss)(char line[LOG_LOSS_MAX], unsigned long lost);
    /* So many bytes are worth waking the writer for while it rests after others. */
    size_t enough;

    /* Of those who put lines. The lock is held while a line is copied, and never across a system
     * call; the writer takes it for a line of its own only, and not to empty the ring. So nobody
     * waits longer than others take to copy a line. */
    pthread_mutex_t putting;
    atomic_ulong lost; /* lines since the last one that was put */
    enum log_sink_index index;
    bool lost_before;  /* and some before it, since the ring was empty last */
    char *target_name; /* of the newest target, whose lines are put from now on; NULL: none was
                          opened. With the lock */
    atomic_uint form;  /* of the lines for it; changed with the lock */
    struct log_ring ring;
    atomic_size_t wake_at; /* whoever finds so many bytes in the ring wakes the writer */

    /* The writer's. */
    struct log_target target;
    dev_t dev; /* what it is open on, unless that is syslog */
    ino_t ino;
    bool bulk;      /* a regular file, which takes everything at once and is always ready */
    size_t started; /* bytes that are out of a first line that is not out */
    bool failing;
    usec_t retry_at; /* while it is failing */
};

extern struct log_sink log_sinks[LOG_SINKS];

/* A sink that is off, with an empty ring; for one that was never used, or was closed. */
void log_sink_init(struct log_sink *sink, char *bytes, size_t size);

/* For the writer, or while there is one thread. */
void log_sink_close(struct log_sink *sink);

enum log_put {
    LOG_PUT_DONE,    /* or dropped, as others were before it */
    LOG_PUT_LOSES,   /* it was dropped, and is the first one since the ring was empty */
    LOG_PUT_OLD_FORM /* nothing was done: compose it again */
};

/* Any thread. The form is the one in which the line was composed. */
MUST_CHECK enum log_put log_sink_put(struct log_sink *sink, unsigned form, const char *line,
                                     size_t length);

/* Any thread. Whether the newest target goes by that name. */
bool log_sink_has_target(struct log_sink *sink, const char *name);

/* Any thread. From now on lines are put in this form, for a target of this name, which is exchanged
 * for the old one (NULL: the target stays). Returns the value of ring.put at that: lines before it
 * are for the old target. */
size_t log_sink_announce(struct log_sink *sink, char **name, unsigned form);

/* For the writer. Exchanges what the sink is open on for `target`. Lines before the mark that are
 * not out yet go to the new one; where that is nothing they are dropped and counted. */
void log_sink_swap(struct log_sink *sink, struct log_target *target, size_t mark);

enum log_sink_state {
    LOG_SINK_DONE,    /* what was to be written is out */
    LOG_SINK_BLOCKED, /* fd takes no more at present: poll(2) for POLLOUT */
    LOG_SINK_FAILING, /* it cannot be written, which was logged */
};

/* For the writer. Writes the lines that were put before `mark`, a value of ring.put, as far as that
 * goes without waiting (but for a disk). */
enum log_sink_state log_sink_flush(struct log_sink *sink, size_t mark);

/* For the writer. How many lines before the mark are not out yet, lost ones and one that is out in
 * part included. */
unsigned long log_sink_left(struct log_sink *sink, size_t mark);

/* For the writer. Opens a file again; when that fails the old one stays, and a message says so. */
MUST_CHECK int log_sink_reopen(struct log_sink *sink);

/* Whose lines they are. */
int log_process_id(void);

/* Is the sink open on the same file as the descriptor? */
bool log_sink_is_open_on(const struct log_sink *sink, int fd);

/* Opens what goes by this name; the system's log need not be there yet. 0, or -1 with errno. */
MUST_CHECK int log_target_open(struct log_target *target, const char *name);
void log_target_close(struct log_target *target);

/* A file, by its name. 0, or -1 with errno; then it is open as before. */
MUST_CHECK int log_target_reopen(struct log_target *target);

/* As log_target_open would open it, but creates nothing and opens no FIFO. 0, or -1 with errno. */
MUST_CHECK int log_target_check(const char *name);

/* Do both names stand for one target? Two paths of one file do not. */
bool log_target_is_same(const char *a, const char *b);

enum log_style log_target_style(const struct log_target *target);

/* log_prepare's outcome; from log_commit on the writer's. */
struct log_change {
    struct {
        unsigned form;            /* of lines from then on */
        bool swaps;               /* there is another target */
        struct log_target target; /* the new one, and once it is swapped the old one */
        char *name;               /* as that */
        size_t mark;              /* lines before it are from before the change */
    } sinks[LOG_SINKS];
    STAILQ_ENTRY(log_change) link; /* the writer's */
};

/* A connection to the system's log, or -1 with errno. *packets: a line a packet, without its
 * newline. */
MUST_CHECK int log_syslog_connect(bool *packets);

/* What comes before a line in the system's log, for a severity of syslog(3); returns its length.
 */
size_t log_syslog_head(char *text, size_t size, int severity);

/* Starts the thread. 0, or -1 with errno. */
MUST_CHECK int log_writer_start(void);

/* Something was put into the sink. Without the thread it is written at once, as far as that goes
 * without waiting; with it, the thread is woken when it is time. */
void log_writer_notice(struct log_sink *sink);

/* Has the files opened again, by the thread if there is one. */
void log_writer_reopen(void);

/* Has lines put in the change's forms from now on, and targets swapped, by the thread if there is
 * one: in the order of these calls, each once it has written to the old ones what was put before,
 * as far as they take it. The change is then freed. */
void log_writer_change(struct log_change *change);

/* How many changes are still to be done. */
unsigned log_writer_changes(void);

/* Writes what there is, for 1 s at most, and ends the thread. False: the thread is still at it, and
 * the sinks are its for ever. */
bool log_writer_stop(void);

#endif
