/* SPDX-License-Identifier: ISC */
/* Style and script, as strings that make(1) makes of page.css and page.js. */
#include "admin/page.h"

static const char style[] =
#include "admin/page.css.inc"
    ;

static const char script[] =
#include "admin/page.js.inc"
    ;

const struct page_file page_files[PAGE_FILES] = {
    {"/style.css", "text/css; charset=utf-8", style, sizeof(style) - 1},
    {"/page.js", "text/javascript; charset=utf-8", script, sizeof(script) - 1},
};
