/* SPDX-License-Identifier: ISC */
/* One line of an INI file, read by inih.
 *
 * inih gets the lines one by one: then every line has a verdict of its own (inih reports the
 * first mistake only), a key may be indented, and nothing is cut off in silence. */
#ifndef KAPROXY_CONFIG_INI_H
#define KAPROXY_CONFIG_INI_H

#include <stddef.h>

/* The longest line, without its end: what inih's buffer has room for. */
#define CONFIG_INI_LINE_MAX 197

enum config_ini_kind {
    INI_NOTHING, /* blank, or a comment */
    INI_SECTION, /* name */
    INI_KEY,     /* name and value */
    INI_MISTAKE  /* mistake */
};

struct config_ini_line {
    enum config_ini_kind kind;
    char name[CONFIG_INI_LINE_MAX + 1];
    char value[CONFIG_INI_LINE_MAX + 1];
    char mistake[100];
};

/* `length` counts the bytes of the line, which may have its end of line still. */
void config_ini_parse(struct config_ini_line *parsed, const char *line, size_t length);

#endif
