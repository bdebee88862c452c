# SPDX-License-Identifier: Apache-2.0
# What peers.sh and publish.sh share: Debian's packages of the peers they measure.

# peers_install BUILD PACKAGE...: those that are missing, then BUILD is told of them.
peers_install() {
    local build=$1 missing= p policy=/usr/sbin/policy-rc.d made=
    shift
    for p; do dpkg -s "$p" >/dev/null 2>&1 || missing="$missing $p"; done
    if [ -n "$missing" ]; then
        # packages start no daemons of their own here
        [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1; }
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
            echo "apt-get install$missing failed" >&2
        [ -n "$made" ] && rm -f $policy
    fi
    meson setup --reconfigure "$build" >/dev/null
}
