/* SPDX-License-Identifier: ISC */
/* One log: puts lines into its ring, writes them to its target, reports what was lost. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_internal.h"

/* Largest single write. A pipe accepts PIPE_BUF bytes whole or not at all, and at once when poll
 * says that it is writable. So lines of several processes do not mix, and a pipe that cannot be
 * made non-blocking does not block. */
#define PIECE_BULK  (256 * 1024)
#define PIECE_OTHER PIPE_BUF

/* Room for many lines, not just one, so that a reader that is slightly too slow does not get more
 * loss reports than lines. */
#define ROOM_AGAIN(ring) ((ring)->size / 16)

static atomic_int errors[LOG_SINKS]; /* why it cannot be written, or 0 */

void log_sink_init(struct log_sink *sink, char *bytes, size_t size)
{
    log_ring_init(&sink->ring, bytes, size);
    sink->target = (struct log_target){.kind = LOG_TO_NOTHING, .fd = -1};
    atomic_init(&sink->form, LOG_FORM(LOG_STYLE_NONE, LOG_FORMAT_LOGFMT));
    sink->started = 0;
    sink->failing = sink->lost_before = false;
    sink->retry_at = 0;
    atomic_init(&sink->lost, 0);
    atomic_init(&sink->wake_at, SIZE_MAX);
}

/* Called by the threads that put lines, and by the writer. */
static void count_lost(struct log_sink *sink)
{
    atomic_fetch_add(&sink->lost, 1);
    atomic_fetch_add(&log_stats.lost[sink->index].value, 1);
}

/* 0: it can be written again. */
static void set_failing(struct log_sink *sink, int error)
{
    sink->failing = error != 0;
    gauge_set(&log_stats.failing[sink->index], sink->failing);
    atomic_store_explicit(&errors[sink->index], error, memory_order_relaxed);
}

int log_target_error(unsigned log)
{
    return atomic_load_explicit(&errors[log], memory_order_relaxed);
}

/* Where it goes */

bool log_sink_is_open_on(const struct log_sink *sink, int fd)
{
    struct stat st;
    if (sink->target.kind == LOG_TO_SYSLOG) /* its descriptor changes */
        return false;
    return sink->target.fd == fd ||
           (fstat(fd, &st) == 0 && st.st_dev == sink->dev && st.st_ino == sink->ino);
}

/* Records which file the target is now open on. */
static void note_descriptor(struct log_sink *sink)
{
    struct stat st = {0};
    sink->bulk = fstat(sink->target.fd, &st) == 0 && S_ISREG(st.st_mode);
    sink->dev = st.st_dev;
    sink->ino = st.st_ino;
    sink->started = 0; /* a line that the old one has in part is written again in full */
    set_failing(sink, 0);
    sink->retry_at = 0;
}

void log_sink_close(struct log_sink *sink)
{
    log_target_close(&sink->target);
    /* A reload that hung, and is no longer waited for, may still compare it. */
    pthread_mutex_lock(&sink->putting);
    free(sink->target_name);
    sink->target_name = NULL;
    pthread_mutex_unlock(&sink->putting);
}

/* The lines before the mark have no target any more; those lost before are reported with them. */
static void drop(struct log_sink *sink, size_t mark)
{
    pthread_mutex_lock(&sink->putting);
    unsigned long lost = atomic_exchange(&sink->lost, 0); /* already counted */
    pthread_mutex_unlock(&sink->putting);
    unsigned long left = log_sink_left(sink, mark);
    log_ring_take(&sink->ring, mark - atomic_load(&sink->ring.taken));
    atomic_fetch_add(&log_stats.lost[sink->index].value, left);
    if (left + lost > 0)
        log_error("%lu lines of the %s could not be written", left + lost, sink->name);
}

void log_sink_swap(struct log_sink *sink, struct log_target *target, size_t mark)
{
    struct log_target old = sink->target;
    sink->target = *target;
    *target = old;
    note_descriptor(sink);
    if (sink->target.kind == LOG_TO_NOTHING)
        drop(sink, mark);
}

size_t log_sink_announce(struct log_sink *sink, char **name, unsigned form)
{
    pthread_mutex_lock(&sink->putting);
    if (*name != NULL) {
        char *old = sink->target_name;
        sink->target_name = *name;
        *name = old;
    }
    atomic_store(&sink->form, form);
    size_t mark = atomic_load(&sink->ring.put);
    pthread_mutex_unlock(&sink->putting);
    return mark;
}

bool log_sink_has_target(struct log_sink *sink, const char *name)
{
    pthread_mutex_lock(&sink->putting);
    bool has = sink->target_name != NULL && log_target_is_same(sink->target_name, name);
    pthread_mutex_unlock(&sink->putting);
    return has;
}

int log_sink_reopen(struct log_sink *sink)
{
    struct log_target *target = &sink->target;
    if (target->kind != LOG_TO_FILE)
        return 0;
    if (log_target_reopen(target) < 0) {
        log_error("cannot open the %s %s again, still writing to the old file: %s", sink->name,
                  target->path, log_open_error(target->path, errno));
        return -1;
    }
    note_descriptor(sink);
    return 0;
}

/* What is in its ring */

/* Under the lock. False if there is not enough room yet. */
static bool put_loss(struct log_sink *sink)
{
    char line[LOG_LOSS_MAX];
    unsigned long lost = atomic_load_explicit(&sink->lost, memory_order_relaxed);
    if (lost == 0)
        return true;
    if (sink->ring.size - log_ring_used(&sink->ring) < ROOM_AGAIN(&sink->ring) ||
        !log_ring_put(&sink->ring, line, sink->tell_loss(line, lost)))
        return false;
    atomic_fetch_sub(&sink->lost, lost);
    return true;
}

