/* SPDX-License-Identifier: ISC */
/* Loads each listener's TLS settings and files, and warns of what will not work. */
#include "config/config_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/address.h"
#include "tls/tls.h"

static bool has_server_name(const struct config_listener *listener)
{
    return listener->tls_server_name != NULL && *listener->tls_server_name != '\0';
}

/* If a value was rejected, which was already reported, the default is used instead, so that the
 * other keys are still checked. */
struct tls_options config_tls_options(const struct config_listener *listener)
{
    const struct endpoint *upstream = &listener->upstream;
    const struct scheme *scheme = endpoint_scheme(upstream);
    const char *name = has_server_name(listener) ? listener->tls_server_name : upstream->addr;
    struct tls_options options = {
        .server_name = name,
        .verify = listener->tls_verify && *name != '\0', /* a wrong upstream has none */
        .ca_file = listener->tls_ca_file != NULL ? listener->tls_ca_file : "",
        .cert_file = listener->tls_cert_file,
        .key_file = listener->tls_key_file,
        .min_version = listener->tls_min_version != NULL ? listener->tls_min_version : "1.2",
        .alpn = scheme != NULL ? scheme->alpn : NULL,
        .bare_end = !listener->tls_close_notify,
    };
    if (options.cert_file == NULL || options.key_file == NULL || *options.cert_file == '\0' ||
        *options.key_file == '\0')
        options.cert_file = options.key_file = "";
    return options;
}

/* For the same endpoint, so that `alpn` is the same as well. */
static bool same_options(const struct tls_options *a, const struct tls_options *b)
{
    return a->verify == b->verify && a->bare_end == b->bare_end &&
           strcmp(a->server_name, b->server_name) == 0 && strcmp(a->ca_file, b->ca_file) == 0 &&
           strcmp(a->cert_file, b->cert_file) == 0 && strcmp(a->key_file, b->key_file) == 0 &&
           strcmp(a->min_version, b->min_version) == 0;
}

/* An earlier listener that speaks TLS to the same upstream in the same way, or NULL. */
static const struct config_listener *find_twin(const struct config *config,
                                               const struct config_listener *listener,
                                               const struct tls_options *options)
{
    for (const struct config_listener *other = config->listeners; other < listener; other++) {
        if (!endpoint_has_tls(&other->upstream) ||
            endpoint_compare_address(&other->upstream, &listener->upstream) != 0)
            continue;
        struct tls_options others = config_tls_options(other);
        if (same_options(&others, options))
            return other;
    }
    return NULL;
}

static const char *const keys[] = {
    [TLS_OPTION_NONE] = "upstream",
    [TLS_OPTION_CA_FILE] = "tls_ca_file",
    [TLS_OPTION_CERT_FILE] = "tls_cert_file",
    [TLS_OPTION_KEY_FILE] = "tls_key_file",
};

char *config_tls_format(const struct config_listener *listener, const struct tls_mistake *mistake,
                        char text[CONFIG_TLS_TEXT_MAX])
{
    const char *const values[] = {
        [TLS_OPTION_NONE] = listener->upstream.addr,
        [TLS_OPTION_CA_FILE] = listener->tls_ca_file,
        [TLS_OPTION_CERT_FILE] = listener->tls_cert_file,
        [TLS_OPTION_KEY_FILE] = listener->tls_key_file,
    };
    const char *value = values[mistake->option];
    snprintf(text, CONFIG_TLS_TEXT_MAX, "%s: %s: %s", keys[mistake->option], value, mistake->text);
    return text;
}

static void report(struct config_sections *sections, const struct config_section *section,
                   const struct tls_mistake *mistake, bool warning)
{
    char text[CONFIG_TLS_TEXT_MAX];
    int line = config_section_line(section, keys[mistake->option]);
    config_tls_format(&sections->config->listeners[section->index], mistake, text);
    if (warning)
        config_errors_warn(&sections->errors, line, "%s", text);
    else
        config_errors_add(&sections->errors, line, "%s", text);
}

/* Removes a mistaken option, so that the others can be checked too. False: there is none. */
static bool leave_out(struct tls_options *options, enum tls_option option)
{
    if (option == TLS_OPTION_NONE)
        return false;
    if (option == TLS_OPTION_CA_FILE)
        options->ca_file = "";
    else
        options->cert_file = options->key_file = "";
    return true;
}

/* Creates a client with these options, to see whether that works. 0, or -1 after all their mistakes
 * were reported. */
static int try_client(struct config_sections *sections, const struct config_section *section,
                      struct tls_options options)
{
    struct tls_client *client;
    struct tls_mistake mistake;
    bool mistaken = false;
    for (;;) {
        client = tls_client_new(&options, &mistake);
        if (mistake.text[0] != '\0')
            report(sections, section, &mistake, client != NULL);
        if (client != NULL || !leave_out(&options, mistake.option))
            break;
        mistaken = true;
    }
    bool made = client != NULL;
    tls_client_unref(client);
    return made && !mistaken ? 0 : -1;
}

/* The digest of options with which a client was created, or none after all mistakes were
 * reported. */
static void make_digest(struct config_sections *sections, const struct config_section *section,
                        struct tls_options options, unsigned char digest[TLS_DIGEST_SIZE])
{
    struct tls_mistake mistake;
    bool mistaken = false;
    while (tls_digest(&options, digest, &mistake) < 0) {
        report(sections, section, &mistake, false);
        mistaken = true;
        if (!leave_out(&options, mistake.option))
            break;
    }
    if (mistaken)
        memset(digest, 0, TLS_DIGEST_SIZE);
}

static bool is_address(const char *addr)
{
    union address address;
    return address_parse(&address, addr);
}

/* Settings that are valid, but rarely intended, with an upstream that is written as an address. */
static void warn_about_address(struct config_sections *sections,
                               const struct config_section *section)
{
    const struct config_listener *listener = &sections->config->listeners[section->index];
    const struct endpoint *upstream = &listener->upstream;
    char authority[ENDPOINT_TEXT_MAX];
    if (!is_address(upstream->addr))
        return;
    if (!has_server_name(listener)) {
        if (listener->tls_verify)
            config_errors_warn(&sections->errors, config_section_line(section, "upstream"),
                               "upstream: its certificate must be for the IP address %s; if it is "
                               "for a name, set tls_server_name",
                               upstream->addr);
        return;
    }
    if (endpoint_scheme(upstream)->protocol == PROTOCOL_HTTP &&
        !is_address(listener->tls_server_name) && listener->host != NULL &&
        strcmp(listener->host, "upstream") == 0)
        config_errors_warn(&sections->errors, config_section_line(section, "tls_server_name"),
                           "tls_server_name: the upstream receives its address, %s, as Host; to "
                           "send the name, set host = %s",
                           endpoint_authority(upstream, authority), listener->tls_server_name);
}

void config_tls_load(struct config_sections *sections, const struct config_section *section)
{
    struct config_listener *listener = &sections->config->listeners[section->index];
    unsigned char *digest = listener->upstream.tls_digest;
    const struct tls_options options = config_tls_options(listener);
    warn_about_address(sections, section);
    const struct config_listener *twin = find_twin(sections->config, listener, &options);
    if (twin != NULL)
        memcpy(digest, twin->upstream.tls_digest, TLS_DIGEST_SIZE);
    else if (try_client(sections, section, options) == 0)
        make_digest(sections, section, options, digest);
}
