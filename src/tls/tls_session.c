/* SPDX-License-Identifier: ISC */
/* Keeps the newest few sessions for resumption. */
#include <string.h>
#include <time.h>

#include "tls/tls_internal.h"

/* In seconds, whatever lifetime the upstream gives a ticket: resumption does not check its
 * certificate again, and RFC 8446 4.6.1 allows a week at most. */
#define AGE_MAX (24 * 3600)

static void forget_oldest(struct tls_client *client)
{
    SSL_SESSION_free(client->sessions[0]);
    client->session_count--;
    memmove(&client->sessions[0], &client->sessions[1],
            client->session_count * sizeof(client->sessions[0]));
}

void tls_session_forget_all(struct tls_client *client)
{
    while (client->session_count > 0)
        SSL_SESSION_free(client->sessions[--client->session_count]);
}

/* TLS 1.3 (RFC 8446 C.4): using a ticket twice lets observers link the connections. */
static bool is_single_use(const SSL_SESSION *session)
{
    return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
}

static bool is_fresh(const SSL_SESSION *session)
{
    long age = (long)time(NULL) - SSL_SESSION_get_time(session);
    unsigned long hint = SSL_SESSION_get_ticket_lifetime_hint(session);
    if (age < 0 || age >= SSL_SESSION_get_timeout(session))
        return false;
    return hint == 0 || (unsigned long)age < hint;
}

/* Called by OpenSSL when the upstream has issued a session. Returns 0: not the reference but a copy
 * is kept, as OpenSSL invalidates a session whose connection ends without close_notify. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (!SSL_SESSION_is_resumable(session))
        return 0;
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy == NULL)
        return 0;
    if (!is_single_use(copy))
        tls_session_forget_all(client); /* the newest one serves all connections */
    else if (client->session_count == TLS_SESSIONS_MAX)
        forget_oldest(client);
    client->sessions[client->session_count++] = copy;
    return 0;
}

void tls_session_collect(struct tls_client *client)
{
    SSL_CTX_set_app_data(client->context, client);
    SSL_CTX_set_session_cache_mode(client->context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_timeout(client->context, AGE_MAX);
    SSL_CTX_sess_set_new_cb(client->context, on_new_session);
}

/* A session that serves many connections is offered as a copy too, so that none of them invalidates
 * it. */
SSL_SESSION *tls_session_take(struct tls_client *client)
{
    while (client->session_count > 0) {
        size_t last = client->session_count - 1;
        SSL_SESSION *session = client->sessions[last];
        if (is_fresh(session) && !is_single_use(session))
            return SSL_SESSION_dup(session);
        client->session_count--;
        if (is_fresh(session))
            return session;
        SSL_SESSION_free(session);
    }
    return NULL;
}
