/* SPDX-License-Identifier: ISC */
/* The location of the configuration if no file is named: kaproxy/kaproxy.ini in sysconfdir or, as
 * before 0.1.0, kaproxy.ini directly in there. */
#ifndef KAPROXY_CONFIG_PLACE_H
#define KAPROXY_CONFIG_PLACE_H

/* The file to read, now: the old one only while the new one does not exist. Never NULL, and
 * constant; the file need not exist. Any thread. */
const char *config_place_find(void);

/* A warning about a file found in this way; NULL: none. Constant. Any thread. */
const char *config_place_warning(const char *file);

#endif
