/* SPDX-License-Identifier: ISC */
/* Sessions of memcached listeners (memcached, memcacheds). */
#ifndef KAPROXY_MC_H
#define KAPROXY_MC_H

#include "session/protocol.h"

extern const struct protocol mc_protocol;

#endif
