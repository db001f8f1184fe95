/* SPDX-License-Identifier: ISC */
/* A header as it should have arrived: what the program tolerates, repaired in the simplest way,
 * line by line. */
#ifndef KAPROXY_FUZZ_REPAIR_H
#define KAPROXY_FUZZ_REPAIR_H

#include "reference.h"

struct repaired {
    char *text; /* allocated */
    size_t length;
    size_t taken; /* of what arrived, up to the end of the header */
    bool mixed;   /* lines ended in two ways: in a response that is tolerated, but remembered */
};

enum reference_verdict repair_head(struct repaired *head, enum reference_kind kind,
                                   const char *data, size_t length);
void repair_clear(struct repaired *head);

#endif
