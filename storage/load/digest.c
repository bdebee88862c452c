/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>
#include <errno.h>
#include "load/digest.h"

static const struct {
    const char *name;
    unsigned bytes;
} algorithms[] = {{"md5", 16}, {"sha1", 20}, {"sha256", 32}, {"sha512", 64}};

struct load_digest {
    EVP_MD_CTX *ctx;
    unsigned algorithm;
};

/* Its number and where the hex digits begin; -1. */
static int algorithm_of(const char *text, const char **hex)
{
    const char *colon = strchr(text, ':');
    for (unsigned i = 0; colon && i < PST_COUNT(algorithms); i++)
        if (strlen(algorithms[i].name) == (size_t)(colon - text) &&
            !memcmp(text, algorithms[i].name, (size_t)(colon - text))) {
            *hex = colon + 1;
            return (int)i;
        }
    return -1;
}

bool load_digest_valid(const char *text)
{
    const char *hex;
    int a = algorithm_of(text, &hex);
    return a >= 0 && strlen(hex) == 2 * algorithms[a].bytes &&
           strspn(hex, "0123456789abcdef") == strlen(hex);
}

struct load_digest *load_digest_open(const char *text, struct err *err)
{
    const char *hex;
    int a = algorithm_of(text, &hex);
    if (a < 0) {
        err_set(err, -EINVAL, "checksum '%.20s': only md5, sha1, sha256 and sha512 are known",
                text);
        return NULL;
    }
    struct load_digest *d = calloc(1, sizeof *d);
    if (d)
        *d = (struct load_digest){EVP_MD_CTX_new(), (unsigned)a};
    const EVP_MD *md = EVP_get_digestbyname(algorithms[a].name);
    if (!d || !d->ctx || !md || EVP_DigestInit_ex(d->ctx, md, NULL) != 1) {
        err_set(err, -ENOTSUP, "checksum %s: this machine's OpenSSL does not do it",
                algorithms[a].name);
        load_digest_close(d);
        return NULL;
    }
    return d;
}

bool load_digest_add(struct load_digest *d, const void *bytes, size_t n)
{
    return EVP_DigestUpdate(d->ctx, bytes, n) == 1;
}

bool load_digest_text(struct load_digest *d, char out[LOAD_DIGEST_TEXT], struct err *err)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(d->ctx, md, &n) != 1 || n != algorithms[d->algorithm].bytes)
        return err_set(err, -EIO, "checksum %s: OpenSSL failed", algorithms[d->algorithm].name);
    int at = snprintf(out, LOAD_DIGEST_TEXT, "%s:", algorithms[d->algorithm].name);
    for (unsigned i = 0; i < n; i++)
        at += snprintf(out + at, LOAD_DIGEST_TEXT - (size_t)at, "%02x", md[i]);
    return true;
}

void load_digest_close(struct load_digest *d)
{
    if (d)
        EVP_MD_CTX_free(d->ctx);
    free(d);
}
