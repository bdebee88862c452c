/* SPDX-License-Identifier: Apache-2.0 */
#include "pcap_read.h"
#include "port.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

/* Larger than any record that makes sense (an IPv6 jumbogram capture has 65 KiB); a length beyond
 * it is damage, not data. */
#define PCAP_RECORD_MAX (1u << 20)
#define BUFFER          (PCAP_RECORD_MAX * 2)
/* Room in front of the first record for the Ethernet header that is made in place. */
#define HEADROOM       16
#define INTERFACES_MAX 4096

enum {
    LINK_NULL = 0,
    LINK_ETHERNET = 1,
    LINK_RAW_BSD = 12, /* DLT_RAW as some systems wrote it into files */
    LINK_RAW = 101,
    LINK_LOOP = 108,
    LINK_SLL = 113,
    LINK_IPV4 = 228,
    LINK_IPV6 = 229,
    LINK_SLL2 = 276,
};

struct interface {
    uint16_t link;
    uint32_t snaplen; /* 0: none */
    uint64_t per_second;
    int64_t offset; /* seconds */
};

struct pcap_reader {
    char name[256];
    gzFile gz; /* NULL: memory, or `take` */
    pcap_read_source take;
    void *arg;
    const uint8_t *mem;
    size_t mem_left;
    size_t room;    /* BUFFER, or less for a small capture in memory */
    uint8_t *buf;   /* HEADROOM + room */
    size_t at, end; /* unread bytes: buf[at..end) */
    bool eof, cut, ng, big;
    bool failed; /* reading itself failed: a damaged gzip stream, an I/O error */
    char failure[160];
    struct interface *ifs; /* pcap: one */
    uint32_t n_ifs, room_ifs;
    uint16_t last_other_link;
    uint64_t records;
    struct pcap_counts counts;
    char note[700];
};

static uint16_t get16(const struct pcap_reader *r, const uint8_t *p)
{
    return r->big ? be16(p) : le16(p);
}
static uint32_t get32(const struct pcap_reader *r, const uint8_t *p)
{
    return r->big ? be32(p) : le32(p);
}
static uint64_t get64(const struct pcap_reader *r, const uint8_t *p)
{
    return r->big ? be64(p) : le64(p);
}

static size_t source_read(struct pcap_reader *r, uint8_t *to, size_t n)
{
    if (r->take) {
        int64_t k = r->take(r->arg, to, n);
        r->failed = k < 0;
        if (k < 0)
            snprintf(r->failure, sizeof r->failure, "%s", strerror((int)-k));
        return k > 0 ? (size_t)k : 0;
    }
    if (!r->gz) {
        n = n < r->mem_left ? n : r->mem_left;
        memcpy(to, r->mem, n);
        r->mem += n;
        r->mem_left -= n;
        return n;
    }
    int got = gzread(r->gz, to, (unsigned)n);
    if (got < (int)n) {
        int code = Z_OK;
        const char *why = gzerror(r->gz, &code);
        if (code != Z_OK && code != Z_STREAM_END) {
            r->failed = true;
            snprintf(r->failure, sizeof r->failure, "%s",
                     code == Z_ERRNO       ? strerror(errno)
                     : code == Z_BUF_ERROR ? "the gzip stream ends too early"
                                           : why);
        }
    }
    return got > 0 ? (size_t)got : 0;
}

/* True when n unread bytes are in the buffer. The bytes before `at` within HEADROOM stay writable.
 */
static bool need(struct pcap_reader *r, size_t n)
{
    if (pst_likely(r->end - r->at >= n)) {
        return true;
    }
    if (n > r->room) {
        return false;
    }
    if (r->at + n > HEADROOM + r->room || r->at > r->room / 2) {
        memmove(r->buf + HEADROOM, r->buf + r->at, r->end - r->at);
        r->end -= r->at - HEADROOM;
        r->at = HEADROOM;
    }
    while (r->end - r->at < n && !r->eof) {
        size_t got = source_read(r, r->buf + r->end, HEADROOM + r->room - r->end);
        r->eof = got == 0;
        r->end += got;
    }
    return r->end - r->at >= n;
}

static bool skip(struct pcap_reader *r, size_t n)
{
    if (!need(r, n)) {
        return false;
    }
    r->at += n;
    return true;
}

