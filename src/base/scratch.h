/* SPDX-License-Identifier: ISC */
/* Memory that the sessions of one loop share: its contents do not outlast the event in which they
 * were written. */
#ifndef KAPROXY_SCRATCH_H
#define KAPROXY_SCRATCH_H

#include <stddef.h>

struct scratch {
    char *data;
    size_t size;
};

#endif
