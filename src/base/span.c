/* SPDX-License-Identifier: ISC */
/* A time span as text. */
#include "base/span.h"

#include <inttypes.h>
#include <stdio.h>

const char *span_format(usec_t span, char text[SPAN_TEXT_MAX])
{
    static const struct {
        const char *name;
        usec_t length;
    } units[] = {{"h", 3600 * USEC_PER_SEC},
                 {"m", 60 * USEC_PER_SEC},
                 {"s", USEC_PER_SEC},
                 {"ms", USEC_PER_MSEC}};
    size_t i = span == 0 ? 2 : 0;
    while (i < ARRAY_LEN(units) - 1 && span % units[i].length != 0)
        i++;
    snprintf(text, SPAN_TEXT_MAX, "%" PRId64 " %s", span / units[i].length, units[i].name);
    return text;
}
