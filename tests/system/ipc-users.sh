#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ipc-users.sh CASE...: who comes in over kdb+ IPC, from outside. doors (what is refused at load), rights
# (passwords, tables, publishing, SQL, hot reload, access log), tls (a real client, certificates that change),
# validator (another program checks passwords; costs of queries in the access log), flood (1,000 logins a second beside a stream).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/ipc-users-kit.sh"
enter_namespace "$@"
ip addr add 10.9.9.9/24 dev in
ip addr add 10.9.9.8/24 dev in
export work here="$(dirname "$0")"
for c; do
    rm -rf "$work/state" "$work/log" "$work"/*.yaml
    "case_$c" || die "$c"
done
