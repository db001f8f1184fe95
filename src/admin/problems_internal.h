/* SPDX-License-Identifier: ISC */
/* Shared by the files that find problems; for problems*.c alone.
 *
 *   problems.c           the list; the process, the logs and the loop
 *   problems_dial.c      a host: connections to it cannot be opened
 *   problems_host.c      a host: clients wait for it, it is slow, it is paused
 *   problems_sessions.c  a listener's sessions in which nothing moves
 *   problems_text.c      times, counts and reasons in words */
#ifndef KAPROXY_PROBLEMS_INTERNAL_H
#define KAPROXY_PROBLEMS_INTERNAL_H

#include "admin/names.h"
#include "admin/problems.h"

/* How long a failure to connect is shown when nothing has followed it. */
#define PROBLEM_SHOWN (15 * 60 * USEC_PER_SEC)

/* The subject of a listener's numbers; NULL: no block is of it. */
struct served {
    const struct subject *listener, *host;
};

struct search {
    const struct status_input *input;
    const struct config *config;
    const struct subjects *subjects;
    struct served *served; /* for each configured listener; looked up once */
    struct problems *found;
    size_t room;
    bool failed; /* there was no memory */
};

/* Where a problem is. */
struct place {
    const char *listener, *pool, *upstream, *tls;
};

/* problem_add appends to its sentence; both accept NULL, which problem_new returns when out of
 * memory. */
struct problem *problem_new(struct search *search, enum severity severity, const char *code,
                            const struct place *place);
void problem_add(struct problem *problem, const char *format, ...) PRINTF(2, 3);

#define NAME_TEXT_MAX (ENDPOINT_TEXT_MAX + 96)

/* A host, with all that is known about it. */
struct host {
    const struct subject *subject;
    const struct config_pool *pool;
    const struct snapshot_host *row; /* NULL: nothing is */
    struct place place;
    const char *name; /* for sentences: its upstream, with whose TLS settings if others differ */
    uint64_t busy, held, connecting, idle; /* connections */
    uint64_t waiting, queued;
    bool is_full; /* all that max_per_host allows are in use */
};

void problems_of_dials(struct search *search, const struct host *host);
void problems_of_waits(struct search *search, const struct host *host);
void problems_of_speed(struct search *search, const struct host *host);
void problems_of_service(struct search *search, const struct host *host);
void problems_of_sessions(struct search *search, const struct host *host);

/* Numbers of a subject by their metric's name: the current value, and the increase in the last
 * minute; `value` is a label's, or NULL for all of them. */
uint64_t number_of(const struct search *search, const struct subject *subject, const char *name,
                   const char *value);
uint64_t lately(const struct search *search, const struct subject *subject, const char *name,
                const char *value);
bool quantile(const struct search *search, const struct subject *subject, const char *name,
              double share, usec_t *time);

/* "3.2 s", "12 min". */
#define SPAN_TEXT_MAX 32
const char *span_text(char text[SPAN_TEXT_MAX], usec_t span);

/* "2026-11-30T05:59:36Z (12 min ago)"; from microseconds of Unix time. */
#define MOMENT_TEXT_MAX 64
const char *moment_text(char text[MOMENT_TEXT_MAX], int64_t moment, int64_t now);

/* "s" for a plural. */
static inline const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* What a failed dial means, as a clause: "its certificate has expired: certificate has expired
 * (CN=a on 2026-11-01)"; and the code of a problem that consists of that alone. */
#define REASON_TEXT_MAX 448
const char *reason_text(char text[REASON_TEXT_MAX], const struct failure *failure);
const char *reason_code(const struct failure *failure);

#endif
