/* SPDX-License-Identifier: ISC */
/* TLS settings for an upstream: certificates, keys, versions, verification, counts. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/regular_file.h"
#include "tls/tls_internal.h"

static void set_mistake(struct tls_mistake *mistake, enum tls_option option, const char *text)
{
    mistake->option = option;
    snprintf(mistake->text, sizeof(mistake->text), "%s", text);
}

/* Can fail only because memory is short, or because of the system's OpenSSL settings. */
static int fail_inside(struct tls_mistake *mistake)
{
    unsigned long error = ERR_peek_error();
    const char *reason = error != 0 ? ERR_reason_error_string(error) : NULL;
    set_mistake(mistake, TLS_OPTION_NONE, reason != NULL ? reason : strerror(ENOMEM));
    ERR_clear_error();
    return -1;
}

static int fail_file(struct tls_mistake *mistake, enum tls_option option, const char *what)
{
    mistake->option = option;
    tls_text_file(what, mistake->text, sizeof(mistake->text));
    return -1;
}

/* OpenSSL, which opens files itself, would wait for the writer of a FIFO, and read a device
 * endlessly. 0, or -1 with the mistake. */
static int check_file(const char *file, enum tls_option option, struct tls_mistake *mistake)
{
    const char *text = regular_file_check(file);
    if (text != NULL)
        set_mistake(mistake, option, text);
    return text == NULL ? 0 : -1;
}

/* The name as used for SNI and verification: without a final dot (RFC 6066 3), and without the
 * scope of a link-local address. */
static int set_name(struct tls_client *client, const char *name)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    bool in6 = strchr(name, ':') != NULL;
    size_t length = in6 ? strcspn(name, "%") : strlen(name);
    if (!in6 && length > 1 && name[length - 1] == '.')
        length--;
    client->name = strndup(name, length);
    if (client->name == NULL)
        return -1;
    client->is_address = inet_pton(in6 ? AF_INET6 : AF_INET, client->name, bytes) == 1;
    return 0;
}

/* In the format of RFC 7301 3.1, each name preceded by its length; there is one name. 0 or -1. */
static int offer_protocol(SSL_CTX *context, const char *name)
{
    unsigned char list[1 + UINT8_MAX];
    size_t length = strlen(name);
    assert(length > 0 && length <= UINT8_MAX);
    list[0] = (unsigned char)length;
    memcpy(list + 1, name, length);
    return SSL_CTX_set_alpn_protos(context, list, (unsigned)length + 1) == 0 ? 0 : -1;
}

static int set_up_protocol(SSL_CTX *context, const struct tls_options *options)
{
    int version = strcmp(options->min_version, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_options(context,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_KTLS);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1); /* headers arrive together with their records */
    if (SSL_CTX_set_min_proto_version(context, version) != 1 ||
        SSL_CTX_set_max_proto_version(context, 0) != 1)
        return -1;
    return options->alpn == NULL ? 0 : offer_protocol(context, options->alpn);
}

/* The certificate's subject is not used for names (RFC 9525 6.3), only its SANs are. */
static int set_up_name_check(const struct tls_client *client)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(client->context);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    int done = client->is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, client->name)
                                  : X509_VERIFY_PARAM_set1_host(param, client->name, 0);
    return done == 1 ? 0 : -1;
}

static int set_up_verification(const struct tls_client *client, const struct tls_options *options,
                               struct tls_mistake *mistake)
{
    if (*client->name == '\0' && options->verify) {
        /* OpenSSL would treat it as "any". */
        set_mistake(mistake, TLS_OPTION_NONE, "there is no name to verify");
        return -1;
    }
    if (*options->ca_file != '\0') {
        if (check_file(options->ca_file, TLS_OPTION_CA_FILE, mistake) < 0)
            return -1;
        if (SSL_CTX_load_verify_file(client->context, options->ca_file) != 1)
            return fail_file(mistake, TLS_OPTION_CA_FILE, "certificate");
        /* Any certificate in a file of the operator's is trusted, not only self-signed ones. */
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(client->context), X509_V_FLAG_PARTIAL_CHAIN);
    } else if (options->verify && SSL_CTX_set_default_verify_paths(client->context) != 1) {
        return fail_inside(mistake);
    }
    if (!options->verify)
        return 0;
    SSL_CTX_set_verify(client->context, SSL_VERIFY_PEER, tls_verdict);
    return set_up_name_check(client) < 0 ? fail_inside(mistake) : 0;
}

/* Otherwise OpenSSL would prompt on the terminal. */
static int refuse_passphrase(char *buffer, int size, int for_writing, void *asked)
{
    (void)buffer;
    (void)size;
    (void)for_writing;
    *(bool *)asked = true;
    return -1;
}

