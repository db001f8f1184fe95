/* SPDX-License-Identifier: ISC */
/* What we report to systemd, through libsystemd, as for Type=notify: sd_notify(3),
 * sd_watchdog_enabled(3). Without a listener ($NOTIFY_SOCKET is not set), or without libsystemd,
 * these do nothing. Only the main process of a service is heard (NotifyAccess=main). No message of
 * ours is larger than a datagram; systemd reads them at once, and while it does not the caller
 * waits. For the control thread. */
#ifndef KAPROXY_NOTIFY_H
#define KAPROXY_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"

/* Is there a listener? */
bool notify_is_heard(void);

/* READY=1: clients are served; also after notify_reloading, whatever the outcome of the reload. */
void notify_ready(void);

/* RELOADING=1. */
void notify_reloading(void);

/* STOPPING=1. */
void notify_stopping(void);

/* One line for humans, truncated to NOTIFY_STATUS_MAX bytes. */
#define NOTIFY_STATUS_MAX 512
void notify_status(const char *format, ...) PRINTF(1, 2);

/* Another process is the service's main process from now on. Waits until systemd has processed
 * that, at most NOTIFY_BARRIER; the caller must not end before. True also without a listener; false
 * when systemd did not process it in that time (logged). */
#define NOTIFY_BARRIER (5 * USEC_PER_SEC)
bool notify_main_pid(pid_t pid) MUST_CHECK;

/* The interval within which this process has to report that it is alive; 0: it need not. */
usec_t notify_watchdog(void);
/* WATCHDOG=1. */
void notify_alive(void);

#endif
