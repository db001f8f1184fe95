/* SPDX-License-Identifier: ISC */
/* Shortages for unit tests: calls of the program that fail with ENOMEM. A program that links this
 * is linked with SHORTAGE_WRAPS. */
#ifndef KAPROXY_TESTS_SHORTAGE_H
#define KAPROXY_TESTS_SHORTAGE_H

/* Lets call number `nth` from now on, 1 the very next one, fail with ENOMEM, once; 0: none does. */
void shortage_of_epoll_ctl(int nth);
void shortage_of_calloc(int nth);

/* True once the call that was to fail has been made. */
int shortage_came(void);

#endif
