/* SPDX-License-Identifier: ISC */
/* A test that cannot run here is skipped, with a reason that is printed. After <cmocka.h>. */
#ifndef KAPROXY_TESTS_SKIP_H
#define KAPROXY_TESTS_SKIP_H

/* As a comment of TAP. */
#define skip_because(reason)                                                                       \
    do {                                                                                           \
        print_message("# %s\n", (reason));                                                         \
        skip();                                                                                    \
    } while (0)

#endif
