/* SPDX-License-Identifier: ISC */
/* What systemd hears of us, by libsystemd, as Type=notify has it: sd_notify(3),
 * sd_watchdog_enabled(3). Where nobody listens ($NOTIFY_SOCKET is not set), or without libsystemd,
 * these do nothing. Only the main process of a service is listened to (NotifyAccess=main). No text
 * of ours is larger than a datagram; systemd takes them at once, and as long as it does not the
 * caller waits. For the control thread. */
#ifndef KAPROXY_NOTIFY_H
#define KAPROXY_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/util.h"

/* Is there anybody who listens? */
bool notify_is_heard(void);

/* READY=1: clients are served; also after notify_reloading, whatever became of the reload. */
void notify_ready(void);

/* RELOADING=1. */
void notify_reloading(void);

/* STOPPING=1. */
void notify_stopping(void);

/* One line for people, cut after NOTIFY_STATUS_MAX bytes. */
#define NOTIFY_STATUS_MAX 512
void notify_status(const char *format, ...) PRINTF(1, 2);

/* That another process is the service's main one from now on, and waits until systemd has heard of
 * it, NOTIFY_BARRIER at most: before that the caller must not end. True also where nobody listens;
 * false when systemd did not take it in that time (logged). */
#define NOTIFY_BARRIER (5 * USEC_PER_SEC)
bool notify_main_pid(pid_t pid) MUST_CHECK;

/* The interval within which this process is to say that it is alive; 0: it need not. */
usec_t notify_watchdog(void);
/* WATCHDOG=1. */
void notify_alive(void);

#endif
