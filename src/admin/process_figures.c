/* SPDX-License-Identifier: ISC */
/* /proc/self, the clocks and the limits. */
#include "admin/process_figures.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static usec_t read_clock(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        return -1;
    return time.tv_sec * USEC_PER_SEC + time.tv_nsec / 1000;
}

/* The number of bytes, terminated by NUL, or -1. */
static ssize_t read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n >= 0)
        text[n] = '\0';
    return n;
}

/* proc(5): the second field is the program's name in parentheses, and may contain anything; the
 * 24th is its memory in pages. */
static void read_stat(struct process_figures *figures)
{
    char text[1024];
    int64_t pages;
    long page_size = sysconf(_SC_PAGESIZE);
    if (read_file("/proc/self/stat", text, sizeof(text)) < 0)
        return;
    const char *behind = strrchr(text, ')');
    if (behind == NULL || page_size <= 0 ||
        sscanf(behind + 1,
               " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
               " %*s %*s %" SCNd64,
               &pages) != 1)
        return;
    figures->resident = pages * page_size;
}

/* Without the one used for reading. */
static int64_t count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int64_t count = -1;
    if (folder == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

void process_figures_read(struct process_figures *figures)
{
    struct rlimit limit;
    *figures = (struct process_figures){.resident = -1, .max_fds = -1};
    figures->cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    figures->open_fds = count_descriptors();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        figures->max_fds = (int64_t)limit.rlim_cur;
    read_stat(figures);
}
