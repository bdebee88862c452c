/* SPDX-License-Identifier: Apache-2.0 */
/* feed_kit.h - what every test of a feed starts with: a status segment and a rows sink. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "feed.h"
#include "support/feedrows.h"

static struct status *status;
static struct fake fake;

static int feed_setup(void **state)
{
    (void)state;
    struct err e = {0};
    status = status_create("test", &e);
    return status ? 0 : -1;
}
static int feed_teardown(void **state)
{
    (void)state;
    status_destroy(status);
    return 0;
}
