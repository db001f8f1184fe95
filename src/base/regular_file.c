/* SPDX-License-Identifier: ISC */
/* Opens files, and rejects what is not a regular file. */
#include "base/regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* NULL: it is one. */
static const char *explain(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_text(errno);
    if (S_ISDIR(st.st_mode))
        return error_text(EISDIR);
    return S_ISREG(st.st_mode) ? NULL : "is not a regular file";
}

int regular_file_open(const char *path, const char **mistake)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    *mistake = fd < 0 ? error_text(errno) : explain(fd);
    if (fd < 0 || *mistake == NULL)
        return fd;
    close(fd);
    return -1;
}

const char *regular_file_check(const char *path)
{
    const char *mistake;
    int fd = regular_file_open(path, &mistake);
    if (fd >= 0)
        close(fd);
    return mistake;
}
