/* SPDX-License-Identifier: ISC */
/* One line of an INI file, read by inih.
 *
 * inih is given one line at a time: then every line has a verdict of its own (inih reports only the
 * first mistake), a key may be indented, and nothing is truncated silently. */
#ifndef KAPROXY_CONFIG_INI_H
#define KAPROXY_CONFIG_INI_H

#include <stddef.h>

/* The longest line, without its end: what fits into inih's buffer. */
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

/* `length` counts the bytes of the line, which may still have its end. */
void config_ini_parse(struct config_ini_line *parsed, const char *line, size_t length);

#endif
