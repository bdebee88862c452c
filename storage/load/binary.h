/* SPDX-License-Identifier: Apache-2.0 */
/*
 * binary.h - records as the data plane's decoders write them (core/record.h) become blocks.
 *
 * Readers of ITCH files and of captures run the data plane's own feed and decoder on the bytes, in
 * control (load_feed.c), as storage must not see the data plane; what those write through struct
 * rows comes here run by run. Nothing about a message is decoded twice in this tree.
 *
 * Symbols in records are codes of the file's dictionary already: the sink's `intern` is
 * load_dict_code, with code 0 (null) as PST_NULL_SYMBOL and code k as k.
 *
 * One thread.
 */
#pragma once

#include "core/frame.h"
#include "core/record.h"
#include "load/save.h"

struct load_records;

struct load_records *load_records_open(const struct load_reader_config *c, struct err *err);
/* The records at [p, end), packet records among them, all of trading date `day`. False: a record
 * that is none (a bug, or memory that was damaged), or the sink refused. */
bool load_records_take(struct load_records *r, const uint8_t *p, const uint8_t *end, int32_t day,
                       struct err *err);
/* One row of `gap`, as frames of kind gap hold them. */
bool load_records_flush(struct load_records *r, struct err *err);
void load_records_close(struct load_records *r);
uint64_t load_records_rows(const struct load_records *r);
