/* SPDX-License-Identifier: ISC */
/* Which protocol serves a scheme. A new protocol has a row in protocols.c, one in net/scheme.c, and
 * a folder in src/session. */
#ifndef KAPROXY_PROTOCOLS_H
#define KAPROXY_PROTOCOLS_H

#include "net/scheme.h"

struct protocol;

const struct protocol *protocols_find(enum protocol_id id);

#endif
