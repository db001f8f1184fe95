/* SPDX-License-Identifier: ISC */
/* The system's log: priorities, the socket, and the prefix of a line. */
#include <errno.h>
#include <paths.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/log_internal.h"

/* Not through syslog(3), which waits for a daemon that has stopped reading, and does not report a
 * lost line. The format is the same. */

static int connect_as(int type)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = _PATH_LOG};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno == EAGAIN ? ECONNREFUSED : errno; /* its queue is full; nothing to poll */
    close(fd);
    errno = error;
    return -1;
}

int log_syslog_connect(bool *packets)
{
    *packets = true;
    int fd = connect_as(SOCK_DGRAM);
    if (fd >= 0 || errno != EPROTOTYPE)
        return fd;
    *packets = false;
    return connect_as(SOCK_STREAM);
}

size_t log_syslog_head(char *text, size_t size, int severity)
{
    char date[32];
    struct tm tm;
    time_t now = time(NULL);
    localtime_r(&now, &tm);
    strftime(date, sizeof(date), "%b %e %T", &tm);
    int n =
        snprintf(text, size, "<%d>%s kaproxy[%d]: ", LOG_DAEMON | severity, date, log_process_id());
    return n < 0 ? 0 : (size_t)n;
}
