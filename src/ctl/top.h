/* SPDX-License-Identifier: ISC */
/* A view of everything, refreshed until the user ends it. */
#ifndef KAPROXY_CTL_TOP_H
#define KAPROXY_CTL_TOP_H

#include "ctl/client.h"
#include "ctl/options.h"

int top_run(const struct client *client, const struct options *options);

#endif
