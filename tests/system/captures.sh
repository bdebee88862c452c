#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# captures.sh: real captures through `penstockd --replay` agree with their manifest (replay.py has the list).
. "$(dirname "$0")/lib.sh"
data=${PST_DATA:-$SOURCE/../shared/data}
[ -d "$data" ] || skip "no real captures: $data is absent (PST_DATA names another folder); nothing of them was checked"
exec python3 "$SOURCE/tests/system/replay.py" "$bin/penstockd" "$SOURCE/tests/data/framings" "$data"
