/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtp_params.h - the parameters of streaming analytics and functions of real-time plugins: from
 * what a client sent to what the process gets (rtp_wire.h: struct rtp_ask).
 *
 * DECLARED is PARAMETERS of READY, as rtp_ready_check found it sound.
 *
 * WHAT COMES IN is a kdb+ dictionary from symbols to values: an atom for a parameter, a vector (or
 * an atom: one value; or a general list of atoms) for a list. Values that mean the same are taken:
 * integers of another width, an integer for a float, a date for a timestamp, a time of day for a
 * timespan, text for anything that text can say (storage/query/literal.h). `::` is "not given"; a
 * null symbol where a list of symbols is wanted is the empty list, as clients of a tickerplant say
 * "all". With RTP_PARAMS_TEXTS every char vector is a text as a command line has it: lists are
 * split at commas (\, is a comma that stays).
 *
 * WHAT GOES OUT is canonical: a dictionary (symbols!general list) with every declared parameter in
 * the declared order, of exactly its type, defaults filled in. Strings are char vectors, a list of
 * them is a general list. Equal parameters are equal bytes, however they were written: this is what
 * makes two clients share one computation. The order of a list's items is kept.
 *
 * ERRORS name the parameter, its type, and an example.
 *
 * Pure functions; any thread.
 */
#pragma once

#include <jansson.h>
#include "storage/kdb_object.h"

#define RTP_PARAMS_MAX (1u << 20) /* bytes that go out */

enum { RTP_PARAMS_TEXTS = 1 };

/* Appends the canonical dictionary to out. `of`: the analytic, for sentences. given: a sound object
 * (kdb_object_check), NULL: nothing given. False: err is the sentence; out is then rubbish. */
bool rtp_params_make(const char *of, const json_t *declared, const struct kdb_object *given,
                     unsigned flags, struct kdb_out *out, struct err *err);
/* The same from {"name": "text", …}. */
bool rtp_params_texts(const char *of, const json_t *declared, const json_t *given,
                      struct kdb_out *out, struct err *err);
/* "table symbol, syms symbol list = all, window timespan = 0D00:01": for lists and sentences.
 * Returns out. */
const char *rtp_params_about(const json_t *declared, char *out, size_t room);
/* A canonical dictionary as one line, "table=trade syms=A,B", cut at room. Returns out. */
const char *rtp_params_text(const void *params, size_t n, char *out, size_t room);
