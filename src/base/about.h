/* SPDX-License-Identifier: ISC */
/* What the texts of --help and --version end with: where to report bugs, and where the program
 * comes from. Empty unless configure was given either. */
#ifndef KAPROXY_ABOUT_H
#define KAPROXY_ABOUT_H

#include "config-build.h"

#ifdef BUG_ADDRESS
#define ABOUT_BUGS "Report bugs to: " BUG_ADDRESS "\n"
#else
#define ABOUT_BUGS ""
#endif

#ifdef HOME_PAGE
#define ABOUT_HOME "Home page: " HOME_PAGE "\n"
#else
#define ABOUT_HOME ""
#endif

#define ABOUT ABOUT_BUGS ABOUT_HOME

#endif