static int load_key(SSL_CTX *context, const char *file, const bool *asked,
                    struct tls_mistake *mistake)
{
    if (SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) == 1)
        return 0;
    if (*asked)
        set_mistake(mistake, TLS_OPTION_KEY_FILE, "is protected by a passphrase");
    else if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_X509)
        set_mistake(mistake, TLS_OPTION_KEY_FILE, "does not match the certificate");
    else
        return fail_file(mistake, TLS_OPTION_KEY_FILE, "private key");
    ERR_clear_error();
    return -1;
}

/* Our certificate, and those above it. */
static void warn_of_end(struct tls_client *client, struct tls_mistake *mistake)
{
    struct tls_expiry *expiry = &client->expiries[TLS_OURS];
    STACK_OF(X509) *chain = NULL;
    char text[64], date[16];
    struct tm tm;
    time_t now = time(NULL);
    SSL_CTX_get0_chain_certs(client->context, &chain);
    tls_expiry_note(expiry, SSL_CTX_get0_certificate(client->context), chain, now);
    if (mistake->text[0] != '\0' || !tls_expiry_is_soon(expiry, now))
        return;
    strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&expiry->end, &tm));
    snprintf(text, sizeof(text), "%s on %s", expiry->end <= now ? "expired" : "expires", date);
    mistake->option = TLS_OPTION_CERT_FILE;
    snprintf(mistake->text, sizeof(mistake->text), "the certificate of %s %s", expiry->subject,
             text);
}

/* The mistake may hold a warning. */
static int load_identity(SSL_CTX *context, const struct tls_options *options,
                         struct tls_mistake *mistake)
{
    bool asked = false;
    if (*options->cert_file == '\0')
        return 0;
    SSL_CTX_set_default_passwd_cb(context, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(context, &asked);
    if (check_file(options->cert_file, TLS_OPTION_CERT_FILE, mistake) < 0 ||
        check_file(options->key_file, TLS_OPTION_KEY_FILE, mistake) < 0)
        return -1;
    if (SSL_CTX_use_certificate_chain_file(context, options->cert_file) != 1)
        return fail_file(mistake, TLS_OPTION_CERT_FILE, "certificate");
    if (load_key(context, options->key_file, &asked, mistake) < 0)
        return -1;
    SSL_CTX_set_default_passwd_cb_userdata(context, NULL);
    SSL_CTX_set_post_handshake_auth(context, 1);
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        set_mistake(mistake, TLS_OPTION_CERT_FILE, "the certificate is not valid yet");
    return 0;
}

struct tls_client *tls_client_new(const struct tls_options *options, struct tls_mistake *mistake)
{
    *mistake = (struct tls_mistake){.option = TLS_OPTION_NONE};
    ERR_clear_error();
    struct tls_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        goto err_inside;
    atomic_init(&client->references, 1);
    client->alpn = options->alpn;
    client->bare_end = options->bare_end;
    client->context = SSL_CTX_new(TLS_client_method());
    client->input = tls_input_method();
    if (client->context == NULL || client->input == NULL ||
        set_name(client, options->server_name) < 0 || set_up_protocol(client->context, options) < 0)
        goto err_inside;
    tls_session_collect(client);
    if (set_up_verification(client, options, mistake) < 0 ||
        load_identity(client->context, options, mistake) < 0)
        goto err_client;
    if (*options->cert_file != '\0')
        warn_of_end(client, mistake);
    return client;

err_inside:
    fail_inside(mistake);
err_client:
    tls_client_unref(client);
    return NULL;
}

struct tls_client *tls_client_ref(struct tls_client *client)
{
    atomic_fetch_add_explicit(&client->references, 1, memory_order_relaxed);
    return client;
}

void tls_client_unref(struct tls_client *client)
{
    if (client == NULL ||
        atomic_fetch_sub_explicit(&client->references, 1, memory_order_acq_rel) > 1)
        return;
    tls_session_forget_all(client);
    SSL_CTX_free(client->context);
    BIO_meth_free(client->input);
    free(client->name);
    free(client);
}

const struct tls_stats *tls_client_stats(const struct tls_client *client)
{
    return &client->stats;
}

static const char *handshake_name(unsigned result)
{
    static const char *const names[] = {[TLS_HANDSHAKE_FULL] = "full",
                                        [TLS_HANDSHAKE_RESUMED] = "resumed",
                                        [TLS_HANDSHAKE_FAILED] = "failed"};
    return names[result];
}

static const struct metric metrics[] = {
    {.name = "handshakes",
     .help = "TLS handshakes with the upstream, in all pools; resumed: from an earlier session",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct tls_stats, handshakes),
     .label = "result",
     .count = TLS_HANDSHAKE_FAILED + 1,
     .value = handshake_name,
     .log = "tls_"},
};

const struct metric_set tls_metrics = {
    .prefix = "tls_", .metrics = metrics, .count = ARRAY_LEN(metrics)};
