/* SPDX-License-Identifier: Apache-2.0 */
/* io_sys.h - the blocking system calls that the real backends share (io_posix.c). */
#pragma once

#include "core/io.h"

extern const struct io_ops io_posix_ops; /* io_uring.c copies it and replaces submit and reap */

int io_dio_align(int fd); /* io_dio.c; 0 = the filesystem does not say */
