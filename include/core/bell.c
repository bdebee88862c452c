/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "core/bell.h"
#include "core/clock.h"

void bell_hang(struct bell_board *board, struct bell *b, uint32_t waits, int fd)
{
    uint32_t n = load_relaxed(&board->n);
    pst_must(n < BELLS);
    store_relaxed(&b->armed, 0);
    b->waits = waits;
    b->fd = fd;
    board->bell[n] = b;
    store_release(&board->n, n + 1); /* B3 */
}

void bell_arm(struct bell *b)
{
    store_relaxed(&b->armed, b->waits);
    fence_full(); /* B1: pairs with B2 */
}

void bell_sleep(struct bell *b, int64_t ns)
{
    struct timespec ts = {ns / NS_PER_S, ns % NS_PER_S};
    syscall(SYS_futex, &b->armed, FUTEX_WAIT_PRIVATE, b->waits, &ts, NULL, 0);
}

void bell_board_wake(struct bell_board *board, uint32_t events)
{
    fence_full();                         /* B2: pairs with B1 */
    uint32_t n = load_acquire(&board->n); /* B4 */
    for (uint32_t i = 0; i < n; i++) {
        struct bell *b = board->bell[i];
        if (!(load_relaxed(&b->armed) & events) ||
            !atomic_exchange_explicit(&b->armed, 0, memory_order_relaxed))
            continue;
        if (b->fd < 0) {
            syscall(SYS_futex, &b->armed, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        } else {
            ssize_t r = write(b->fd, &(uint64_t){1}, sizeof(uint64_t));
            (void)r; /* a counter that is full wakes, too */
        }
    }
}
