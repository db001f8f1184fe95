/* SPDX-License-Identifier: ISC */
/* Records when certificates expire, and when a warning is due. */
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tls/tls_internal.h"

#define DAY (24 * 3600)

/* 0 if unknown. */
static time_t end_of(const X509 *certificate)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? timegm(&tm) : 0;
}

static void name_subject(struct tls_expiry *expiry, const X509 *certificate)
{
    const X509_NAME *name = X509_get_subject_name(certificate);
    BIO *bio = BIO_new(BIO_s_mem());
    int n = -1;
    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ) >= 0)
        n = BIO_read(bio, expiry->subject, sizeof(expiry->subject) - 1);
    expiry->subject[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
}

static const X509 *earlier(const X509 *a, const X509 *b)
{
    time_t end_a = a != NULL ? end_of(a) : 0, end_b = end_of(b);
    return end_a == 0 || (end_b != 0 && end_b < end_a) ? b : a;
}

void tls_expiry_note(struct tls_expiry *expiry, const X509 *leaf, const STACK_OF(X509) * chain,
                     time_t now)
{
    const X509 *first = leaf;
    for (int i = 0; i < sk_X509_num(chain); i++)
        first = earlier(first, sk_X509_value(chain, i));
    expiry->end = first != NULL ? end_of(first) : 0;
    expiry->seen = now;
    if (tls_expiry_is_soon(expiry, now))
        name_subject(expiry, first);
}

bool tls_expiry_is_soon(const struct tls_expiry *expiry, time_t now)
{
    return expiry->end != 0 && expiry->end - now < TLS_EXPIRY_DAYS * DAY;
}

long tls_expiry_days(const struct tls_expiry *expiry, time_t now)
{
    time_t left = expiry->end - now;
    return (long)(left >= 0 ? left / DAY : -((DAY - 1 - left) / DAY));
}

/* If an upstream has not been contacted since its certificate expired, it is not known whether it
 * has a new one. */
bool tls_expiry_is_due(struct tls_expiry *expiry, time_t now)
{
    bool outdated = expiry->end <= now && expiry->seen < expiry->end;
    /* Setting the clock back starts a new day. */
    bool warned = expiry->warned != 0 && now >= expiry->warned && now - expiry->warned < DAY;
    if (!tls_expiry_is_soon(expiry, now) || outdated || warned)
        return false;
    expiry->warned = now;
    return true;
}

const struct tls_expiry *tls_client_expiring(struct tls_client *client, enum tls_whose whose,
                                             time_t now)
{
    struct tls_expiry *expiry = &client->expiries[whose];
    if (whose == TLS_OURS)
        expiry->seen = now;
    return tls_expiry_is_due(expiry, now) ? expiry : NULL;
}

void tls_client_watch_expiry(struct tls_client *client, struct tls_expiry_watch *watch)
{
    client->expiry_watch = watch;
}

/* The verified chain is considered; if none was verified, the one that was shown. */
void tls_expiry_handshake(struct tls *tls)
{
    struct tls_client *client = tls->client;
    struct tls_expiry *expiry = &client->expiries[TLS_UPSTREAMS];
    const STACK_OF(X509) *chain = SSL_get0_verified_chain(tls->ssl);
    time_t now = time(NULL);
    if (chain == NULL || SSL_get_verify_result(tls->ssl) != X509_V_OK)
        chain = SSL_get_peer_cert_chain(tls->ssl);
    tls_expiry_note(expiry, NULL, chain, now);
    if (client->expiry_watch != NULL && tls_expiry_is_soon(expiry, now))
        client->expiry_watch->seen(client->expiry_watch, client);
}
