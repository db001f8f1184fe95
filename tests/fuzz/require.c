/* SPDX-License-Identifier: ISC */
/* Reports which claim does not hold, and aborts. */
#include "require.h"

#include <stdio.h>
#include <stdlib.h>

void require_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}