/* The file ends here: cleanly (0), or within a record, whose remains are lost (still 0, noted). */
static int ended(struct pcap_reader *r)
{
    if (r->end > r->at || r->failed) {
        r->cut = true;
        r->counts.cut = 1;
    }
    r->at = r->end;
    r->eof = true;
    return 0;
}

static int damaged(struct pcap_reader *r, struct err *err, const char *what, uint64_t value)
{
    r->at = r->end;
    r->eof = true;
    err_set(err, -EBADMSG,
            "%s: damaged after record %llu (%s %llu); the %llu packets before it were read",
            r->name, (unsigned long long)r->records, what, (unsigned long long)value,
            (unsigned long long)r->counts.packets);
    return -1;
}

/* Makes the bytes at `d` look like an Ethernet frame, in place: the 16 bytes in front of a packet
 * are its record header, already read, or HEADROOM. False: not a link type that we know. */
static bool as_ethernet(uint16_t link, uint8_t **d, uint32_t *len, uint32_t *wire)
{
    uint8_t *p = *d;
    uint32_t strip = 0, type = 0;
    switch (link) {
    case LINK_ETHERNET:
        return true;
    case LINK_IPV4:
        type = 0x0800;
        break;
    case LINK_IPV6:
        type = 0x86dd;
        break;
    case LINK_RAW:
    case LINK_RAW_BSD:
        type = *len && p[0] >> 4 == 6 ? 0x86dd : 0x0800;
        break;
    case LINK_NULL:
    case LINK_LOOP: {
        /* A BSD address family; NULL in the byte order of the machine that captured. */
        strip = 4;
        if (*len >= 4) {
            uint32_t af = be32(p);
            if (link == LINK_NULL && af > 0xffff) {
                af = __builtin_bswap32(af);
            }
            type = af == 2 ? 0x0800 : af == 10 || af == 24 || af == 28 || af == 30 ? 0x86dd : 0;
        }
        break;
    }
    case LINK_SLL:
        strip = 16;
        type = *len >= 16 ? be16(p + 14) : 0;
        break;
    case LINK_SLL2:
        strip = 20;
        type = *len >= 20 ? be16(p) : 0;
        break;
    default:
        return false;
    }
    if (*len < strip) { /* cut within the link header: an empty frame, which the parser counts */
        *wire = *wire > strip ? *wire - strip + 14 : 14;
        *len = 0;
        return true;
    }
    p += strip;
    p -= 14;
    memset(p, 0, 12);
    p[12] = (uint8_t)(type >> 8);
    p[13] = (uint8_t)type;
    *d = p;
    *len = *len - strip + 14;
    *wire = *wire > strip ? *wire - strip + 14 : 14;
    return true;
}

/* One packet whose bytes start at `at`. 1 = returned, 0 = skipped (counted). */
static int deliver(struct pcap_reader *r, uint32_t iface, uint8_t *data, uint32_t len,
                   uint32_t wire, struct pcap_packet *out)
{
    const struct interface *f = &r->ifs[iface];
    if (wire < len) {
        wire = len; /* some writers leave the original length 0 */
    }
    if (!as_ethernet(f->link, &data, &len, &wire)) {
        r->counts.other_link++;
        r->last_other_link = f->link;
        return 0;
    }
    if (wire < len) {
        wire = len;
    }
    out->data = data;
    out->len = len;
    out->wire_len = wire;
    out->interface = iface;
    out->number = r->records;
    r->counts.packets++;
    r->counts.bytes += len;
    r->counts.snapped += wire > len;
    return 1;
}

/* Ticks of the interface since 1970 to ns since 2000, at the ends of the range where it overflows.
 */
static int64_t to_time(const struct interface *f, uint64_t ticks)
{
    __int128 ns = (__int128)ticks * 1000000000 / f->per_second;
    ns += ((__int128)f->offset - CLOCK_EPOCH_S) * 1000000000;
    return ns > INT64_MAX ? INT64_MAX : ns < INT64_MIN ? INT64_MIN : (int64_t)ns;
}

static bool add_interface(struct pcap_reader *r, const struct interface *f)
{
    if (r->n_ifs == r->room_ifs) {
        uint32_t room = r->room_ifs ? r->room_ifs * 2 : 4;
        struct interface *p = realloc(r->ifs, room * sizeof *p);
        if (!p) {
            return false;
        }
        r->ifs = p;
        r->room_ifs = room;
    }
    r->ifs[r->n_ifs++] = *f;
    return true;
}

/* ---- classic pcap ---- */

