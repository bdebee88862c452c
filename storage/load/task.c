/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "load/task.h"

bool load_retryable(int code)
{
    static const int final[] = {EINVAL,  EBADMSG,  ENODATA, EFBIG,  ENOTSUP,     EILSEQ,
                                ENOTDIR, EISDIR,   ERANGE,  E2BIG,  EEXIST,      ECANCELED,
                                EPROTO,  EMSGSIZE, ELOOP,   EACCES, ENAMETOOLONG};
    for (unsigned i = 0; i < PST_COUNT(final); i++)
        if (code == -final[i])
            return false;
    return true;
}
