/* SPDX-License-Identifier: Apache-2.0 */
/* sanitized.h - whether this is built with a sanitizer whose runtime takes memory, system calls or
 * time of its own (gcc and clang say so in two ways). */
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PST_SANITIZED 1
#endif
#endif
#ifndef PST_SANITIZED
#define PST_SANITIZED 0
#endif
