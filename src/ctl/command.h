/* SPDX-License-Identifier: ISC */
/* The verbs that change something. */
#ifndef KAPROXY_CTL_COMMAND_H
#define KAPROXY_CTL_COMMAND_H

#include "ctl/client.h"
#include "ctl/options.h"

/* resume, reconnect: the verb's name is the path. */
int command_run(const struct client *client, const struct options *options);

/* These then wait until nothing is in use there. */
int command_pause(const struct client *client, const struct options *options);
int command_drain(const struct client *client, const struct options *options);

/* Waits for the outcome, and prints what has changed, or the mistakes on standard error. */
int command_reload(const struct client *client, const struct options *options);

int command_log_level(const struct client *client, const struct options *options);

#endif
