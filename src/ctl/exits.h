/* SPDX-License-Identifier: ISC */
/* What kaproxyctl's exit status says. */
#ifndef KAPROXY_CTL_EXITS_H
#define KAPROXY_CTL_EXITS_H

enum exits {
    EXIT_DONE = 0,
    EXIT_REFUSED = 1,     /* by kaproxy; status --check: something critical is wrong */
    EXIT_USAGE = 2,       /* of kaproxyctl; status --check: there is a warning */
    EXIT_UNREACHABLE = 3, /* no answer, or none of kaproxy's */
    EXIT_WAITED = 4       /* it was too long until nothing was in use */
};

#endif
