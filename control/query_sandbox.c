/* SPDX-License-Identifier: Apache-2.0 */
#include "query_sandbox.h"

#include <seccomp.h>
#include "worker_sandbox.h"

#define OWN_MEMORY  (128ull << 20) /* code, libraries, allocator, beside the query's own */
#define STACK_BYTES (8ull << 20)

bool sandbox_limits(uint64_t memory, unsigned threads, struct err *err)
{
    return worker_limits(
        &(struct sandbox_limits){.nice = 10,
                                 .oom = "1000",
                                 .file = memory, /* of a result */
                                 .data = memory + memory / 4 + OWN_MEMORY + threads * STACK_BYTES},
        err);
}

bool sandbox_enter(struct err *err)
{
    static const int deadly[] = {SCMP_SYS(io_uring_setup)};
    return worker_confine(&(struct sandbox_rules){.who = "a query process",
                                                  .kill = deadly,
                                                  .nkill = PST_COUNT(deadly)},
                          err);
}
