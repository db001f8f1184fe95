/* SPDX-License-Identifier: ISC */
/* Messages to systemd, by libsystemd where there is one. */
#include "daemon/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-build.h"
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif
#include "base/log.h"

bool notify_is_heard(void)
{
#ifdef HAVE_LIBSYSTEMD
    const char *name = getenv("NOTIFY_SOCKET");
    return name != NULL && *name != '\0';
#else
    return false;
#endif
}

/* 0, also without a listener; else a negative error number. */
static int tell(const char *text)
{
#ifdef HAVE_LIBSYSTEMD
    int result = sd_notify(0, text);
    return result < 0 ? result : 0;
#else
    (void)text;
    return 0;
#endif
}

/* Waits until systemd has processed everything sent so far. Returns like tell. */
static int await_receipt(void)
{
#ifdef HAVE_LIBSYSTEMD
    int result = sd_notify_barrier(0, NOTIFY_BARRIER);
    return result < 0 ? result : 0;
#else
    return 0;
#endif
}

void notify_ready(void)
{
    int result = tell("READY=1");
    if (result < 0)
        log_warning("cannot notify systemd of readiness: %s", strerror(-result));
}

/* From version 253 on systemd needs the time (Type=notify-reload). */
void notify_reloading(void)
{
    char text[64];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, monotonic_time());
    tell(text);
}

void notify_stopping(void)
{
    tell("STOPPING=1");
}

void notify_status(const char *format, ...)
{
    char text[sizeof("STATUS=") + NOTIFY_STATUS_MAX] = "STATUS=";
    size_t length = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + length, sizeof(text) - length, format, args);
    va_end(args);
    tell(text);
}

bool notify_main_pid(pid_t pid)
{
    char text[64];
    snprintf(text, sizeof(text), "MAINPID=%jd", (intmax_t)pid);
    int result = tell(text);
    if (result == 0)
        result = await_receipt();
    if (result < 0)
        log_error("cannot notify systemd that process %jd is the main one: %s", (intmax_t)pid,
                  strerror(-result));
    return result == 0;
}

usec_t notify_watchdog(void)
{
#ifdef HAVE_LIBSYSTEMD
    uint64_t interval;
    if (sd_watchdog_enabled(0, &interval) > 0 && interval <= INT64_MAX)
        return (usec_t)interval;
#endif
    return 0;
}

void notify_alive(void)
{
    tell("WATCHDOG=1");
}
