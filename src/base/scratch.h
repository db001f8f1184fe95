/* SPDX-License-Identifier: ISC */
/* Memory that the sessions of one loop use in turn: nothing in it outlasts the event that it was
 * filled in. */
#ifndef KAPROXY_SCRATCH_H
#define KAPROXY_SCRATCH_H

#include <stddef.h>

struct scratch {
    char *data;
    size_t size;
};

#endif
