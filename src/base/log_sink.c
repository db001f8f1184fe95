/* One log's target: opens it, writes what is in its ring, reports what was lost. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_internal.h"

/* What is written at once. A pipe takes PIPE_BUF bytes whole or not at all, and when it is ready to
 * be written it takes them at once; so lines of several processes do not mix, and a pipe that
 * cannot be made non-blocking does not block. */
#define PIECE_BULK  (256 * 1024)
#define PIECE_OTHER PIPE_BUF

/* There is room again: not for a line but for many, lest a reader that is a little too slow gets
 * more reports than lines. */
#define ROOM_AGAIN(ring) ((ring)->size / 16)

static atomic_int errors[LOG_SINKS]; /* why it cannot be written, or 0 */

void log_sink_init(struct log_sink *sink, char *bytes, size_t size)
{
    log_ring_init(&sink->ring, bytes, size);
    sink->kind = LOG_TO_NOTHING;
    sink->fd = -1;
    sink->started = 0;
    sink->failing = sink->lost_before = false;
    sink->retry_at = 0;
    atomic_init(&sink->lost, 0);
    atomic_init(&sink->wake_at, SIZE_MAX);
}

/* By whoever puts a line, and by the writer. */
static void count_lost(struct log_sink *sink)
{
    atomic_fetch_add(&sink->lost, 1);
    atomic_fetch_add(&log_stats.lost[sink->index].value, 1);
}

/* 0: it is written again. */
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

static const struct {
    const char *target;
    int fd;
} standard[] = {
    {"stdout", STDOUT_FILENO},          {"stderr", STDERR_FILENO},
    {"/dev/stdout", STDOUT_FILENO},     {"/dev/stderr", STDERR_FILENO},
    {"/dev/fd/1", STDOUT_FILENO},       {"/dev/fd/2", STDERR_FILENO},
    {"/proc/self/fd/1", STDOUT_FILENO}, {"/proc/self/fd/2", STDERR_FILENO},
};

/* The descriptor that the target stands for, or -1. To open it by its name would take a right that
 * whoever gave it to us may have and we not. */
static int standard_descriptor(const char *target)
{
    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        if (strcmp(target, standard[i].target) == 0)
            return standard[i].fd;
    }
    return -1;
}

/* Our own descriptions of files do not block; that changes nothing for regular ones, and lets the
 * open of a FIFO that nobody reads fail with ENXIO. */
#define OPEN_FLAGS (O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static int open_file(const char *path)
{
    return open(path, OPEN_FLAGS | O_CREAT, 0640);
}

bool log_is_journal(int fd)
{
    const char *text = getenv("JOURNAL_STREAM");
    uintmax_t dev, ino;
    int end = 0;
    struct stat st;
    return text != NULL && sscanf(text, "%ju:%ju%n", &dev, &ino, &end) == 2 && text[end] == '\0' &&
           fstat(fd, &st) == 0 && dev == st.st_dev && ino == st.st_ino;
}

bool log_sink_is_open_on(const struct log_sink *sink, int fd)
{
    struct stat st;
    if (sink->kind == LOG_TO_SYSLOG) /* its descriptor comes and goes */
        return false;
    return sink->fd == fd ||
           (fstat(fd, &st) == 0 && st.st_dev == sink->dev && st.st_ino == sink->ino);
}

static void set_descriptor(struct log_sink *sink, int fd)
{
    struct stat st = {0};
    sink->fd = fd;
    sink->bulk = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    sink->dev = st.st_dev;
    sink->ino = st.st_ino;
    sink->started = 0; /* a line that the old one has in part is written whole */
    set_failing(sink, 0);
    sink->retry_at = 0;
}

void log_sink_close(struct log_sink *sink)
{
    if ((sink->kind == LOG_TO_FILE || sink->kind == LOG_TO_SYSLOG) && sink->fd >= 0)
        close(sink->fd);
    free(sink->path);
    sink->kind = LOG_TO_NOTHING;
    sink->fd = -1;
    sink->path = NULL;
}

int log_sink_open(struct log_sink *sink, const char *target)
{
    enum log_kind kind = LOG_TO_FILE;
    char *path = NULL;
    bool packets = false;
    int fd = standard_descriptor(target);
    if (fd >= 0) {
        kind = LOG_TO_STANDARD;
    } else if (strcmp(target, "off") == 0) {
        kind = LOG_TO_NOTHING;
    } else if (strcmp(target, "syslog") == 0) {
        kind = LOG_TO_SYSLOG;
        tzset(); /* reads a file, once */
        fd = log_syslog_connect(&packets);
    } else {
        path = strdup(target);
        if (path == NULL)
            return -1;
        fd = open_file(path);
        if (fd < 0) {
            free(path);
            return -1;
        }
    }
    log_sink_close(sink);
    sink->kind = kind;
    sink->path = path;
    sink->packets = packets;
    sink->journal = kind == LOG_TO_STANDARD && log_is_journal(fd);
    set_descriptor(sink, fd);
    return 0;
}

/* Whether the effective user may do that; the file itself is left alone. 0, or -1 with errno. */
static int may(const char *path, int how)
{
    return faccessat(AT_FDCWD, path, how, AT_EACCESS);
}

