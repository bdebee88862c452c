/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pins.h - cuts for queries (core/cut.h), and what they hold: the days of the RDB that a query may
 * still be reading cannot be given back to the pool before its pin is gone.
 *
 * A pin belongs to a process (any number its owner likes: control/query_pool's slot). It ends by
 * pins_release, or with all others of its process by pins_release_all when that process has died or
 * is idle again. A day whose partition is published ("leaving") takes no new pins: later cuts read
 * it from the HDB. If a pin keeps a leaving day for longer than the grace (query_grace), the kill
 * callback is called once with the process that holds it; that process's death releases the pin.
 *
 * THREAD: control only. Nothing here blocks; pins_take copies the RDB's cut out of its seqlock.
 */
#pragma once

#include "core/cut.h"

struct day;
struct pins;

#define PINS_MAX 4096u

/* A new cut and its pin. NULL with one sentence: too many pins, no memory. free() it when sent; the
 * pin lives on until it is released. Without rows in the RDB it is still a cut (nparts 0). */
struct cut *pins_take(struct pins *p, uint32_t process, struct err *err);
/* Gives up all days but those listed, once the query knows what it reads (n 0: only the HDB). */
void pins_keep(struct pins *p, uint64_t pin, const int32_t *day, unsigned n);
void pins_release(struct pins *p, uint64_t pin); /* an unknown one is ignored */
void pins_release_all(struct pins *p, uint32_t process);

/* Who ends a process that holds a leaving day for too long. */
void pins_on_overdue(struct pins *p, void (*kill)(void *arg, uint32_t process, const char *why),
                     void *arg);
unsigned pins_count(const struct pins *p);

/* ---- for control/day*.c ---- */
struct pins *pins_new(struct day *day);
void pins_free(struct pins *p);
/* The day slots of the RDB (rdb_layout.h) that any pin holds, a bit each. */
uint64_t pins_slots(const struct pins *p);
/* The first pin that holds one of these slots (its grace is over) is overdue: its process, once per
 * pin, goes to the callback. Returns how many it told. */
unsigned pins_overdue(struct pins *p, uint64_t slots, const char *why);
