/* SPDX-License-Identifier: ISC */
/* The target of a log: opens it, checks whether it could be opened, and compares names. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_internal.h"

static const struct {
    const char *target;
    int fd;
} standard[] = {
    {"stdout", STDOUT_FILENO},          {"stderr", STDERR_FILENO},
    {"/dev/stdout", STDOUT_FILENO},     {"/dev/stderr", STDERR_FILENO},
    {"/dev/fd/1", STDOUT_FILENO},       {"/dev/fd/2", STDERR_FILENO},
    {"/proc/self/fd/1", STDOUT_FILENO}, {"/proc/self/fd/2", STDERR_FILENO},
};

/* The descriptor that the target means, or -1. Opening it by name would need a permission that the
 * process which passed it to us may have and we do not. */
static int standard_descriptor(const char *target)
{
    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        if (strcmp(target, standard[i].target) == 0)
            return standard[i].fd;
    }
    return -1;
}

/* Our own open files are non-blocking; that changes nothing for regular files, and makes opening a
 * FIFO without a reader fail with ENXIO. */
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

static bool is_name(const char *target, const char *name)
{
    return strcmp(target, name) == 0;
}

bool log_target_is_same(const char *a, const char *b)
{
    int fd = standard_descriptor(a);
    return fd == standard_descriptor(b) && (fd >= 0 || is_name(a, b));
}

/* 0, or -1 with errno. */
static int open_path(struct log_target *target, const char *path)
{
    target->path = strdup(path);
    if (target->path == NULL)
        return -1;
    target->fd = open_file(path);
    if (target->fd >= 0)
        return 0;
    int error = errno;
    free(target->path);
    target->path = NULL;
    errno = error;
    return -1;
}

int log_target_open(struct log_target *target, const char *name)
{
    *target = (struct log_target){.kind = LOG_TO_STANDARD, .fd = standard_descriptor(name)};
    if (target->fd >= 0)
        return 0;
    if (is_name(name, "off")) {
        target->kind = LOG_TO_NOTHING;
        return 0;
    }
    if (is_name(name, "syslog")) {
        target->kind = LOG_TO_SYSLOG;
        tzset(); /* reads a file, once */
        target->fd = log_syslog_connect(&target->packets);
        return 0;
    }
    target->kind = LOG_TO_FILE;
    return open_path(target, name);
}

void log_target_close(struct log_target *target)
{
    if ((target->kind == LOG_TO_FILE || target->kind == LOG_TO_SYSLOG) && target->fd >= 0)
        close(target->fd);
    free(target->path);
    *target = (struct log_target){.kind = LOG_TO_NOTHING, .fd = -1};
}

int log_target_reopen(struct log_target *target)
{
    int fd = open_file(target->path);
    if (fd < 0)
        return -1;
    close(target->fd);
    target->fd = fd;
    return 0;
}

enum log_style log_target_style(const struct log_target *target)
{
    switch (target->kind) {
    case LOG_TO_STANDARD:
        return log_is_journal(target->fd) ? LOG_STYLE_JOURNAL : LOG_STYLE_PLAIN;
    case LOG_TO_SYSLOG:
        return LOG_STYLE_SYSLOG;
    case LOG_TO_FILE:
        return LOG_STYLE_PLAIN;
    default:
        return LOG_STYLE_NONE;
    }
}

/* Whether the effective user has this access; the file itself is not touched. 0, or -1 with
 * errno. */
static int may(const char *path, int how)
{
    return faccessat(AT_FDCWD, path, how, AT_EACCESS);
}

/* Whether a missing file could be created. 0, or -1 with errno. */
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

/* A FIFO is not opened: closing its only writer would be end-of-file for its reader. */
int log_target_check(const char *target)
{
    struct stat st;
    if (standard_descriptor(target) >= 0 || is_name(target, "off") || is_name(target, "syslog"))
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
