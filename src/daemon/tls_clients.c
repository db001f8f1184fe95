/* SPDX-License-Identifier: ISC */
/* TLS clients of the configuration's upstreams. */
#include "daemon/tls_clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_tls.h"

static void add_mistake(struct config_errors *findings, const struct config_listener *listener,
                        const struct tls_mistake *mistake)
{
    char text[CONFIG_TLS_TEXT_MAX];
    config_errors_add(findings, listener->line, "listener %s: %s", listener->name,
                      config_tls_format(listener, mistake, text));
}

/* One of the files that a digest covers. */
static void add_change(struct config_errors *findings, const struct config_listener *listener,
                       const struct tls_options *options)
{
    const char *const files[] = {options->ca_file, options->cert_file, options->key_file};
    char names[CONFIG_TLS_TEXT_MAX] = "";
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(files) && n < sizeof(names); i++) {
        if (*files[i] != '\0')
            n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n > 0 ? " or " : "",
                                  files[i]);
    }
    config_errors_add(findings, listener->line,
                      "listener %s: %s has changed since the configuration was read",
                      listener->name, names);
}

/* First the client is made and then the digest, so if the digest is unchanged, it describes what
 * the client has loaded. NULL with a finding. */
static struct tls_client *make_client(const struct config_listener *listener,
                                      struct config_errors *findings)
{
    const struct tls_options options = config_tls_options(listener);
    unsigned char digest[TLS_DIGEST_SIZE];
    struct tls_mistake mistake;
    struct tls_client *client = tls_client_new(&options, &mistake);
    if (client == NULL || tls_digest(&options, digest, &mistake) < 0) {
        add_mistake(findings, listener, &mistake);
        goto err_client;
    }
    if (memcmp(digest, listener->upstream.tls_digest, sizeof(digest)) != 0) {
        add_change(findings, listener, &options);
        goto err_client;
    }
    return client;

err_client:
    tls_client_unref(client);
    return NULL;
}

int tls_clients_init(struct tls_clients *clients, const struct config *config,
                     const struct tls_clients *current, struct config_errors *findings)
{
    int result = 0;
    *clients = (struct tls_clients){
        .list = calloc(config->listener_count, sizeof(*clients->list)),
    };
    if (clients->list == NULL) {
        config_errors_add(findings, 0, "%s", strerror(errno));
        return -1;
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        const struct endpoint *endpoint = &listener->upstream;
        if (!endpoint_has_tls(endpoint) || tls_clients_find(clients, endpoint) != NULL)
            continue;
        struct tls_client *client = current == NULL ? NULL : tls_clients_find(current, endpoint);
        client = client != NULL ? tls_client_ref(client) : make_client(listener, findings);
        if (client == NULL)
            result = -1;
        else
            clients->list[clients->count++] = (struct tls_clients_entry){endpoint, client};
    }
    return result;
}

void tls_clients_clear(struct tls_clients *clients)
{
    for (size_t i = 0; i < clients->count; i++)
        tls_client_unref(clients->list[i].client);
    free(clients->list);
    *clients = (struct tls_clients){0};
}

struct tls_client *tls_clients_find(const struct tls_clients *clients,
                                    const struct endpoint *endpoint)
{
    for (size_t i = 0; i < clients->count; i++) {
        if (endpoint_compare(clients->list[i].endpoint, endpoint) == 0)
            return clients->list[i].client;
    }
    return NULL;
}
