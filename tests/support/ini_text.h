/* SPDX-License-Identifier: ISC */
/* Loads the text of a kaproxy.ini; a failure fails the test. */
#ifndef KAPROXY_INI_TEXT_H
#define KAPROXY_INI_TEXT_H

#include <stddef.h>

#include "config/config.h"

#define LISTENER           "[listener a]\nlisten=127.0.0.1:80\nupstream=tcp://x:1\nreuse=quiet\n"
#define HTTP_LISTENER      "[listener a]\nlisten=127.0.0.1:80\nupstream=http://x\n"
#define REDIS_LISTENER     "[listener a]\nlisten=127.0.0.1:80\nupstream=redis://x\n"
#define MEMCACHED_LISTENER "[listener a]\nlisten=127.0.0.1:80\nupstream=memcached://x\n"
#define HTTPS_LISTENER     "[listener a]\nlisten=127.0.0.1:80\nupstream=https://x\n"

/* *said, to be freed, is what is reported about the file, without its name at the start of each
 * line. */
struct config *ini_load_bytes(const char *bytes, size_t length, char **said);

/* A text without a mistake or warning. */
struct config *ini_load(const char *text);

/* A text without a mistake, with exactly these warnings: "LINE: warning: text\n" for each. */
struct config *ini_load_warned(const char *text, const char *expected);

/* What config_print writes; to be freed. */
char *ini_print(const struct config *config);

/* A text with exactly these mistakes: "LINE: text\n" for each. */
void assert_mistakes(const char *text, const char *expected);

/* A text with one mistake, in this line, whose message contains these words. */
void assert_mistake(const char *text, int line, const char *words);

#endif
