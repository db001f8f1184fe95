/* SPDX-License-Identifier: ISC */
/* Proxy-Status (RFC 9209) of local replies: tells programs that kaproxy generated the response, and
 * why. */
#ifndef KAPROXY_PROXY_STATUS_H
#define KAPROXY_PROXY_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "pool/pool.h"
#include "session/session.h"

/* What led to a local reply. What does not apply is 0. */
struct proxy_cause {
    unsigned status; /* the reply's status */
    enum session_end end;
    enum pool_discard reason;      /* of the connection, if there was one */
    const struct failure *failure; /* why there was none; NULL: there was one, or none was needed */
    enum tls_fault fault;          /* of the connection */
    bool response_started;         /* a part of the response had come */
    uint16_t response_status;      /* the upstream's, if known */
    uint16_t response_bad;         /* bad_class of its header */
};

/* The error type of RFC 9209, section 2.3. */
const char *proxy_status_error(const struct proxy_cause *cause);

/* The field's value, with the text as details. Returns value. */
#define PROXY_STATUS_MAX 512
const char *proxy_status_format(char value[PROXY_STATUS_MAX], const struct proxy_cause *cause,
                                const char *text);

#endif
