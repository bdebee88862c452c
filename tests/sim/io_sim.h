/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_sim.h - a computer's disks in memory, behind struct io: what a process sees, what the device
 * really keeps, and every change that stands between the two.
 *
 *   live      what a process that reads gets: page cache and completed writes
 *   durable   what is on the device for ever: files, their sizes, names, directories
 *   pending   the changes in between, in order: bytes of a file, its size, names of a directory
 *
 * WHAT IS DURABLE. fsync of a file makes its bytes and size durable, not its name; sync_dir makes
 * the names of one directory durable; a write with `dsync` that completed makes its own bytes
 * durable (and the size, where they need it), nothing else. Everything else is pending until then.
 *
 * A CRASH is made from a copy, so that one run gives as many crashes as it has operations, and each
 * of them as many images as there are choices:
 *   sim_copy        the whole disk, operations in flight included, at this moment
 *   sim_power_cut   of a copy: each pending change dropped, applied, or (bytes) torn by sectors of
 *                   512 bytes; descriptors, locks and the page cache are gone
 *   sim_kill        of a copy: the process is gone, the kernel is not: what was in flight happens
 *                   or does not; what was pending stays pending
 *   sim_ordered     names and sizes reach the device in the order they were made (a journalling
 *                   filesystem), and any sync takes all earlier ones along; without it each goes
 *                   its own way, as POSIX allows.
 *
 * FAULTS are rules (struct sim_fault): of the operations that match, `skip` pass, `times` are hit.
 * An operation that fails with an error may have happened in part: a failed write leaves some of
 * its sectors behind, live and pending, as the seed decides; a failed sync leaves the pending
 * changes dropped for ever (SIM_LIE: the next sync succeeds, reads still show the bytes, the device
 * has not got them: reliability B3.1) or pending.
 *
 * Asynchronous operations complete after a time of the seed's choosing, so in any order; the bytes
 * are taken at completion, and the simulator notes (`misuse`) when they changed in between, when
 * two writes in flight overlap, and when a descriptor is used that is not open.
 *
 * Time is simulated: it passes by a microsecond a call of `monotonic`, by `sleep`, while `reap`
 * waits and while an operation stalls.
 *
 * Everything random comes from the disk's seed. Owner: one thread. Pages are shared between copies
 * and copied on write; pages of zeros take no memory.
 */
#pragma once

#include "core/io.h"

#define SIM_SECTOR 512u
#define SIM_PENDING                                                                                \
    4096u /* pending changes; beyond that the oldest reach the device by themselves */
#define SIM_VOLUMES 4u
#define SIM_FAULTS  16u
#define SIM_EVER    UINT64_MAX

enum sim_op {
    SIM_OPEN,
    SIM_CREATE, /* an open that makes or truncates the file */
    SIM_CLOSE,
    SIM_PREAD,
    SIM_PWRITE,
    SIM_FSYNC,
    SIM_FDATASYNC,
    SIM_FALLOCATE,
    SIM_FTRUNCATE,
    SIM_FSTAT,
    SIM_STAT,
    SIM_RENAME,
    SIM_UNLINK,
    SIM_MKDIR,
    SIM_RMDIR,
    SIM_SYNC_DIR,
    SIM_LIST,
    SIM_FREE_SPACE,
    SIM_DIO_ALIGN,
    SIM_LOCK,
    SIM_SUBMIT,
    SIM_WRITE, /* asynchronous ones: what they return when they complete */
    SIM_READ,
    SIM_SYNC,
    SIM_EXCHANGE,
    SIM_OPS
};
extern const char *const sim_op_name[SIM_OPS];
#define SIM_ANY_WRITE (1u << SIM_PWRITE | 1u << SIM_WRITE)
#define SIM_ANY_SYNC  (1u << SIM_FSYNC | 1u << SIM_FDATASYNC | 1u << SIM_SYNC)
#define SIM_ANY       ((1u << SIM_OPS) - 1)
/* operations that change something or make something durable: crash points */
#define SIM_CHANGES                                                                                \
    (SIM_ANY_WRITE | SIM_ANY_SYNC | 1u << SIM_CREATE | 1u << SIM_FALLOCATE | 1u << SIM_FTRUNCATE | \
     1u << SIM_RENAME | 1u << SIM_UNLINK | 1u << SIM_MKDIR | 1u << SIM_RMDIR |                     \
     1u << SIM_SYNC_DIR | 1u << SIM_EXCHANGE | 1u << SIM_SUBMIT)

enum sim_fault_kind {
    SIM_FAIL,     /* error */
    SIM_LIE,      /* syncs: error, and what was pending will never be durable */
    SIM_SHORT,    /* reads and writes: only `arg` bytes */
    SIM_STALL,    /* completes `arg` ns later */
    SIM_MISDIRECT /* writes: success, but the bytes went to another place of the same file */
};
struct sim_fault {
    uint32_t ops;     /* 1u << enum sim_op */
    const char *path; /* beginning of the file's path; NULL = any. Stays the caller's */
    uint64_t skip, times;
    enum sim_fault_kind kind;
    int error; /* errno, positive */
    uint64_t arg;
    uint64_t seen, hit; /* the simulator's */
};

enum sim_choice { SIM_DROP, SIM_APPLY, SIM_TEAR };

