#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian 12 packages that penstock builds with and runs on (README says what each is for).
# With an argument "test" also those that only the tests need. Does nothing when all are there.
set -eu
run="meson ninja-build pkg-config gcc g++ libdpdk-dev dpdk liburing-dev libjansson-dev libyaml-dev
     libisal-dev zlib1g-dev libzstd-dev liblz4-dev libssl-dev libjemalloc-dev libseccomp-dev libedit-dev libpg-query-dev libprotobuf-c-dev
     iproute2 tzdata"
test="libcmocka-dev libbenchmark-dev clang libclang-rt-14-dev spin fio tcpdump e2fsprogs xfsprogs openssl zstd lz4 python3 python3-numpy"
want=$run
[ "${1:-}" = test ] && want="$run $test"
missing=
for p in $want; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
# npm brings DuckDB, which the tests of SQL compare with; one that came another way serves too.
[ "${1:-}" != test ] || command -v npm >/dev/null || missing="$missing npm"
[ -z "$missing" ] && exit 0
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "packages.sh: missing:$missing; run as root once" >&2; exit 1; }
    sudo=sudo
fi
echo "installing:$missing"
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
