/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* penstock-rtp --standalone: the program's exit code. */
int host_standalone(int argc, char **argv);
