#include "http1_internal.h"

#include <string.h>
#include <strings.h>

/* Every field that frames, routes, guards, negotiates or steers a message. None may stand in a
 * trailer (RFC 9110 6.5.1); those that are not hop-by-hop may not be named by Connection. */
static const struct {
    const char *text;
    uint8_t length, id;
} names[] = {
#define NAME(text, id)                                                                             \
    {                                                                                              \
        text, sizeof(text) - 1, HTTP1_NAME_##id                                                    \
    }
    NAME("Age", KNOWN),
    NAME("Authorization", AUTHORIZATION),
    NAME("Cache-Control", KNOWN),
    NAME("Connection", CONNECTION),
    NAME("Content-Encoding", KNOWN),
    NAME("Content-Length", CONTENT_LENGTH),
    NAME("Content-Range", KNOWN),
    NAME("Content-Type", KNOWN),
    NAME("Cookie", KNOWN),
    NAME("Date", DATE),
    NAME("Expect", EXPECT),
    NAME("Expires", KNOWN),
    NAME("Forwarded", FORWARDED),
    NAME("Host", HOST),
    NAME("HTTP2-Settings", KNOWN_HOP), /* RFC 7540 3.2.1, of h2c, which we do not pass */
    NAME("If-Match", KNOWN),
    NAME("If-Modified-Since", KNOWN),
    NAME("If-None-Match", KNOWN),
    NAME("If-Range", KNOWN),
    NAME("If-Unmodified-Since", KNOWN),
    NAME("Keep-Alive", KEEP_ALIVE),
    NAME("Location", KNOWN),
    NAME("Max-Forwards", MAX_FORWARDS),
    NAME("Pragma", KNOWN),
    /* The Proxy-Auth pair is for whichever hop asks for credentials (RFC 9110 11.7). We never do,
     * so the next one is meant and they are passed on. */
    NAME("Proxy-Authenticate", PROXY_AUTHENTICATE),
    NAME("Proxy-Authorization", PROXY_AUTHORIZATION),
    NAME("Proxy-Connection", KNOWN_HOP),
    NAME("Range", KNOWN),
    NAME("Retry-After", KNOWN),
    NAME("Set-Cookie", KNOWN),
    NAME("TE", KNOWN_HOP),
    NAME("Trailer", TRAILER),
    NAME("Transfer-Encoding", TRANSFER_ENCODING),
    NAME("Upgrade", UPGRADE),
    NAME("Vary", KNOWN),
    NAME("Via", KNOWN),
    NAME("WWW-Authenticate", WWW_AUTHENTICATE),
    NAME("X-Forwarded-For", X_FORWARDED_FOR),
    NAME("X-Real-IP", KNOWN),
#undef NAME
};

enum http1_name http1_name_find(const char *name, size_t length)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (length == names[i].length && strncasecmp(name, names[i].text, length) == 0)
            return names[i].id;
    return HTTP1_NAME_OTHER;
}

/* RFC 9110 7.6.1. */
bool http1_name_is_hop_by_hop(enum http1_name name)
{
    return name == HTTP1_NAME_CONNECTION || name == HTTP1_NAME_KEEP_ALIVE ||
           name == HTTP1_NAME_TRANSFER_ENCODING || name == HTTP1_NAME_UPGRADE ||
           name == HTTP1_NAME_KNOWN_HOP;
}

static bool starts_with(const char *name, size_t length, const char *prefix)
{
    return length > strlen(prefix) && strncasecmp(name, prefix, strlen(prefix)) == 0;
}

bool http1_name_is_protected(const char *name, size_t length)
{
    enum http1_name id = http1_name_find(name, length);

    if (id != HTTP1_NAME_OTHER)
        return !http1_name_is_hop_by_hop(id);
    return starts_with(name, length, "Content-") || starts_with(name, length, "Sec-") ||
           starts_with(name, length, "X-Forwarded-");
}
