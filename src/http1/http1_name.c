/* SPDX-License-Identifier: ISC */
/* The names of fields that matter to us, found by length and letters. */
#include "http1/http1_internal.h"

#include <string.h>
#include <strings.h>

/* Every field that frames, routes, guards, negotiates or controls a message. None is allowed in a
 * trailer (RFC 9110 6.5.1); Connection must not name those that are not hop-by-hop. But the answer
 * to a login (RFC 9110 11.6.3) does none of these, and is allowed.
 *
 * As code, not as a table: with both lengths known the compiler turns each name into a comparison
 * of one or two words. */
#define NAME(lower, id)                                                                            \
    if (http1_same(name, lower, sizeof(lower) - 1))                                                \
    return HTTP1_NAME_##id

static enum http1_name find_short(const char *name, size_t length)
{
    switch (length) {
    case 2:
        NAME("te", KNOWN_HOP);
        break;
    case 3:
        NAME("age", KNOWN);
        NAME("via", KNOWN);
        break;
    case 4:
        NAME("date", DATE);
        NAME("host", HOST);
        NAME("vary", KNOWN);
        break;
    case 5:
        NAME("range", KNOWN);
        break;
    case 6:
        NAME("cookie", KNOWN);
        NAME("expect", EXPECT);
        NAME("pragma", KNOWN);
        break;
    case 7:
        NAME("expires", KNOWN);
        NAME("trailer", TRAILER);
        NAME("upgrade", UPGRADE);
        break;
    case 8:
        NAME("if-match", KNOWN);
        NAME("if-range", KNOWN);
        NAME("location", KNOWN);
        break;
    case 9:
        NAME("forwarded", FORWARDED);
        NAME("x-real-ip", KNOWN);
        break;
    }
    return HTTP1_NAME_OTHER;
}

static enum http1_name find_long(const char *name, size_t length)
{
    switch (length) {
    case 10:
        NAME("connection", CONNECTION);
        NAME("keep-alive", KEEP_ALIVE);
        NAME("set-cookie", KNOWN);
        break;
    case 11:
        NAME("retry-after", KNOWN);
        break;
    case 12:
        NAME("content-type", KNOWN);
        NAME("max-forwards", MAX_FORWARDS);
        break;
    case 13:
        NAME("authorization", AUTHORIZATION);
        NAME("cache-control", KNOWN);
        NAME("content-range", KNOWN);
        NAME("if-none-match", KNOWN);
        break;
    case 14:
        NAME("content-length", CONTENT_LENGTH);
        NAME("http2-settings", KNOWN_HOP); /* RFC 7540 3.2.1, for h2c, which we do not pass on */
        break;
    case 15:
        NAME("x-forwarded-for", X_FORWARDED_FOR);
        break;
    case 16:
        NAME("content-encoding", KNOWN);
        NAME("proxy-connection", KNOWN_HOP);
        NAME("www-authenticate", WWW_AUTHENTICATE);
        break;
    case 17:
        NAME("if-modified-since", KNOWN);
        NAME("transfer-encoding", TRANSFER_ENCODING);
        break;
    case 18:
        /* The Proxy-Auth pair is for the hop that asks for credentials (RFC 9110 11.7). We never
         * do, so the next one is meant and they are passed on. */
        NAME("proxy-authenticate", PROXY_AUTHENTICATE);
        break;
    case 19:
        NAME("authentication-info", AUTHENTICATION_INFO);
        NAME("if-unmodified-since", KNOWN);
        NAME("proxy-authorization", PROXY_AUTHORIZATION);
        break;
    case 25:
        NAME("proxy-authentication-info", AUTHENTICATION_INFO);
        break;
    }
    return HTTP1_NAME_OTHER;
}

enum http1_name http1_name_find(const char *name, size_t length)
{
    return length < 10 ? find_short(name, length) : find_long(name, length);
}

static bool starts_with(const char *name, size_t length, const char *prefix)
{
    return length > strlen(prefix) && strncasecmp(name, prefix, strlen(prefix)) == 0;
}

bool http1_name_is_protected(const char *name, size_t length)
{
    enum http1_name id = http1_name_find(name, length);

    if (id != HTTP1_NAME_OTHER)
        return !http1_name_is_in(id, HTTP1_NAMES_HOP_BY_HOP | HTTP1_NAMES_IN_TRAILER);
    return starts_with(name, length, "Content-") || starts_with(name, length, "Sec-") ||
           starts_with(name, length, "X-Forwarded-");
}
