/* SPDX-License-Identifier: ISC */
/* Whether clients are served, by an operator's wish: of a host, or a listener. */
#ifndef KAPROXY_SERVICE_H
#define KAPROXY_SERVICE_H

enum service {
    SERVICE_OPEN,
    SERVICE_PAUSED,  /* clients wait */
    SERVICE_DRAINING /* what is under way goes on, and nothing new begins */
};

static inline const char *service_name(enum service service)
{
    static const char *const names[] = {"open", "paused", "draining"};
    return names[service];
}

#endif