struct sim_data;
struct sim_names;
struct sim_blob;
struct sim_inode {
    bool used, directory;
    uint8_t volume;
    uint32_t opens;
    int lock;                                     /* descriptor that holds the lock, -1 = none */
    struct sim_data *live, *durable;              /* files */
    struct sim_names *names_live, *names_durable; /* directories */
    int64_t modified;
    char path[160]; /* where it was last seen */
};
enum sim_change_kind { SIM_BYTES, SIM_SIZE, SIM_NAMES };
struct sim_name_change {
    uint32_t dir, inode; /* inode UINT32_MAX = the name goes */
    char name[120];
};
struct sim_change {
    enum sim_change_kind kind;
    bool flight;  /* not completed at the moment of the copy */
    bool settled; /* durable; stands here only because an older pending change lies below it */
    uint32_t inode;
    uint64_t offset, len;  /* BYTES; SIZE: len = the new size, offset != 0: a truncation */
    struct sim_blob *blob; /* NULL = zeros */
    unsigned nnames;
    struct sim_name_change name[2];
};
struct sim_flight {
    struct io *io;
    struct io_op *op;
    int64_t done_at;
    int32_t result;
    uint32_t inode;
    struct sim_blob *blob;
    enum sim_fault_kind kind;
    bool faulty, dsync;
    uint64_t offset, len;
};
struct sim_fd {
    uint32_t inode;
    bool used, direct, writable;
    int real; /* a real descriptor, when real_fds */
};

struct sim {
    uint64_t seed, rng;
    int64_t now, tick;
    struct sim_inode *inode;
    uint32_t inodes, inode_room;
    struct sim_change *pending;
    uint32_t npending, pending_room;
    struct sim_flight *flight;
    uint32_t flights, flight_room;
    struct sim_fd *fd;
    uint32_t fds;
    struct sim_fault fault[SIM_FAULTS];
    /* knobs */
    bool ordered;   /* see above */
    bool no_direct; /* opening with O_DIRECT fails with EINVAL, as tmpfs of old */
    bool real_fds;  /* descriptors are real ones (of empty files), for fcntl locks */
    bool no_exchange;
    bool lying_dsync; /* canaries: a dsync write completes before it is durable, */
    bool lying_dir;   /* sync_dir does nothing */
    uint32_t align;   /* of O_DIRECT; 512 */
    unsigned depth;   /* most operations in flight of an io */
    int64_t latency_min, latency_max;
    uint64_t limit[SIM_VOLUMES]; /* bytes of each volume; SIM_EVER */
    bool dead[SIM_VOLUMES];      /* everything on it fails with EIO */
    /* called before each of SIM_CHANGES; may copy the disk, must not change it */
    void (*hook)(void *arg, struct sim *d, enum sim_op op);
    void *hook_arg;
    /* figures */
    uint64_t count[SIM_OPS], changes, failed, misuse, unaligned;
    char misused[160];
};

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *d);
/* A struct io on it. Several may live; all stop working, without harm, when the disk is freed last.
 */
struct io *sim_io(struct sim *d);
/* Random number below n (n 0: any), from the disk's seed. */
uint64_t sim_random(struct sim *d, uint64_t n);
void sim_random_bytes(struct sim *d, void *p, size_t n);

/* Makes a directory (durable) as the root of a volume of its own: limit and dead apply to it. */
void sim_volume(struct sim *d, unsigned volume, const char *path);
struct sim_fault *sim_fault_add(struct sim *d, const struct sim_fault *f);
void sim_fault_clear(struct sim *d);

/* ---- crashes ---- */
struct sim *sim_copy(const struct sim *d);
/* Of a copy: how many choices pending change i has: 1 (settled: durable), 2 drop or apply, 3 or
 * torn */
unsigned sim_choices(const struct sim *copy, uint32_t i);
/* choice[i] of each pending change; `seed` decides how the torn ones are torn. */
struct sim *sim_power_cut(const struct sim *copy, const uint8_t *choice, uint64_t seed);
/* choice[i] is looked at where the change was in flight: SIM_DROP or not. */
struct sim *sim_kill(const struct sim *copy, const uint8_t *choice);
/* Number of images that all combinations give; SIM_EVER when beyond 10^9. */
uint64_t sim_images(const struct sim *copy);
/* Combination number n of them, into choice[npending]. */
void sim_image_choice(const struct sim *copy, uint64_t n, uint8_t *choice);

/* ---- looking at it, without faults and figures ---- */
/* All files and names equal, as a process sees them? Else says which differs. */
bool sim_same(const struct sim *a, const struct sim *b, char what[200]);
uint64_t sim_hash(const struct sim *d); /* of all that a process sees */
/* Bytes of a file as a process sees them, malloc'd; NULL = no such file. */
uint8_t *sim_read(const struct sim *d, const char *path, uint64_t *size);
void sim_write(struct sim *d, const char *path, const void *p, uint64_t n); /* durable at once */
/* A bit that is wrong from now on, whoever reads it: live, pending and durable. */
bool sim_flip(struct sim *d, const char *path, uint64_t bit);
uint64_t sim_used(const struct sim *d, unsigned volume);
/* Calls fn for the names of a directory. */
void sim_each(const struct sim *d, const char *path, void (*fn)(void *arg, const char *name),
              void *arg);
/* Writes the tree below `path` into the real directory of the same name. */
bool sim_export(const struct sim *d, const char *path);
void sim_dump(const struct sim *d, const char *path, FILE *out); /* names, sizes, pending changes */