static bool open_classic(struct pcap_reader *r, uint32_t magic, struct err *err)
{
    struct interface f = {0};
    switch (magic) {
    case 0xa1b2c3d4:
    case 0xd4c3b2a1:
        f.per_second = 1000000;
        break;
    case 0xa1b23c4d:
    case 0x4d3cb2a1:
        f.per_second = 1000000000;
        break;
    default:
        return err_set(err, -EINVAL,
                       "%s: not a capture file (it starts with %08x; pcap, pcapng and gzip of "
                       "either are read)",
                       r->name, magic);
    }
    r->big = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1; /* magic was read little endian */
    if (!need(r, 24)) {
        return err_set(err, -EINVAL, "%s: ends within the 24-byte pcap header", r->name);
    }
    uint32_t link = get32(r, r->buf + r->at + 20);
    f.link = (uint16_t)(link & 0xffff); /* the upper bits tell of an FCS */
    f.snaplen = get32(r, r->buf + r->at + 16);
    r->at += 24;
    uint32_t n = 0, wire = 0;
    uint8_t probe[32] = {0}, *d = probe + 16;
    if (!as_ethernet(f.link, &d, &n, &wire)) {
        return err_set(err, -ENOTSUP,
                       "%s: link type %u is not supported (Ethernet, raw IP, Linux cooked and "
                       "loopback are)",
                       r->name, f.link);
    }
    return add_interface(r, &f) || err_set(err, -ENOMEM, "%s: no memory", r->name);
}

static int next_classic(struct pcap_reader *r, struct pcap_packet *out, struct err *err)
{
    for (;;) {
        if (!need(r, 16)) {
            return ended(r);
        }
        const uint8_t *h = r->buf + r->at;
        uint32_t sec = get32(r, h), frac = get32(r, h + 4);
        uint32_t len = get32(r, h + 8), wire = get32(r, h + 12);
        if (len > PCAP_RECORD_MAX) {
            return damaged(r, err, "captured length", len);
        }
        if (!need(r, 16 + (size_t)len)) {
            wire = wire < len ? len : wire;
            len = (uint32_t)(r->end - r->at - 16);
            ended(r);
            if (!len) {
                return 0;
            }
            r->at -= len + 16; /* what is there of the last packet: cut, but not silently lost */
        }
        uint8_t *data = r->buf + r->at + 16;
        r->at += 16 + (size_t)len;
        r->records++;
        const struct interface *f = &r->ifs[0];
        out->has_time = true;
        /* The fraction may exceed a second in files of careless writers: add, do not check. */
        out->time = to_time(&(struct interface){.per_second = 1}, sec) +
                    (int64_t)(frac * (1000000000 / f->per_second));
        if (deliver(r, 0, data, len, wire, out)) {
            return 1;
        }
    }
}

/* ---- pcapng ---- */

/* Length and payload of the next option, or false at the end of the list. */
static bool next_option(const struct pcap_reader *r, const uint8_t **p, const uint8_t *end,
                        uint16_t *code, uint16_t *len, const uint8_t **value)
{
    if (end - *p < 4) {
        return false;
    }
    *code = get16(r, *p);
    *len = get16(r, *p + 2);
    *value = *p + 4;
    size_t padded = ((size_t)*len + 3) & ~(size_t)3;
    if (*code == 0 || (size_t)(end - *value) < *len) {
        return false;
    }
    *p = (size_t)(end - *value) < padded ? end : *value + padded;
    return true;
}

static bool interface_block(struct pcap_reader *r, const uint8_t *body, size_t n)
{
    if (n < 8 || r->n_ifs == INTERFACES_MAX) {
        return false;
    }
    struct interface f = {
        .link = get16(r, body), .snaplen = get32(r, body + 4), .per_second = 1000000};
    const uint8_t *p = body + 8, *value;
    uint16_t code, len;
    while (next_option(r, &p, body + n, &code, &len, &value)) {
        if (code == 9 && len >= 1) { /* if_tsresol: 10^-v or, top bit set, 2^-v */
            uint32_t v = value[0] & 0x7f;
            bool binary = value[0] & 0x80;
            if (v > (binary ? 63u : 19u)) {
                return false;
            }
            f.per_second = 1;
            for (uint32_t i = 0; i < v; i++) {
                f.per_second *= binary ? 2 : 10;
            }
        } else if (code == 14 && len >= 8) { /* if_tsoffset */
            f.offset = (int64_t)get64(r, value);
        }
    }
    return add_interface(r, &f);
}