/* Whether a file that is not there could be created. 0, or -1 with errno. */
static int check_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return may(".", W_OK | X_OK);
    char *directory = strndup(path, (size_t)(slash - path) + 1);
    if (directory == NULL)
        return -1;
    int result = may(directory, W_OK | X_OK);
    int error = errno;
    free(directory);
    errno = error;
    return result;
}

/* A FIFO is not opened: to be the only writer and to leave is the end for whoever reads it. */
int log_sink_check(const char *target)
{
    struct stat st;
    if (standard_descriptor(target) >= 0 || strcmp(target, "off") == 0 ||
        strcmp(target, "syslog") == 0)
        return 0;
    if (stat(target, &st) < 0)
        return errno == ENOENT ? check_directory(target) : -1;
    if (S_ISFIFO(st.st_mode))
        return may(target, W_OK);
    int fd = open(target, OPEN_FLAGS);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

int log_sink_reopen(struct log_sink *sink)
{
    if (sink->kind != LOG_TO_FILE)
        return 0;
    int fd = open_file(sink->path);
    if (fd < 0) {
        log_error("cannot open the %s %s again, still writing to the old file: %s", sink->name,
                  sink->path, log_open_error(sink->path, errno));
        return -1;
    }
    close(sink->fd);
    set_descriptor(sink, fd);
    return 0;
}

/* What is in its ring */

/* With the lock. False when there is not yet room. */
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

bool log_sink_put(struct log_sink *sink, const char *line, size_t length)
{
    bool first = false;
    pthread_mutex_lock(&sink->putting);
    if (log_ring_used(&sink->ring) == 0)
        sink->lost_before = false;
    if (!put_loss(sink) || !log_ring_put(&sink->ring, line, length)) {
        count_lost(sink);
        first = !sink->lost_before;
        sink->lost_before = true;
    }
    pthread_mutex_unlock(&sink->putting);
    return first;
}

/* Writing */

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Descriptors 1 and 2 are shared with other processes and stay as they are: they are asked before
 * each write. An error, too, is met by writing. */
static bool is_ready(const struct log_sink *sink)
{
    struct pollfd pollfd = {.fd = sink->fd, .events = POLLOUT};
    return sink->bulk || sink->kind != LOG_TO_STANDARD || poll(&pollfd, 1, 0) != 0;
}

/* A piece of `pending` bytes: whole lines, or a part of one that is longer than a piece. Returns
 * how many bytes went out, or -1 with errno. */
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
    ssize_t n = writev(sink->fd, parts, count);
    if (n < 0)
        return -1;
    size_t out = sink->started + (size_t)n;
    whole = log_ring_lines(ring, out);
    log_ring_take(ring, whole);
    sink->started = out - whole;
    return n;
}

/* A line as a packet. Returns its length, or -1 with errno. */
static ssize_t send_line(struct log_sink *sink)
{
    struct iovec parts[2];
    size_t length = log_ring_first(&sink->ring);
    struct msghdr message = {.msg_iov = parts};
    message.msg_iovlen = (size_t)log_ring_peek(&sink->ring, 0, length - 1, parts);
    if (sendmsg(sink->fd, &message, MSG_NOSIGNAL) < 0) {
        if (errno != EMSGSIZE)
            return -1;
        count_lost(sink);
    }
    log_ring_take(&sink->ring, length);
    return (ssize_t)length;
}

/* As the two above. The system's log is connected to again when it was restarted. */
static ssize_t write_some(struct log_sink *sink, size_t pending)
{
    bool is_new = sink->fd < 0;
    for (;;) {
        if (sink->fd < 0 && (sink->fd = log_syslog_connect(&sink->packets)) < 0)
            return -1;
        ssize_t n = sink->packets ? send_line(sink) : write_piece(sink, pending);
        if (n >= 0 || sink->kind != LOG_TO_SYSLOG || errno == EAGAIN || errno == EINTR)
            return n;
        int error = errno;
        close(sink->fd);
        sink->fd = -1;
        sink->started = 0;
        errno = error;
        if (is_new)
            return -1;
        is_new = true;
    }
}

static void fail(struct log_sink *sink, int error)
{
    if (error == EPIPE) /* whoever reads next has not seen the line's beginning */
        sink->started = 0;
    if (sink->failing)
        return;
    set_failing(sink, error);
    if (sink != &log_sinks[LOG_MESSAGES])
        log_error("the %s cannot be written: %s", sink->name, strerror(error));
}

/* Lines were lost, and perhaps nobody puts another one. */
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
    /* Without the thread, what is logged from in here is written at once, perhaps past the mark. */
    while ((pending = mark - atomic_load(&sink->ring.taken)) - 1 < sink->ring.size) {
        if (sink->kind == LOG_TO_NOTHING) {
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

unsigned long log_sink_left(struct log_sink *sink)
{
    struct iovec parts[2];
    unsigned long lines = atomic_load_explicit(&sink->lost, memory_order_relaxed);
    int count = log_ring_peek(&sink->ring, 0, log_ring_used(&sink->ring), parts);
    for (int i = 0; i < count; i++) {
        const char *bytes = parts[i].iov_base;
        for (size_t at = 0; at < parts[i].iov_len; at++)
            lines += bytes[at] == '\n';
    }
    return lines;
}
