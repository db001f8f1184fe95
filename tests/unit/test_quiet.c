/* SPDX-License-Identifier: ISC */
/* When an opaque conversation is idle: every order in which bytes can move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "session/quiet.h"

/* C: the client sent bytes, U: the upstream did. */
struct row {
    const char *order;
    bool at_rest;
};

static const struct row rows[] = {
    {"", true},       /* unused: it is returned as it arrived */
    {"U", false},     /* a greeting without an answer */
    {"UU", false},    /* more of it */
    {"C", false},     /* a question without an answer: the EOF is a half-close */
    {"CU", true},     /* question and answer */
    {"CUU", true},    /* an answer in pieces */
    {"CCU", true},    /* a question in pieces */
    {"CUC", false},   /* the next question is open */
    {"CUCU", true},   /* a conversation */
    {"UC", false},    /* a greeting and a question */
    {"UCU", true},    /* greeting, question, answer */
    {"UCUC", false},  /* greeting, question, answer, question */
    {"UUCCUU", true}, /* all of it in pieces */
};

static void test_every_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct quiet opaque = {0};
        for (const char *who = rows[i].order; *who != '\0'; who++) {
            if (*who == 'C')
                quiet_client_sent(&opaque);
            else
                quiet_upstream_sent(&opaque);
        }
        if (quiet_at_rest(&opaque) != rows[i].at_rest)
            fail_msg("\"%s\" should%s be idle", rows[i].order, rows[i].at_rest ? "" : " not");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