static void statistics_block(struct pcap_reader *r, const uint8_t *body, size_t n)
{
    if (n < 12) {
        return;
    }
    const uint8_t *p = body + 12, *value;
    uint16_t code, len;
    while (next_option(r, &p, body + n, &code, &len, &value)) {
        if (code == 5 && len >= 8) { /* isb_ifdrop, cumulative */
            r->counts.device_drops = get64(r, value);
        }
    }
}

/* A section header at `at`: byte order and a new list of interfaces. */
static bool section(struct pcap_reader *r)
{
    uint32_t order = le32(r->buf + r->at + 8);
    if (order != 0x1a2b3c4d && order != 0x4d3c2b1a) {
        return false;
    }
    r->big = order == 0x4d3c2b1a;
    r->n_ifs = 0;
    return true;
}

static int packet_block(struct pcap_reader *r, uint32_t type, uint8_t *body, size_t n,
                        struct pcap_packet *out)
{
    uint32_t iface = 0, len, wire;
    uint8_t *data;
    r->records++;
    out->has_time = type != 3;
    out->time = 0;
    if (type == 3) { /* simple: original length, data up to the snaplen */
        if (n < 4 || r->n_ifs == 0) {
            goto bad;
        }
        wire = get32(r, body);
        len = wire;
        if (r->ifs[0].snaplen && len > r->ifs[0].snaplen) {
            len = r->ifs[0].snaplen;
        }
        if (len > n - 4) {
            len = (uint32_t)(n - 4);
        }
        data = body + 4;
    } else { /* 6 enhanced; 2 obsolete: interface and a drop count in 16 bits each */
        if (n < 20) {
            goto bad;
        }
        iface = type == 6 ? get32(r, body) : get16(r, body);
        len = get32(r, body + 12);
        wire = get32(r, body + 16);
        if (iface >= r->n_ifs || (len > n - 20 && !r->cut) || len > PCAP_RECORD_MAX) {
            goto bad;
        }
        if (len > n - 20) { /* the file ends here */
            wire = wire < len ? len : wire;
            len = (uint32_t)(n - 20);
        }
        out->time =
            to_time(&r->ifs[iface], (uint64_t)get32(r, body + 4) << 32 | get32(r, body + 8));
        data = body + 20;
    }
    return deliver(r, iface, data, len, wire, out);
bad:
    r->counts.other_records++;
    return 0;
}

static int next_ng(struct pcap_reader *r, struct pcap_packet *out, struct err *err)
{
    for (;;) {
        if (!need(r, 12)) {
            return ended(r);
        }
        uint32_t type = le32(r->buf + r->at); /* a section header reads the same both ways */
        if (type == 0x0a0d0d0a) {
            if (!section(r)) {
                return damaged(r, err, "byte-order mark", le32(r->buf + r->at + 8));
            }
        } else {
            type = get32(r, r->buf + r->at);
        }
        uint32_t total = get32(r, r->buf + r->at + 4);
        if (total < 12 || total % 4) {
            return damaged(r, err, "block length", total);
        }
        if (total > BUFFER) {
            /* A large comment or secrets block may be passed over, a packet of that size not. */
            if (type == 6 || type == 2 || type == 3) {
                return damaged(r, err, "block length", total);
            }
            size_t left = total;
            while (left) {
                size_t part = left < PCAP_RECORD_MAX ? left : PCAP_RECORD_MAX;
                if (!skip(r, part)) {
                    return ended(r);
                }
                left -= part;
            }
            continue;
        }
        size_t n = total - 12, taken = total;
        if (!need(r, total)) {
            taken = r->end - r->at;
            n = taken - 8;
            ended(r);
            if (n <= (type == 3 ? 4 : 20) || (type != 6 && type != 2 && type != 3)) {
                return 0;
            }
            r->at -= taken; /* what is there of the last packet: cut, but not silently lost */
        }
        uint8_t *body = r->buf + r->at + 8;
        r->at += taken;
        switch (type) {
        case 1:
            if (!interface_block(r, body, n)) {
                return damaged(r, err, "interface number", r->n_ifs);
            }
            break;
        case 5:
            statistics_block(r, body, n);
            break;
        case 2:
        case 3:
        case 6:
            if (packet_block(r, type, body, n, out)) {
                return 1;
            }
            break;
        default: /* names, comments, secrets, section header (taken above): not packets */
            break;
        }
    }
}

