#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The oracle with DuckDB: run.sh ORACLE DIRECTORY [options]. Without a registry to get DuckDB from
# it says so and skips (77).
set -eu
here=$(dirname "$0")
oracle=$1 dir=$2
shift 2
lib=$("$here/install.sh" "$dir") || {
    echo "SKIPPED: oracle: DuckDB could not be installed, NO query was compared" >&2
    exit 77
}
exec "$oracle" "$lib" "$here/queries.txt" "$@"
