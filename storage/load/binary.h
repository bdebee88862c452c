/* SPDX-License-Identifier: Apache-2.0 */
/*
 * binary.h - records as the data plane's decoders write them (core/record.h) become blocks.
 *
 * Readers of ITCH files and of captures run the data plane's own feed and decoder on the bytes, in
 * control (load_feed.c), as storage must not see the data plane; what those write through struct
 * rows comes here frame by frame. Nothing about a message is decoded twice in this tree.
 *
 * Tables: those of the recipe, as versions TABLE_FIRST, TABLE_FIRST + 1, … (load_records_schema),
 * which is what the records must carry. Symbols in records are codes of the file's dictionary: the
 * sink's `intern` is load_records_symbol.
 *
 * One thread.
 */
#pragma once

#include "core/frame.h"
#include "core/record.h"
#include "load/save.h"

struct load_records;

struct load_records *load_records_open(const struct load_reader_config *c, struct err *err);
void load_records_close(struct load_records *r);
const struct schema *load_records_schema(const struct load_records *r, unsigned table);
/* PST_NULL_SYMBOL for the empty text; UINT32_MAX - 1 (SYMBOL_REFUSED of core/rows.h) for one that
 * is too long, holds a NUL or finds no memory. */
uint32_t load_records_symbol(struct load_records *r, const char *text, uint32_t len);
/* The records at [p, end), packet records among them, all of trading date `day`. False: a record
 * that is none (a bug, or memory that was damaged), or the sink refused. */
bool load_records_take(struct load_records *r, const uint8_t *p, const uint8_t *end, int32_t day,
                       struct err *err);
/* Hands on what is still held. */
bool load_records_flush(struct load_records *r, struct err *err);
uint64_t load_records_rows(const struct load_records *r);
