/* SPDX-License-Identifier: ISC */
/* The table of schemes. */
#include "net/scheme.h"

#include <stddef.h>
#include <string.h>

#include "base/util.h"

#define FRAMED (REUSE_SET(REUSE_FRAMED) | REUSE_SET(REUSE_NEVER))
#define OPAQUE (REUSE_SET(REUSE_QUIET) | REUSE_SET(REUSE_NEVER))

static const struct scheme schemes[] = {
    {.name = "http",
     .protocol = PROTOCOL_HTTP,
     .port = 80,
     .reuse = FRAMED,
     .reuse_default = REUSE_FRAMED},
    {.name = "https",
     .protocol = PROTOCOL_HTTP,
     .tls = true,
     .alpn = "http/1.1",
     .port = 443,
     .reuse = FRAMED,
     .reuse_default = REUSE_FRAMED},
    {.name = "redis",
     .protocol = PROTOCOL_REDIS,
     .port = 6379,
     .reuse = FRAMED,
     .reuse_default = REUSE_FRAMED},
    {.name = "rediss",
     .protocol = PROTOCOL_REDIS,
     .tls = true,
     .port = 6379,
     .reuse = FRAMED,
     .reuse_default = REUSE_FRAMED},
    {.name = "memcached",
     .protocol = PROTOCOL_MEMCACHED,
     .port = 11211,
     .reuse = FRAMED,
     .reuse_default = REUSE_FRAMED},
    {.name = "memcacheds",
     .protocol = PROTOCOL_MEMCACHED,
     .tls = true,
     .port = 11211,
     .reuse = FRAMED,
     .reuse_default = REUSE_FRAMED},
    {.name = "tcp",
     .protocol = PROTOCOL_OPAQUE,
     .may_have_name = true,
     .reuse = OPAQUE,
     .reuse_default = REUSE_UNSET},
    {.name = "tls",
     .protocol = PROTOCOL_OPAQUE,
     .tls = true,
     .may_have_name = true,
     .reuse = OPAQUE,
     .reuse_default = REUSE_UNSET},
};

const struct scheme *scheme_find(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        const struct scheme *scheme = &schemes[i];
        size_t length = strlen(scheme->name);
        if (strncmp(text, scheme->name, length) != 0)
            continue;
        if (text[length] == '\0' || (text[length] == '+' && scheme->may_have_name))
            return scheme;
    }
    return NULL;
}
