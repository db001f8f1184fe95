#include "config_tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tls.h"

/* The name to verify: as given, or the endpoint's addr. */
static const char *server_name(const struct config_listener *listener)
{
    return *listener->tls_server_name != '\0' ? listener->tls_server_name : listener->upstream.addr;
}

static bool same_settings(const struct config_listener *a, const struct config_listener *b)
{
    return endpoint_compare_address(&a->upstream, &b->upstream) == 0 &&
           a->tls_verify == b->tls_verify && strcmp(server_name(a), server_name(b)) == 0 &&
           strcmp(a->tls_ca_file, b->tls_ca_file) == 0 &&
           strcmp(a->tls_cert_file, b->tls_cert_file) == 0 &&
           strcmp(a->tls_key_file, b->tls_key_file) == 0 &&
           strcmp(a->tls_min_version, b->tls_min_version) == 0;
}

/* An earlier listener's client that serves this one as well, or NULL. */
static struct tls_client *find_client(const struct config *config,
                                      const struct config_listener *listener)
{
    for (const struct config_listener *other = config->listeners; other < listener; other++) {
        if (other->upstream.tls != NULL && same_settings(other, listener))
            return other->upstream.tls;
    }
    return NULL;
}

/* Keeps a client for config_free. 0, or -1 with ENOMEM. */
static int keep_client(struct config *config, struct tls_client *client)
{
    struct tls_client **clients = reallocarray(config->tls_clients, config->tls_client_count + 1,
                                               sizeof(struct tls_client *));
    if (clients == NULL)
        return -1;
    config->tls_clients = clients;
    clients[config->tls_client_count++] = client;
    return 0;
}

static void report(struct config_parts *parts, const struct config_part *part,
                   const struct tls_mistake *mistake, bool warning)
{
    static const char *const keys[] = {
        [TLS_OPTION_NONE] = "upstream",
        [TLS_OPTION_CA_FILE] = "tls_ca_file",
        [TLS_OPTION_CERT_FILE] = "tls_cert_file",
        [TLS_OPTION_KEY_FILE] = "tls_key_file",
    };
    const struct config_listener *listener = &parts->config->listeners[part->index];
    const char *const files[] = {
        [TLS_OPTION_NONE] = "",
        [TLS_OPTION_CA_FILE] = listener->tls_ca_file,
        [TLS_OPTION_CERT_FILE] = listener->tls_cert_file,
        [TLS_OPTION_KEY_FILE] = listener->tls_key_file,
    };
    const char *key = keys[mistake->option];
    const char *file = files[mistake->option];
    int line = config_part_line(part, key);
    if (warning)
        config_errors_warn(&parts->errors, line, "%s: %s%s%s", key, file, *file != '\0' ? ": " : "",
                           mistake->text);
    else
        config_errors_add(&parts->errors, line, "%s: %s%s%s", key, file, *file != '\0' ? ": " : "",
                          mistake->text);
}

void config_tls_load(struct config_parts *parts, const struct config_part *part)
{
    struct config *config = parts->config;
    struct config_listener *listener = &config->listeners[part->index];
    struct endpoint *upstream = &listener->upstream;
    if (*listener->tls_cert_file == '\0' && *listener->tls_key_file != '\0')
        return; /* was told already */
    upstream->tls = find_client(config, listener);
    if (upstream->tls != NULL)
        return;
    const struct tls_options options = {
        .server_name = server_name(listener),
        .verify = listener->tls_verify,
        .ca_file = listener->tls_ca_file,
        .cert_file = listener->tls_cert_file,
        .key_file = listener->tls_key_file,
        .min_version = listener->tls_min_version,
        .http = endpoint_kind(upstream) == SCHEME_HTTPS,
    };
    struct tls_mistake mistake = {.text = ""};
    upstream->tls = tls_client_new(&options, &mistake);
    if (mistake.text[0] != '\0')
        report(parts, part, &mistake, upstream->tls != NULL);
    if (upstream->tls != NULL && keep_client(config, upstream->tls) < 0) {
        tls_client_free(upstream->tls);
        upstream->tls = NULL;
        config_errors_add(&parts->errors, part->line, "%s", strerror(ENOMEM));
    }
}
