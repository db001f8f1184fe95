/* SPDX-License-Identifier: ISC */
/* The protocol of tcp and tls: uninterpreted bytes. */
#ifndef KAPROXY_OPAQUE_PROTOCOL_H
#define KAPROXY_OPAQUE_PROTOCOL_H

#include "session/protocol.h"

extern const struct protocol opaque_protocol;

#endif
