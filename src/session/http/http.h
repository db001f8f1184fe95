/* SPDX-License-Identifier: ISC */
/* The protocol of http and https: HTTP/1.0 and 1.1 (RFC 9112). */
#ifndef KAPROXY_HTTP_PROTOCOL_H
#define KAPROXY_HTTP_PROTOCOL_H

#include "session/protocol.h"

extern const struct protocol http_protocol;

#endif