/* ---- the outside ---- */

int pcap_read_next(struct pcap_reader *r, struct pcap_packet *out, struct err *err)
{
    return r->ng ? next_ng(r, out, err) : next_classic(r, out, err);
}

static struct pcap_reader *start(struct pcap_reader *r, struct err *err)
{
    r->room = !r->gz && !r->take && r->mem_left < BUFFER ? r->mem_left : BUFFER;
    r->buf = malloc(HEADROOM + r->room);
    if (!r->buf) {
        err_set(err, -ENOMEM, "%s: no memory for a buffer of %zu bytes", r->name, r->room);
        goto fail;
    }
    r->at = r->end = HEADROOM;
    if (!need(r, 4)) {
        if (r->failed) {
            err_set(err, -EIO, "%s: cannot be read: %s", r->name, r->failure);
        } else {
            err_set(err, -EINVAL, "%s: is empty or shorter than any capture", r->name);
        }
        goto fail;
    }
    uint32_t magic = le32(r->buf + r->at);
    if (magic == 0x0a0d0d0a) {
        r->ng = true;
        if (!need(r, 28) || !section(r)) {
            err_set(err, -EINVAL, "%s: damaged pcapng section header", r->name);
            goto fail;
        }
    } else if (!open_classic(r, magic, err)) {
        goto fail;
    }
    return r;
fail:
    pcap_read_close(r);
    return NULL;
}

struct pcap_reader *pcap_read_open(const char *path, struct err *err)
{
    struct pcap_reader *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, -ENOMEM, "%s: no memory", path);
        return NULL;
    }
    bool standard = strcmp(path, "-") == 0;
    snprintf(r->name, sizeof r->name, "%s", standard ? "standard input" : path);
    int fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_set(err, -errno, "%s: cannot be opened: %s", r->name, strerror(errno));
        free(r);
        return NULL;
    }
    r->gz = gzdopen(fd, "rb"); /* passes plain files through unchanged */
    if (!r->gz) {
        err_set(err, -ENOMEM, "%s: no memory", r->name);
        close(fd);
        free(r);
        return NULL;
    }
    gzbuffer(r->gz, 256 << 10);
    return start(r, err);
}

struct pcap_reader *pcap_read_stream(pcap_read_source take, void *arg, const char *name,
                                     struct err *err)
{
    struct pcap_reader *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, -ENOMEM, "%s: no memory", name);
        return NULL;
    }
    snprintf(r->name, sizeof r->name, "%s", name);
    r->take = take;
    r->arg = arg;
    return start(r, err);
}

struct pcap_reader *pcap_read_memory(const void *bytes, size_t n, struct err *err)
{
    struct pcap_reader *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(err, -ENOMEM, "capture in memory: no memory for its reader");
        return NULL;
    }
    snprintf(r->name, sizeof r->name, "capture in memory");
    r->mem = bytes;
    r->mem_left = n;
    return start(r, err);
}

const struct pcap_counts *pcap_read_counts(const struct pcap_reader *r)
{
    return &r->counts;
}

const char *pcap_read_note(struct pcap_reader *r)
{
    size_t n = 0;
    r->note[0] = 0;
    if (r->cut) {
        n += (size_t)snprintf(r->note + n, sizeof r->note - n,
                              "%s: ends within a record%s%s, after %llu packets", r->name,
                              r->failed ? ": " : "", r->failed ? r->failure : "",
                              (unsigned long long)r->counts.packets);
    }
    if (r->counts.other_link && n < sizeof r->note) {
        n += (size_t)snprintf(r->note + n, sizeof r->note - n,
                              "%s%s: %llu records of link type %u skipped (not supported)",
                              n ? "; " : "", n ? "also" : r->name,
                              (unsigned long long)r->counts.other_link, r->last_other_link);
    }
    if (r->counts.other_records && n < sizeof r->note) {
        snprintf(r->note + n, sizeof r->note - n, "%s%s: %llu damaged records skipped",
                 n ? "; " : "", n ? "also" : r->name, (unsigned long long)r->counts.other_records);
    }
    return r->note;
}

void pcap_read_close(struct pcap_reader *r)
{
    if (r) {
        if (r->gz) {
            gzclose(r->gz);
        }
        free(r->buf);
        free(r->ifs);
        free(r);
    }
}
