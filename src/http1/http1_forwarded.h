/* SPDX-License-Identifier: ISC */
/* Whether the upstream receives the client's address, and in which field. */
#ifndef KAPROXY_HTTP1_FORWARDED_H
#define KAPROXY_HTTP1_FORWARDED_H

enum http1_forwarded {
    HTTP1_FORWARDED_OFF,
    HTTP1_FORWARDED_X,      /* X-Forwarded-For */
    HTTP1_FORWARDED_RFC7239 /* Forwarded */
};

#endif
