/* SPDX-License-Identifier: ISC */
/* Upgrade, RFC 9110 7.8: which protocols are passed on. */
#include "http1/http1_internal.h"

#include <strings.h>

/* protocol-name ["/" protocol-version], both of them tokens. h2c is not passed on: it is followed
 * by requests that we cannot see, to an upstream that treats them as ours. */
bool http1_upgrade_passes(const char *protocol, size_t length)
{
    size_t name = http1_token_length(protocol, length);

    if (name == 0 || http1_text_is(protocol, name, "h2c"))
        return false;
    return name == length ||
           (protocol[name] == '/' && http1_is_token_text(protocol + name + 1, length - name - 1));
}

bool http1_upgrade_has(const char *sent, const char *protocol, size_t length)
{
    struct http1_list list;
    const char *member;
    size_t member_length;

    http1_list_begin(&list, sent, strlen(sent));
    while (http1_list_next(&list, &member, &member_length))
        if (member_length == length && strncasecmp(member, protocol, length) == 0)
            return true;
    return false;
}
