/* SPDX-License-Identifier: Apache-2.0 */
#include "level.h"

#include <grp.h>
#include <pwd.h>

#define NAME_SERVICE_BYTES 65536

static bool in_group(const char *name, const char *user, gid_t gid)
{
    struct group g, *found = NULL;
    char *room = malloc(NAME_SERVICE_BYTES);
    bool in = room && !getgrnam_r(name, &g, room, NAME_SERVICE_BYTES, &found) && found &&
              found->gr_gid == gid;
    for (char **m = found && !in ? found->gr_mem : NULL; m && *m && !in; m++)
        in = *user && !strcmp(*m, user);
    free(room);
    return in;
}

static bool listed(const struct config_names *n, const char *user, gid_t gid)
{
    for (uint32_t i = 0; i < n->count; i++) {
        const char *x = n->at[i];
        if (*x == '@' ? in_group(x + 1, user, gid) : *user && !strcmp(x, user))
            return true;
    }
    return false;
}

enum level level_of(const struct config_access *a, uid_t own, uid_t uid, gid_t gid)
{
    char room[4096], user[64] = "";
    struct passwd pw, *found = NULL;
    if (uid == 0 || uid == own)
        return LEVEL_ADMIN;
    if (!getpwuid_r(uid, &pw, room, sizeof room, &found) && found)
        snprintf(user, sizeof user, "%s", pw.pw_name);
    if (listed(&a->admin, user, gid))
        return LEVEL_ADMIN;
    if (listed(&a->operate, user, gid))
        return LEVEL_OPERATE;
    return !a->view.count || listed(&a->view, user, gid) ? LEVEL_VIEW : LEVEL_NONE;
}
