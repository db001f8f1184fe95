/* SPDX-License-Identifier: ISC */
/* The search list of resolv.conf(5): which full names a name may stand for, and in what order.
 * c-ares supports it too, but goes through it separately for each query without reporting its
 * position, so that A and AAAA records of different names could be mixed. */
#ifndef KAPROXY_SEARCH_LIST_H
#define KAPROXY_SEARCH_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

/* Anything longer is not a name: it is truncated, and c-ares rejects it. */
#define SEARCH_NAME_MAX 512

struct search_list {
    char *domains; /* separated by whitespace; NULL: none */
    unsigned ndots;
};

/* Reads the file, LOCALDOMAIN and RES_OPTIONS; a missing file sets nothing. If neither sets a
 * domain, that of this machine's name is used. 0, or -1 with errno (out of memory or of
 * descriptors), and then there is nothing to clear. */
MUST_CHECK int search_list_read(struct search_list *list, const char *file);
void search_list_clear(struct search_list *list);

/* Writes the full name to try at this position, from 0 on, with its final dot. false: there are no
 * more. */
bool search_list_name(const struct search_list *list, const char *name, size_t place,
                      char full[SEARCH_NAME_MAX]);

#endif
