/* SPDX-License-Identifier: ISC */
/* All numbers as text for Prometheus and compatible programs: the text format 0.0.4, or OpenMetrics
 * 1.0.
 *
 *   kaproxy_upstream_wait_seconds_bucket{pool="default",upstream="http://a:80",le="0.0001"} 17
 *
 * The name of a metric's family consists of kaproxy_, its set's prefix, its name, and its unit; a
 * counter's samples end in _total. The samples of a family are contiguous, across blocks. A gauge
 * has a second family for its peak, whose name ends in _peak (before the unit). Whole numbers are
 * exact, and so are times, to the microsecond.
 *
 * Added to these is what is not in any block: process_* as other programs have them,
 * kaproxy_build_info, and for each configured listener kaproxy_listener_info, with its pool,
 * upstream and protocol. */
#ifndef KAPROXY_EXPOSITION_H
#define KAPROXY_EXPOSITION_H

#include <event2/buffer.h>
#include <stdbool.h>

#include "admin/admin_ops.h"
#include "admin/admin_view.h"
#include "base/util.h"

#define EXPOSITION_TEXT        "text/plain; version=0.0.4; charset=utf-8"
#define EXPOSITION_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Appends the whole text. -1 with ENOMEM: nothing was appended. */
MUST_CHECK int exposition_write(struct evbuffer *out, const struct admin_ops *ops,
                                const struct admin_view *view, bool openmetrics);

/* Whether an Accept field (RFC 9110 section 12.5.1; NULL: none) prefers OpenMetrics, as Prometheus
 * does: it lists that, in version 1, the old 0.0.1 or without a version, with a quality that is not
 * below that of plain text. Wildcards alone get plain text. */
bool exposition_wants_openmetrics(const char *accept);

#endif
