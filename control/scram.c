/* SPDX-License-Identifier: Apache-2.0 */
#include "scram.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#define WHY(...) (snprintf(why, why_size, __VA_ARGS__), false)

static int sextet(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Strict: padded, no spaces, no bits left over. Bytes, or -1. */
static int from_base64(const char *text, size_t len, uint8_t *out, size_t max)
{
    size_t n = 0;
    if (!len || len % 4)
        return -1;
    for (size_t i = 0; i < len; i += 4) {
        int pad =
            i + 4 == len ? (text[i + 3] == '=') + (text[i + 2] == '=' && text[i + 3] == '=') : 0;
        uint32_t v = 0;
        for (int k = 0; k < 4; k++) {
            int s = k >= 4 - pad ? 0 : sextet(text[i + (size_t)k]);
            if (s < 0)
                return -1;
            v = v << 6 | (uint32_t)s;
        }
        if ((pad == 1 && v & 0xFF) || (pad == 2 && v & 0xFFFF) || n + 3 - (size_t)pad > max)
            return -1;
        for (int k = 0; k < 3 - pad; k++)
            out[n++] = (uint8_t)(v >> (16 - 8 * k));
    }
    return (int)n;
}

bool scram_parse(const char *text, struct scram *out, char *why, size_t why_size)
{
    static const char head[] = "SCRAM-SHA-256$";
    memset(out, 0, sizeof *out);
    if (strlen(text) >= SCRAM_TEXT || strncmp(text, head, sizeof head - 1))
        return WHY("is no SCRAM-SHA-256 verifier");
    const char *p = text + sizeof head - 1, *salt, *stored, *server;
    uint32_t n = 0;
    for (; *p >= '0' && *p <= '9' && n <= SCRAM_ITERATIONS_MAX; p++)
        n = n * 10 + (uint32_t)(*p - '0');
    if (*p != ':' || !(salt = p + 1, stored = strchr(salt, '$')) ||
        !(stored++, server = strchr(stored, ':')))
        return WHY("is not <iterations>:<salt>$<stored key>:<server key> after SCRAM-SHA-256$");
    server++;
    if (n < SCRAM_ITERATIONS || n > SCRAM_ITERATIONS_MAX)
        return WHY("has %u iterations; %u ... %u are taken", n, SCRAM_ITERATIONS,
                   SCRAM_ITERATIONS_MAX);
    int len = from_base64(salt, (size_t)(stored - 1 - salt), out->salt, sizeof out->salt);
    if (len < 8)
        return WHY("has a salt that is not 8 ... %u bytes in base64", SCRAM_SALT_MAX);
    uint8_t key[SCRAM_KEY + 1];
    if (from_base64(stored, (size_t)(server - 1 - stored), key, sizeof key) != SCRAM_KEY)
        return WHY("has a stored key that is not %u bytes in base64", SCRAM_KEY);
    memcpy(out->stored, key, SCRAM_KEY);
    if (from_base64(server, strlen(server), key, sizeof key) != SCRAM_KEY)
        return WHY("has a server key that is not %u bytes in base64", SCRAM_KEY);
    memcpy(out->server, key, SCRAM_KEY);
    out->salt_len = (uint32_t)len;
    out->iterations = n;
    return true;
}

static bool salted(const char *password, size_t len, const uint8_t *salt, uint32_t salt_len,
                   uint32_t iterations, uint8_t out[SCRAM_KEY])
{
    return len <= SCRAM_PASSWORD_MAX &&
           PKCS5_PBKDF2_HMAC(password, (int)len, salt, (int)salt_len, (int)iterations, EVP_sha256(),
                             SCRAM_KEY, out) == 1;
}

static bool hmac(const uint8_t key[SCRAM_KEY], const char *text, uint8_t out[SCRAM_KEY])
{
    unsigned n = 0;
    return HMAC(EVP_sha256(), key, SCRAM_KEY, (const uint8_t *)text, strlen(text), out, &n) &&
           n == SCRAM_KEY;
}

static bool sha256(const uint8_t in[SCRAM_KEY], uint8_t out[SCRAM_KEY])
{
    unsigned n = 0;
    return EVP_Digest(in, SCRAM_KEY, out, &n, EVP_sha256(), NULL) == 1 && n == SCRAM_KEY;
}

bool scram_make_salted(const char *password, size_t len, const uint8_t *salt, uint32_t salt_len,
                       uint32_t iterations, char out[SCRAM_TEXT], struct err *err)
{
    uint8_t base[SCRAM_KEY], client[SCRAM_KEY], stored[SCRAM_KEY], server[SCRAM_KEY];
    char salt64[4 * ((SCRAM_SALT_MAX + 2) / 3) + 1], stored64[48], server64[48];
    if (!len || len > SCRAM_PASSWORD_MAX)
        return err_set(err, -EINVAL, "the password has %zu bytes; 1 to %u are allowed", len,
                       SCRAM_PASSWORD_MAX);
    if (salt_len < 8 || salt_len > SCRAM_SALT_MAX || iterations < SCRAM_ITERATIONS ||
        iterations > SCRAM_ITERATIONS_MAX)
        return err_set(err, -EINVAL, "%u iterations over %u bytes of salt are out of range",
                       iterations, salt_len);
    bool ok = salted(password, len, salt, salt_len, iterations, base) &&
              hmac(base, "Client Key", client) && sha256(client, stored) &&
              hmac(base, "Server Key", server);
    if (ok) {
        EVP_EncodeBlock((uint8_t *)salt64, salt, (int)salt_len);
        EVP_EncodeBlock((uint8_t *)stored64, stored, SCRAM_KEY);
        EVP_EncodeBlock((uint8_t *)server64, server, SCRAM_KEY);
        snprintf(out, SCRAM_TEXT, "SCRAM-SHA-256$%u:%s$%s:%s", iterations, salt64, stored64,
                 server64);
    }
    OPENSSL_cleanse(base, sizeof base);
    OPENSSL_cleanse(client, sizeof client);
    return ok || err_set(err, -EIO, "OpenSSL refused to compute the verifier");
}

bool scram_make(const char *password, size_t len, uint32_t iterations, char out[SCRAM_TEXT],
                struct err *err)
{
    uint8_t salt[16];
    if (RAND_bytes(salt, sizeof salt) != 1)
        return err_set(err, -EIO, "OpenSSL has no random bytes");
    return scram_make_salted(password, len, salt, sizeof salt, iterations, out, err);
}

bool scram_check(const struct scram *v, const char *password, size_t len, uint32_t cost)
{
    static const struct scram nobody = {.salt_len = 16, .iterations = 1};
    const struct scram *with = v ? v : &nobody;
    uint8_t base[SCRAM_KEY], client[SCRAM_KEY], stored[SCRAM_KEY], idle[SCRAM_KEY];
    uint32_t done = v ? v->iterations : cost ? cost : SCRAM_ITERATIONS;
    /* what no password may be is computed like one */
    size_t n = len <= SCRAM_PASSWORD_MAX ? len : SCRAM_PASSWORD_MAX;
    bool ok = salted(password, n, with->salt, with->salt_len, done, base) &&
              hmac(base, "Client Key", client) && sha256(client, stored);
    if (done < cost)
        salted(password, n, nobody.salt, nobody.salt_len, cost - done, idle);
    int same = ok ? CRYPTO_memcmp(stored, with->stored, SCRAM_KEY) : 1;
    OPENSSL_cleanse(base, sizeof base);
    OPENSSL_cleanse(client, sizeof client);
    /* HMAC takes a key and the same with NULs behind it for one */
    return v && ok && !same && len && len == n && !memchr(password, 0, len);
}
