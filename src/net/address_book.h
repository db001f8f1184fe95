/* SPDX-License-Identifier: ISC */
/* The addresses that a name had in its recent answers. Pure.
 *
 * Where DNS rotates through many addresses, an address that an answer lacks is not gone. It is gone
 * if none of the last ADDRESS_GONE_ANSWERS had it, over at least ADDRESS_GONE_TIME. The families
 * are answered separately. */
#ifndef KAPROXY_ADDRESS_BOOK_H
#define KAPROXY_ADDRESS_BOOK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"
#include "net/address.h"

#define ADDRESS_GONE_ANSWERS 3
#define ADDRESS_GONE_TIME    (30 * USEC_PER_SEC)

/* How many are remembered. A new address replaces the one that has been missing longest; if all are
 * in the last answers, it is not added, and so not used. */
#define ADDRESS_BOOK_MAX 64

struct address_entry {
    union address address; /* without a port */
    size_t rank;           /* its position in the last answer */
    unsigned missed;       /* consecutive answers that lacked it; 0: the last one had it */
    usec_t missing_since;  /* the first of these */
};

struct address_book {
    size_t count;
    struct address_entry entries[ADDRESS_BOOK_MAX]; /* by rank */
};

/* Records an answer for a family; addresses of the other family are ignored. Returns whether the
 * family's addresses have changed, or one is missing. */
bool address_book_note(struct address_book *book, sa_family_t family,
                       const union address *addresses, size_t count, usec_t now);

/* The addresses of the family's last answer, in its order. Returns how many; both families together
 * have at most ADDRESS_BOOK_MAX. */
size_t address_book_list(const struct address_book *book, sa_family_t family,
                         union address *addresses);

/* NULL: the address is gone, or was never seen. */
const struct address_entry *address_book_find(const struct address_book *book,
                                              const union address *address);

/* Whether any is missing. */
bool address_book_lacks(const struct address_book *book);

#endif
