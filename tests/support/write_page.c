/* SPDX-License-Identifier: ISC */
/* For tests of the status page in a browser, without a server: writes the page made of the status
 * that is read from standard input; with an argument a file that the page refers to, by its path,
 * or "policy", its Content-Security-Policy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/page.h"

static int fail(const char *what)
{
    fprintf(stderr, "write_page: %s\n", what);
    return EXIT_FAILURE;
}

static int write_file(const char *path)
{
    for (size_t i = 0; i < PAGE_FILES; i++) {
        if (strcmp(path, page_files[i].path) == 0)
            return fwrite(page_files[i].text, page_files[i].length, 1, stdout) == 1
                       ? EXIT_SUCCESS
                       : fail("cannot write");
    }
    return fail("there is no such file");
}

static int write_page(void)
{
    json_error_t error;
    json_t *status = json_loadf(stdin, JSON_ALLOW_NUL, &error);
    struct evbuffer *out = evbuffer_new();
    int result = EXIT_FAILURE;
    if (status == NULL || out == NULL)
        fail(status == NULL ? error.text : "out of memory");
    else if (page_write(out, status) < 0)
        fail("page_write failed");
    else if (fwrite(evbuffer_pullup(out, -1), evbuffer_get_length(out), 1, stdout) == 1)
        result = EXIT_SUCCESS;
    json_decref(status);
    if (out != NULL)
        evbuffer_free(out);
    return result;
}

int main(int argc, char **argv)
{
    if (argc == 1)
        return write_page();
    if (strcmp(argv[1], "policy") != 0)
        return write_file(argv[1]);
    puts(PAGE_POLICY);
    return EXIT_SUCCESS;
}
