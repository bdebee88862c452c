/* SPDX-License-Identifier: Apache-2.0 */
/*
 * splayed.h - kdb+ splayed tables as delivered: a directory with `.d` and a file a column.
 *
 * Read through storage/kdb_file.h, so every shape that it knows: vectors, enumerations of 32 and 64
 * bits, strings, kxzipped files, kdb+ 2.x. Attributes are ignored: order is made anew. Columns are
 * matched by name; those that the table has not got are refused unless the recipe's map passes them
 * over ("-"); those that only the table has must be `optional`.
 *
 * ENUMERATED SYMBOLS are resolved to their texts. The domain file is recipe.sym, else the file
 * named by the column (usually `sym`) in the directory itself, its parent (a table beside its sym),
 * or the one above (a partition of a database: db/2024.01.02/trade). Its declared count is not
 * believed. An index outside the domain is an error that names column and row, never a null.
 *
 * TYPES. Equal, or one that holds every value (boolean byte short int -> wider integers, real ->
 * float, symbol -> string, char -> string, timespan/time/minute/second -> timestamp as an offset
 * from the midnight of the table's date in recipe.zone; timestamps are meant in that zone; date ->
 * timestamp). Others are refused by name.
 *
 * THE DATE of rows: of `time` in the calendar; where the recipe says `file`, the directory's name
 * or its parent's, when that is a date.
 *
 * Trust: every file is somebody else's. kdb_file checks shapes and bounds. Files larger than
 * KDB_COPY_MAX are mapped by it: one that is truncated meanwhile costs the worker (SIGBUS) and with
 * it this task, nothing else.
 */
#pragma once

#include "load/save.h"
