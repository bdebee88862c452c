/* SPDX-License-Identifier: Apache-2.0 */
/* Which errno means what: one table (DESIGN §5 Failure; reliability B5). */
#include "log.h"

enum log_action log_policy(int error)
{
    switch (-error) {
    case EINTR:
    case EAGAIN:
        return LOG_ACT_AGAIN;
    case ENOMEM:
    case ENOBUFS:
        return LOG_ACT_BACKOFF;
    case ECANCELED:
        return LOG_ACT_SKIPPED;
    case ENOSPC:
    case EDQUOT:
        return LOG_ACT_FULL;
    case EFBIG: /* RLIMIT_FSIZE, or the filesystem's largest file */
        return LOG_ACT_LIMIT;
    case EINVAL:
    case EBADF:
    case EFAULT:
        return LOG_ACT_BUG;
    default:
        return LOG_ACT_DEVICE;
    }
}
