/* SPDX-License-Identifier: ISC */
/* What a fuzz target claims. */
#ifndef KAPROXY_FUZZ_REQUIRE_H
#define KAPROXY_FUZZ_REQUIRE_H

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            require_failed(__FILE__, __LINE__, #condition);                                        \
    } while (0)
_Noreturn void require_failed(const char *file, int line, const char *condition);

#endif