/* Under the lock. */
static enum log_put put(struct log_sink *sink, const char *line, size_t length)
{
    if (log_ring_used(&sink->ring) == 0)
        sink->lost_before = false;
    if (put_loss(sink) && log_ring_put(&sink->ring, line, length))
        return LOG_PUT_DONE;
    count_lost(sink);
    bool first = !sink->lost_before;
    sink->lost_before = true;
    return first ? LOG_PUT_LOSES : LOG_PUT_DONE;
}

enum log_put log_sink_put(struct log_sink *sink, unsigned form, const char *line, size_t length)
{
    enum log_put result = LOG_PUT_OLD_FORM;
    pthread_mutex_lock(&sink->putting);
    if (atomic_load_explicit(&sink->form, memory_order_relaxed) == form)
        result = put(sink, line, length);
    pthread_mutex_unlock(&sink->putting);
    return result;
}

/* Writing */

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Descriptors 1 and 2 are shared with other processes and are not modified: they are polled before
 * each write. Errors, too, are found by writing. */
static bool is_ready(const struct log_sink *sink)
{
    struct pollfd pollfd = {.fd = sink->target.fd, .events = POLLOUT};
    return sink->bulk || sink->target.kind != LOG_TO_STANDARD || poll(&pollfd, 1, 0) != 0;
}

/* Writes a piece of the `pending` bytes: whole lines, or a part of a line that is longer than a
 * piece. Returns how many bytes were written, or -1 with errno. */
static ssize_t write_piece(struct log_sink *sink, size_t pending)
{
    struct log_ring *ring = &sink->ring;
    struct iovec parts[2];
    size_t to = min(pending, sink->started + (sink->bulk ? PIECE_BULK : PIECE_OTHER));
    size_t whole = log_ring_lines(ring, to);
    if (whole > sink->started)
        to = whole;
    int count = log_ring_peek(ring, sink->started, to, parts);
    if (!is_ready(sink)) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t n = writev(sink->target.fd, parts, count);
    if (n < 0)
        return -1;
    size_t out = sink->started + (size_t)n;
    whole = log_ring_lines(ring, out);
    log_ring_take(ring, whole);
    sink->started = out - whole;
    return n;
}

/* Sends a line as a packet. Returns its length, or -1 with errno. */
static ssize_t send_line(struct log_sink *sink)
{
    struct iovec parts[2];
    size_t length = log_ring_first(&sink->ring);
    struct msghdr message = {.msg_iov = parts};
    message.msg_iovlen = (size_t)log_ring_peek(&sink->ring, 0, length - 1, parts);
    if (sendmsg(sink->target.fd, &message, MSG_NOSIGNAL) < 0) {
        if (errno != EMSGSIZE)
            return -1;
        count_lost(sink);
    }
    log_ring_take(&sink->ring, length);
    return (ssize_t)length;
}

/* As the two above. Reconnects to the system's log if that was restarted. */
static ssize_t write_some(struct log_sink *sink, size_t pending)
{
    bool is_new = sink->target.fd < 0;
    for (;;) {
        if (sink->target.fd < 0 &&
            (sink->target.fd = log_syslog_connect(&sink->target.packets)) < 0)
            return -1;
        ssize_t n = sink->target.packets ? send_line(sink) : write_piece(sink, pending);
        if (n >= 0 || sink->target.kind != LOG_TO_SYSLOG || errno == EAGAIN || errno == EINTR)
            return n;
        int error = errno;
        close(sink->target.fd);
        sink->target.fd = -1;
        sink->started = 0;
        errno = error;
        if (is_new)
            return -1;
        is_new = true;
    }
}

static void fail(struct log_sink *sink, int error)
{
    if (error == EPIPE) /* the next reader has not seen the beginning of the line */
        sink->started = 0;
    if (sink->failing)
        return;
    set_failing(sink, error);
    if (sink != &log_sinks[LOG_MESSAGES])
        log_error("the %s cannot be written: %s", sink->name, strerror(error));
}

/* Lines were lost, and no further line may ever be put. */
static void report_loss(struct log_sink *sink)
{
    if (atomic_load_explicit(&sink->lost, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&sink->putting);
    (void)put_loss(sink);
    pthread_mutex_unlock(&sink->putting);
}

enum log_sink_state log_sink_flush(struct log_sink *sink, size_t mark)
{
    size_t pending;
    /* Without the thread, messages logged in here are written at once, possibly past the mark. */
    while ((pending = mark - atomic_load(&sink->ring.taken)) - 1 < sink->ring.size) {
        if (sink->target.kind == LOG_TO_NOTHING) {
            log_ring_take(&sink->ring, pending);
            break;
        }
        ssize_t n = write_some(sink, pending);
        if (n > 0) {
            set_failing(sink, 0);
        } else if (n < 0 && errno == EAGAIN) {
            return LOG_SINK_BLOCKED;
        } else if (n == 0 || errno != EINTR) {
            fail(sink, n == 0 ? EIO : errno);
            return LOG_SINK_FAILING;
        }
        report_loss(sink);
    }
    return LOG_SINK_DONE;
}

unsigned long log_sink_left(struct log_sink *sink, size_t mark)
{
    struct iovec parts[2];
    unsigned long lines = atomic_load_explicit(&sink->lost, memory_order_relaxed);
    int count = log_ring_peek(&sink->ring, 0, mark - atomic_load(&sink->ring.taken), parts);
    for (int i = 0; i < count; i++) {
        const char *bytes = parts[i].iov_base;
        for (size_t at = 0; at < parts[i].iov_len; at++)
            lines += bytes[at] == '\n';
    }
    return lines;
}
