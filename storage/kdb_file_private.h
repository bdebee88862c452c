/* SPDX-License-Identifier: Apache-2.0 */
/* kdb_file_private.h - between kdb_file*.c: the start of a compressed image. */
#pragma once

#include "kdb_file.h"

/* image is one (kdb_is_compressed). limit 0: everything. Free with munmap(*plain, page-rounded). */
bool kdb_unpack_start(const void *image, size_t len, size_t limit, void **plain, size_t *plain_len,
                      uint64_t *total, const char *name, struct err *err);
