/* SPDX-License-Identifier: ISC */
/* Warnings of certificates that expire soon: one a day, with what an operator has to know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/certificates.h"
#include "support/ini_text.h"
#include "support/tls_world.h"

#define DAY 86400

static struct world world;

/* Fills the folder that is the current one during all tests. */
static int set_up(void **state)
{
    struct identity identity;
    (void)state;
    world_make(&world);
    assert_int_equal(chdir(world.folder), 0);
    identity_make(&identity, &(struct identity_options){.name = "ending", .from = -9, .to = 5});
    identity_write_certificate(&identity, "ending.pem");
    identity_write_key(&identity, "ending.key", NULL);
    identity_clear(&identity);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    world_clear(&world);
    return 0;
}

/* The lines of the log that contain this. */
static unsigned lines(const char *text)
{
    char line[4096];
    unsigned n = 0;
    FILE *file = fopen("log", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        n += strstr(line, text) != NULL;
    fclose(file);
    return n;
}

static void test_a_day_has_one_warning(void **state)
{
    static const char text[] = "[listener a]\nlisten=127.0.0.1:1\nupstream=https://x\n"
                               "tls_cert_file=ending.pem\ntls_key_file=ending.key\n"
                               "[listener b]\nlisten=127.0.0.1:2\nupstream=https://x\n"
                               "tls_cert_file=ending.pem\ntls_key_file=ending.key\n"
                               "[listener c]\nlisten=127.0.0.1:3\nupstream=https://x\n";
    struct certificates certificates;
    struct tls_clients clients;
    char *said;
    (void)state;
    struct config *config = ini_load_bytes(text, strlen(text), &said);
    assert_non_null(config);
    free(said);
    struct loop *loop = loop_new();
    assert_non_null(loop);
    assert_int_equal(log_open("log", LOG_LEVEL_NOTICE), 0);
    assert_int_equal(tls_clients_init(&clients, config, NULL, NULL), 0);
    assert_int_equal(certificates_start(&certificates, loop, config, &clients), 0);
    assert_int_equal(
        lines("warning: certificate expires soon: listener=a,b tls_cert_file=ending.pem "
              "subject=\"CN=ending\" ends="),
        1);
    time_t now = time(NULL); /* not before the first check: that would be a clock set back */
    for (time_t later = now; later < now + 8 * DAY; later += 3600)
        certificates_check(&certificates, later);
    assert_int_equal(lines("days_left=4\n"), 1);
    assert_int_equal(lines("days_left=0\n"), 1);
    assert_int_equal(lines("certificate expires soon: "), 5);
    assert_int_equal(lines("certificate has expired: "), 3);
    certificates_stop(&certificates);
    tls_clients_clear(&clients);
    assert_int_equal(log_open("stderr", LOG_LEVEL_ERROR), 0);
    unlink("log");
    loop_free(loop);
    config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_day_has_one_warning)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
