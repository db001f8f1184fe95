/* SPDX-License-Identifier: ISC */
/* Whether a host or a listener serves clients, as the operator has set it. */
#ifndef KAPROXY_SERVICE_H
#define KAPROXY_SERVICE_H

enum service {
    SERVICE_OPEN,
    SERVICE_PAUSED,  /* clients wait */
    SERVICE_DRAINING /* existing work continues, nothing new begins */
};

static inline const char *service_name(enum service service)
{
    static const char *const names[] = {"open", "paused", "draining"};
    return names[service];
}

#endif
