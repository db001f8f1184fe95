/* SPDX-License-Identifier: ISC */
/* The exit statuses of kaproxyctl. */
#ifndef KAPROXY_CTL_EXITS_H
#define KAPROXY_CTL_EXITS_H

enum exits {
    EXIT_DONE = 0,
    EXIT_REFUSED = 1,     /* by kaproxy; status --check: something critical is wrong */
    EXIT_USAGE = 2,       /* of kaproxyctl; status --check: there is a warning */
    EXIT_UNREACHABLE = 3, /* no response, or not from kaproxy */
    EXIT_WAITED = 4       /* something was still in use when the time was up */
};

#endif
