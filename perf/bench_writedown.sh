#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The end of day beside raw writes and DuckDB (npm package, put into the build directory):
#   perf/bench_writedown.sh [BUILD] [bench_writedown's options]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
[ $# -gt 0 ] && shift
ninja -C "$build" perf/bench_writedown >/dev/null
if lib=$(tests/oracle/install.sh "$build/duckdb"); then set -- -q "$lib" "$@"; fi
exec "$build/perf/bench_writedown" "$@"
