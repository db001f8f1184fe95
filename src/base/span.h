/* SPDX-License-Identifier: ISC */
/* A time span as text, for messages. */
#ifndef KAPROXY_SPAN_H
#define KAPROXY_SPAN_H

#include "base/util.h"

/* "500 ms", "3 s", "2 m", "1 h": in the largest unit of kaproxy.ini in which it is a whole number;
 * fractions of a millisecond are dropped. Returns text. */
#define SPAN_TEXT_MAX 32
const char *span_format(usec_t span, char text[SPAN_TEXT_MAX]);

#endif
