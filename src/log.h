/* Messages for the operator, and the access log. The sinks are the program's only mutable
 * globals: they are set before the loop starts. */
#ifndef KAPROXY_LOG_H
#define KAPROXY_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "log_line.h"
#include "util.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Target of a log: "stderr", "syslog", "off" (access log), or a file's path. 0, or -1 with errno
 * when a file cannot be opened; the log then stays what it was. */
MUST_CHECK int log_open(const char *target, enum log_level level);
MUST_CHECK int log_access_open(const char *target);

/* Opens files anew (SIGHUP). A file that cannot be opened stays as it was, and a message says so:
 * -1 then. */
int log_reopen(void);
void log_close(void);

/* Gives the log files to who is to open them anew later. */
void log_set_owner(uid_t user, gid_t group);

bool log_enabled(enum log_level level);
bool log_access_enabled(void);

/* One line, without a final newline. What cannot be written (a full disk) is counted, and the
 * number is reported once writing works again. */
void log_message(enum log_level level, const char *format, ...) PRINTF(2, 3);

/* A finished access-log line with its final newline. */
void log_access(const char *line, size_t length);

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
