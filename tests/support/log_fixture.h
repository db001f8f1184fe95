/* SPDX-License-Identifier: ISC */
/* What the tests of the log share: a folder with two names in it, targets, and what became of
 * lines. */
#ifndef KAPROXY_LOG_FIXTURE_H
#define KAPROXY_LOG_FIXTURE_H

/* cmocka requires these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"

#define HEAD TIME " kaproxy\\[[0-9]+\\]" /* of a message */
#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

struct fixture {
    char folder[64];
    char file[80], other[80];            /* names in it, unused so far */
    int standard_output, standard_error; /* as they were before the test */
    char text[1 << 16];
};

/* Afterwards the logs are closed, and whatever has the two names is removed. */
int log_fixture_setup(void **state);
int log_fixture_teardown(void **state);

#define LOG_TEST(test)                                                                             \
    cmocka_unit_test_setup_teardown(test, log_fixture_setup, log_fixture_teardown)

/* Makes descriptor `fd` refer to a file, or to whatever has that path. */
void redirect(int fd, const char *path);

/* Makes a FIFO and opens it for reading; the read does not wait. */
int make_fifo(const char *path);

/* Shrinks a pipe's capacity to a page. */
void shrink_pipe(int fd);

/* All that can be read now, at most `size` - 1 bytes; returns text. */
const char *read_now(int fd, char *text, size_t size);

const char *content(struct fixture *f, const char *path);

void open_messages(const char *target, enum log_level level);
void open_accesses(const char *target);
void access_line(const char *line);

void assert_matches(const char *text, const char *pattern);

#endif
