/* SPDX-License-Identifier: Apache-2.0 */
/* tlskit.h - certificates of our own making, and a client's end of a TLS connection, for tests. */
#pragma once

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

/* A self-signed pair, valid from now - 1 day for `days` days from now. ec: P-256, else RSA 2048. */
static inline bool tlskit_pair(const char *certificate, const char *key, bool ec, long days)
{
    EVP_PKEY *k = ec ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), days * 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, k);
    bool ok = X509_sign(x, k, EVP_sha256()) != 0;
    FILE *c = fopen(certificate, "w"), *f = fopen(key, "w");
    ok = ok && c && f && PEM_write_X509(c, x) == 1 &&
         PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL) == 1;
    if (c)
        fclose(c);
    if (f)
        fclose(f);
    chmod(key, 0600);
    X509_free(x);
    EVP_PKEY_free(k);
    return ok;
}

/* The client's side, over a non-blocking descriptor. */
static inline SSL *tlskit_client(int fd, SSL_CTX **ctx)
{
    *ctx = SSL_CTX_new(TLS_client_method());
    SSL *s = SSL_new(*ctx);
    SSL_set_fd(s, fd);
    SSL_set_connect_state(s);
    return s;
}
