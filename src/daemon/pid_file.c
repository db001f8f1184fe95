/* SPDX-License-Identifier: ISC */
/* Writes and removes the file with our process id. */
#include "daemon/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define PID_TEXT_MAX 24

static size_t put_pid(char text[PID_TEXT_MAX])
{
    return (size_t)snprintf(text, PID_TEXT_MAX, "%d\n", (int)getpid());
}

/* Why the existing file cannot be replaced; NULL: it is ours, stale, or does not exist. A rename
 * would replace anything but a directory. */
static const char *explain_kind(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? NULL : error_text(errno);
    if (S_ISDIR(st.st_mode))
        return error_text(EISDIR);
    if (S_ISFIFO(st.st_mode))
        return "a FIFO";
    return S_ISREG(st.st_mode) ? NULL : "no regular file";
}

/* In a directory such as /tmp a file can be replaced by its owner and by the directory's. */
static bool is_somebody_elses(const char *directory, const char *path)
{
    struct stat st, file;
    return geteuid() != 0 && stat(directory, &st) == 0 && (st.st_mode & S_ISVTX) != 0 &&
           st.st_uid != geteuid() && lstat(path, &file) == 0 && file.st_uid != geteuid();
}

const char *pid_file_check(const char *path)
{
    char directory[PATH_MAX];
    if (*path == '\0')
        return NULL;
    const char *slash = strrchr(path, '/');
    int length = slash == NULL ? 0 : (int)(slash - path) + 1;
    int n = snprintf(directory, sizeof(directory), "%.*s", length, path);
    if (n < 0 || (size_t)n >= sizeof(directory))
        return error_text(ENAMETOOLONG);
    if (length == 0)
        memcpy(directory, ".", 2);
    if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) < 0)
        return error_text(errno);
    const char *kind = explain_kind(path);
    if (kind == NULL && is_somebody_elses(directory, path))
        return error_text(EPERM);
    return kind;
}

/* Creates the file under this name, with our id. 0, or -1 with errno; then it does not exist. */
static int make_file(const char *path)
{
    char text[PID_TEXT_MAX];
    size_t length = put_pid(text);
    unlink(path); /* of a process with our id that got no further */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, length);
    int error = n < 0 ? errno : ENOSPC;
    close(fd);
    if (n == (ssize_t)length)
        return 0;
    unlink(path);
    errno = error;
    return -1;
}

/* NULL, or the reason. */
static const char *replace(const char *path)
{
    char fresh[PATH_MAX];
    const char *kind = explain_kind(path);
    if (kind != NULL)
        return kind;
    int n = snprintf(fresh, sizeof(fresh), "%s.%d", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof(fresh))
        return error_text(ENAMETOOLONG);
    if (make_file(fresh) < 0)
        return error_text(errno);
    if (rename(fresh, path) == 0)
        return NULL;
    kind = error_text(errno);
    unlink(fresh);
    return kind;
}

int pid_file_write(const char *path)
{
    const char *reason = *path == '\0' ? NULL : replace(path);
    if (reason == NULL)
        return 0;
    log_error("cannot write the pid file %s: %s", path, reason);
    return -1;
}

static bool is_ours(const char *path)
{
    char text[PID_TEXT_MAX], own[PID_TEXT_MAX];
    size_t length = put_pid(own);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    return n == (ssize_t)length && memcmp(text, own, length) == 0;
}

void pid_file_remove(const char *path)
{
    if (*path != '\0' && is_ours(path) && unlink(path) < 0)
        log_error("cannot remove the pid file %s: %s", path, error_text(errno));
}
