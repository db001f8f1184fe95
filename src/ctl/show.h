/* SPDX-License-Identifier: ISC */
/* The verbs that only show something. */
#ifndef KAPROXY_CTL_SHOW_H
#define KAPROXY_CTL_SHOW_H

#include "ctl/client.h"
#include "ctl/options.h"

int show_status(const struct client *client, const struct options *options);
int show_pools(const struct client *client, const struct options *options);
int show_hosts(const struct client *client, const struct options *options);
int show_listeners(const struct client *client, const struct options *options);
int show_sessions(const struct client *client, const struct options *options);
int show_metrics(const struct client *client, const struct options *options);

/* For probes: the verb's name is the path. EXIT_DONE or EXIT_REFUSED, with kaproxy's sentence. */
int show_probe(const struct client *client, const struct options *options);

#endif
