#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts DuckDB's shared library (npm package, pinned; for tests and comparisons only) into DIR and
# prints its path. Exit 1, with a sentence: the registry is not to be had; the caller skips loudly.
#   tests/oracle/install.sh BUILD/duckdb
set -eu
dir=$1
version=1.4.4-r.1
case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) echo "duckdb: no package for $(uname -m)" >&2; exit 1 ;; esac
lib=$dir/node_modules/@duckdb/node-bindings-linux-$arch/libduckdb.so
if [ ! -s "$lib" ] || [ "$(cat "$dir/version" 2>/dev/null)" != "$version" ]; then
    command -v npm >/dev/null || { echo "duckdb: npm is not installed" >&2; exit 1; }
    mkdir -p "$dir"
    npm install --silent --no-audit --no-fund --no-save --prefix "$dir" \
        "@duckdb/node-bindings-linux-$arch@$version" >"$dir/npm.out" 2>&1 </dev/null ||
        { echo "duckdb: npm install failed: $(tail -1 "$dir/npm.out")" >&2; exit 1; }
    echo "$version" >"$dir/version"
fi
[ -s "$lib" ] || { echo "duckdb: the package has no $lib" >&2; exit 1; }
echo "$lib"
