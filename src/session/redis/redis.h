/* SPDX-License-Identifier: ISC */
/* Sessions of redis listeners (redis, rediss). */
#ifndef KAPROXY_REDIS_H
#define KAPROXY_REDIS_H

#include "session/protocol.h"

extern const struct protocol redis_protocol;

#endif
