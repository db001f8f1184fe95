/* SPDX-License-Identifier: ISC */
/* The types of values that are addresses and endpoints. */
#include "config/config_type.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/config_type_internal.h"
#include "net/address.h"
#include "net/endpoint.h"
#include "net/listen_address.h"

#define WHITESPACE " \t"

/* Addresses and endpoints. */

/* A password may precede an @, and a log has more readers than the file: that part is not shown. */
static int parse_endpoint(struct config_input *input, void *field)
{
    const char *error, *text = input->text, *mark = strstr(text, "://"), *at = strrchr(text, '@');
    if (endpoint_parse(field, text, &error) == 0)
        return 0;
    if (endpoint_parse_scheme(field, text) < 0) /* the other keys are checked against this */
        *(struct endpoint *)field = (struct endpoint){0};
    if (mark == NULL || at == NULL || at < mark)
        return config_refuse(input, "\"%s\": %s", text, error);
    return config_refuse(input, "\"%.*s://...%s\": %s", (int)(mark - text), text, at, error);
}

static const char *format_endpoint(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    static_assert(ENDPOINT_TEXT_MAX <= CONFIG_VALUE_MAX, "CONFIG_VALUE_MAX");
    return endpoint_format(field, buffer);
}

static int parse_bind_address(struct config_input *input, void *field)
{
    if (*input->text != '\0' && !address_parse(field, input->text))
        return config_refuse(input, "\"%s\" is not a numeric IPv4 or IPv6 address", input->text);
    if (address_is_mapped(field)) {
        *(union address *)field = (union address){0};
        return config_refuse(input, "\"%s\" is IPv4 written as IPv6: write the IPv4 address",
                             input->text);
    }
    return 0;
}

static const char *format_bind_address(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    const union address *address = field;

    if (address->sa.sa_family == AF_UNSPEC)
        return "";
    static_assert(ADDRESS_SCOPED_MAX <= CONFIG_VALUE_MAX, "CONFIG_VALUE_MAX");
    return address_format_scoped(address, buffer);
}

static void clear_addresses(void *field)
{
    struct config_addresses *addresses = field;

    for (size_t i = 0; i < addresses->count; i++)
        listen_address_clear(&addresses->list[i].address);
    free(addresses->list);
    addresses->list = NULL;
    addresses->count = 0;
}

static int add_address(struct config_addresses *addresses, struct config_input *input,
                       const char *word, size_t length)
{
    struct listen_address address;
    const char *error;

    if (listen_address_parse(&address, word, length, &error) < 0)
        return config_refuse(input, "\"%.*s\": %s", (int)length, word, error);
    for (size_t i = 0; i < addresses->count; i++) {
        const struct listen_address *other = &addresses->list[i].address;
        if (listen_address_overlaps(other, &address)) {
            config_refuse(input, "%s and %s exclude each other", other->text, address.text);
            listen_address_clear(&address);
            return -1;
        }
    }
    struct config_address *grown =
        reallocarray(addresses->list, addresses->count + 1, sizeof(*grown));
    if (grown == NULL) {
        listen_address_clear(&address);
        return config_refuse(input, "out of memory");
    }
    addresses->list = grown;
    grown[addresses->count++] = (struct config_address){address, input->line};
    return 0;
}

static int parse_addresses(struct config_input *input, void *field)
{
    struct config_addresses *addresses = field;
    const char *word = input->text;
    int result = 0;

    while (*(word += strspn(word, WHITESPACE)) != '\0') {
        size_t length = strcspn(word, WHITESPACE);
        if (add_address(addresses, input, word, length) < 0)
            result = -1;
        word += length;
    }
    return result;
}

static const char *format_addresses(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    const struct config_addresses *addresses = field;
    size_t length = 0;

    buffer[0] = '\0';
    for (size_t i = 0; i < addresses->count && length < CONFIG_VALUE_MAX; i++)
        length += (size_t)snprintf(buffer + length, CONFIG_VALUE_MAX - length, "%s%s",
                                   i == 0 ? "" : " ", addresses->list[i].address.text);
    return buffer;
}

/* For [admin]: the same, or off. */
static int parse_admin_addresses(struct config_input *input, void *field)
{
    struct config_admin *admin = container_of(field, struct config_admin, addresses);

    admin->off = strcmp(input->text, "off") == 0;
    return admin->off ? 0 : parse_addresses(input, field);
}

static const char *format_admin_addresses(const void *field, char buffer[CONFIG_VALUE_MAX])
{
    const struct config_addresses *addresses = field;
    return addresses->count == 0 ? "off" : format_addresses(field, buffer);
}

const struct config_type config_type_addresses = {parse_addresses, format_addresses,
                                                  clear_addresses};
const struct config_type config_type_admin_addresses = {parse_admin_addresses,
                                                        format_admin_addresses, clear_addresses};
const struct config_type config_type_endpoint = {parse_endpoint, format_endpoint, NULL};
const struct config_type config_type_bind_address = {parse_bind_address, format_bind_address, NULL};
