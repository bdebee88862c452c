#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every benchmark of perf/, each figure beside its limit measured in the same run, as one table.
# Medians of 3 runs (-r N). A row that cannot run here says why; it does not fail the others.
#   perf/run.sh [--quick] [-r RUNS] [-d DIRECTORY]
# --quick: 20 M messages through the pipeline instead of 200 M, shorter runs elsewhere, 1 run of
# what is slow. DIRECTORY (default: build/) is where logs are written; a real disk, 25 GB free (quick: 8).
# Exit: 0 all targets met, 1 some were not, 2 usage.
cd "$(dirname "$0")/.." || exit 2
build=${BUILD:-build} quick= runs=3 dir=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 ;;
    -r) runs=$2; shift ;;
    -d) dir=$2; shift ;;
    *) sed -n '3,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
[ -d "$build" ] || meson setup "$build" --buildtype=release >/dev/null || exit 2
ninja -C "$build" >"$build/perf.log" 2>&1 || { tail -30 "$build/perf.log"; exit 2; }
dir=${dir:-$build}
work=$(mktemp -d "$dir/perf.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
export PERF_DIR=$work
table=$work/table missed=0

# median: of the numbers on standard input, one a line; nothing for none.
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# field NAME: its values from NAME=VALUE words on standard input; k, M, G as Google Benchmark says.
field() {
    tr ' ' '\n' | sed -n "s|^$1=\(.*\)|\1|p" | sed 's|/s$||' | awk '
        { m = /k$/ ? 1e3 : /M$/ ? 1e6 : /G$/ ? 1e9 : 1; printf "%.6g\n", $1 * m }'
}
of() { field "$1" <"$2" | median; }

# times N FILE COMMAND…: runs it N times, output to FILE. False: one run failed.
times() {
    local n=$1 file=$2 i code=0
    shift 2
    : >"$file"
    for ((i = 0; i < n; i++)); do "$@" >>"$file" 2>"$file.err" || code=$?; done
    return $code
}

# short VALUE SCALE: three digits
short() { awk -v v="$1" -v s="$2" 'BEGIN { v /= s; d = (v == int(v) || v > 99.9) ? 0 : v < 10 ? 2 : 1; printf "%.*f", d, v }'; }

# row WHAT UNIT SCALE MEASURED LIMIT RATIO TARGET MET COMMAND; values may be empty
row() {
    local m=- l=- met=$8
    [ -n "$4" ] && m=$(short "$4" "$3")
    [ -n "$5" ] && l=$(short "$5" "$3")
    [ "$met" = no ] && missed=1
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$m $2" "$([ -n "$5" ] && echo "$l $2" || echo -)" \
        "$([ -n "$6" ] && [ "$6" != - ] && short "$6" 1 || echo -)" "$7" "$met" "$9" >>"$table"
    echo "  $1: $m $2 (limit $l, target $7): $met" >&2
}
skip() { # WHAT WHY
    printf '%s\t-\t-\t-\t-\tskipped\t%s\n' "$1" "$2" >>"$table"
    echo "  $1: skipped: $2" >&2
}
yes_if() { awk "BEGIN { exit !($1) }" && echo yes || echo no; }
ratio() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (a > 0 && b > 0) printf "%.2f", a / b }'; }

# gbench FILE PROGRAM FILTER: lines of Google Benchmark, one benchmark each, `runs` repetitions
gbench() {
    "$build/perf/$2" --benchmark_filter="$3" --benchmark_repetitions="$runs" \
        ${quick:+--benchmark_min_time=0.1} 2>"$1.err" | grep -v -E '_(mean|median|stddev|cv)' >"$1"
    return "${PIPESTATUS[0]}"
}

say() { echo "$*" >&2; }

say "framing and arbitration"
f=$work/feed
c="bench_feed; limit: touching the same packets"
if gbench "$f" bench_feed 'measure/(feed|touch)/msgs:(1|38)/lines:2/decoder:0/lossy'; then
    for n in 1 38; do
        grep "feed/msgs:$n/lines:2/decoder:0/lossy:1" "$f" >"$f.m"
        grep "touch/msgs:$n/lines:2" "$f" >"$f.l"
        if [ "$n" = 1 ]; then
            m=$(of items_per_second "$f.m") l=$(of items_per_second "$f.l")
            row "framing + two-line arbitration, 1 message a packet" Mpackets/s 1e6 "$m" "$l" \
                "$(ratio "$m" "$l")" ">= 5" "$(yes_if "$m >= 5e6")" "$c"
        else
            m=$(of msg/s "$f.m") l=$(of msg/s "$f.l")
            row "the same, 38 a packet" Mmessages/s 1e6 "$m" "$l" "$(ratio "$m" "$l")" ">= 50" \
                "$(yes_if "$m >= 50e6")" "$c"
        fi
    done
else
    skip "framing + two-line arbitration" "bench_feed: $(tail -1 "$f.err")"
fi

say "decode and journal"
f=$work/decode
if [ -x "$build/perf/bench_decode" ] && gbench "$f" bench_decode '(decode_journal|limit_crc|limit_memcpy)/real:0'; then
    grep decode_journal "$f" >"$f.m"
    grep limit_memcpy "$f" >"$f.l"
    m=$(of items_per_second "$f.m") l=$(of items_per_second "$f.l")
    row "decode + journal with CRC, one core" Mmessages/s 1e6 "$m" "$l" "$(ratio "$m" "$l")" ">= 50" \
        "$(yes_if "$m >= 50e6")" "bench_decode; limit: memcpy of the same rows"
else
    skip "decode + journal with CRC, one core" "no bench_decode"
fi
f=$work/front
if times "$runs" "$f" "$build/perf/bench_pipeline" -0 -x -n $((quick ? 20000000 : 100000000)); then
    m=$(of messages_s "$f")
    row "port to journal, two lines, one core, no disk" Mmessages/s 1e6 "$m" "" "" "-" "-" \
        "bench_pipeline -0 -x"
fi

say "log"
f=$work/log
if ! command -v fio >/dev/null; then
    skip "log against fio" "fio is not installed"
elif times "$((quick ? 1 : runs))" "$f" "$build/perf/bench_log" "$work"; then
    for state in fallocated written; do
        m=$(awk -v s=$state '$1 == "throughput" && $2 == s { print $4 * 1e6 }' "$f" | median)
        l=$(awk -v s=$state '$1 == "throughput" && $2 == s { print ($7 + $8) / 2 * 1e6 }' "$f" | median)
        r=$(awk -v s=$state '$1 == "throughput" && $2 == s { print $NF }' "$f" | median)
        row "log, durable, $state file, against fio" MB/s 1e6 "$m" "$l" "$r" ">= 0.90 of fio" \
            "$(yes_if "${r:-0} >= 0.9")" "bench_log; fio io_uring, direct, 1 MiB, depth 8"
    done
    m=$(sed -n 's/^durable ack.*log p50 \([0-9.]*\) us.*/\1/p' "$f" | median)
    l=$(sed -n 's/^durable ack.*bare pwrite p50 \([0-9.]*\) .*/\1/p' "$f" | median)
    r=$(sed -n 's/^durable ack.*log\/bare \([0-9.]*\)/\1/p' "$f" | median)
    row "durable acknowledgement, p50" us 1 "$m" "$l" "$r" "<= 1.10 x bare O_DIRECT|O_DSYNC" \
        "$(yes_if "${r:-9} <= 1.1")" "bench_log"
else
    skip "log against fio" "$(tail -1 "$f.err")"
fi

say "acknowledgements"
f=$work/peers
if times "$((quick ? 1 : runs))" "$f" perf/peers.sh -s $((quick ? 1 : 3)) -d "$work"; then
    of_ack() { grep "batch=$1 who=$2 " "$f" | field "$3" | median; } # BATCH WHO FIELD
    for n in 1 10 100 1000; do
        m=$(of_ack $n penstock messages_s) l=$(of_ack $n bare messages_s)
        row "acknowledged, batches of $n x 64 bytes, durable" messages/s 1 "$m" "$l" "$(ratio "$m" "$l")" \
            ">= 0.90 of bare O_DSYNC" "$(yes_if "${m:-0} >= 0.9 * ${l:-1}")" "peers.sh; bench_ack"
        m=$(of_ack $n penstock p50_us) l=$(of_ack $n bare p50_us)
        row "  its latency, p50" us 1 "$m" "$l" "$(ratio "$m" "$l")" "<= 1.10 x bare O_DSYNC" \
            "$(yes_if "${m:-9e9} <= 1.1 * ${l:-0}")" "peers.sh; bench_ack"
        m=$(of_ack $n penstock messages_s)
        for who in sqlite redis nats; do
            l=$(of_ack $n $who messages_s)
            case $who in
            sqlite) what="SQLite, WAL, synchronous=FULL" ;;
            redis) what="Redis, AOF, appendfsync always" ;;
            nats) what="NATS JetStream, $(grep -q 'syncs every 2 minutes' "$f" && echo 'written, not synced' || echo 'sync always')" ;;
            esac
            if [ -n "$l" ]; then
                row "  against $what" messages/s 1 "$m" "$l" "$(ratio "$m" "$l")" "-" "-" "peers.sh; bench_peers $who"
            else
                skip "  against $what" "not installed: perf/peers.sh --install"
            fi
        done
    done
else
    skip "acknowledged messages" "$(tail -1 "$f.err")"
fi

say "recovery"
f=$work/recovery
if times 1 "$f" perf/recovery.sh $((quick ? 2 : 10)) "$work" && grep -q '^result' "$f"; then
    gb=$(awk -v b="$(of bytes "$f")" 'BEGIN { printf "%.1f", b / 1e9 }')
    m=$(of first_s "$f")
    row "start to first packet journaled, $gb GB behind, cold" s 1 "$m" "" "" "<= 2" "$(yes_if "${m:-9} <= 2")" "recovery.sh"
    m=$(of verify_bytes_s "$f") l=$(of disk_bytes_s "$f")
    row "  all of it verified" MB/s 1e6 "$m" "$l" "$(ratio "$m" "$l")" ">= 0.50 of the disk" \
        "$(yes_if "${m:-0} >= 0.5 * ${l:-1}")" "recovery.sh; limit: fio read of the same files"
    m=$(of rebuild_bytes_s "$f")
    row "  all of it read again, rows in memory" MB/s 1e6 "$m" "$l" "$(ratio "$m" "$l")" "-" "-" \
        "recovery.sh; limit: the same"
else
    skip "recovery" "$(tail -1 "$f.err")"
fi

say "interval streams"
f=$work/streams
if times 1 "$f" "$build/perf/bench_streams"; then
    m=$(of on_ns "$f") l=$(of off_ns "$f")
    row "appender, one table in the interval stream" ns/message 1 "$m" "$l" "$(of ratio "$f")" "<= 1.03" \
        "$(yes_if "$(of ratio "$f") <= 1.03")" "bench_streams; limit: every table in the daily one"
else
    skip "interval streams" "$(tail -1 "$f.err")"
fi

say "wire to durable"
f=$work/pipeline n=$((quick ? 20000000 : 200000000))
if times "$runs" "$f" "$build/perf/bench_pipeline" -n "$n" -d "$work"; then ok=1; else ok=0; fi
m=$(of messages_s "$f")
if [ -n "$m" ]; then
    r=$(of of_disk "$f")
    row "wire to durable log, two cores, $((n / 1000000)) M messages$([ $ok = 1 ] && echo ', none lost' || echo ', LOST')" \
        Mmessages/s 1e6 "$m" "$(awk -v d="$(of disk_bytes_s "$f")" -v b="$(of bytes_a_message "$f")" 'BEGIN { print d / b }')" \
        "$r" ">= 20, or 0.90 of the disk" "$(yes_if "$ok && ($m >= 20e6 || ${r:-0} >= 0.9)")" "bench_pipeline -n $n"
    b=$(of bytes_s "$f")
    row "the same in bytes" MB/s 1e6 "$b" "$(of disk_bytes_s "$f")" "$r" "-" "-" "bench_pipeline -n $n"
else
    skip "wire to durable log" "$(tail -1 "$f.err")"
fi

say "rdb"
f=$work/rdb
if times 1 "$f" "$build/perf/bench_rdb" -n $((quick ? 3 : 2 * runs + 1)); then
    l=$(grep '^result limit' "$f" | field rows_per_s)
    for w in append step again cold; do
        m=$(grep "^result $w " "$f" | field rows_per_s) target="-" met="-"
        case $w in
        append) what="RDB append of itch_order, row lists, memory faulted" target=">= 35" met=$(yes_if "$m >= 35e6") ;;
        step) what="  the same through the cursor (copy, validate)" ;;
        again) what="  into the extents of a released day" ;;
        cold) what="  into memory not faulted yet" ;;
        esac
        row "$what" Mrows/s 1e6 "$m" "$l" "$(ratio "$m" "$l")" "$target" "$met" \
            "bench_rdb; limit: the same bytes read and written"
    done
else
    skip "RDB append" "bench_rdb: $(tail -1 "$f.err")"
fi

say "writedown"
f=$work/writedown
lib=$(tests/oracle/install.sh "$build/duckdb" 2>"$f.duck") || lib=
if times 1 "$f" "$build/perf/bench_writedown" -r $((quick ? 3 : 2 * runs + 1)) -d "$work" ${lib:+-q "$lib"}; then
    m=$(grep '^writedown ' "$f" | field bytes_s) l=$(grep '^raw ' "$f" | field raw_s)
    row "end of day, 10 M rows, memory to synced partition, one thread" GB/s 1e9 "$m" "$l" \
        "$(ratio "$m" "$l")" ">= 0.7" "$(yes_if "$m >= 0.7e9")" \
        "bench_writedown; limit: raw writes of the same bytes, synced"
    m=$(grep '^writedown ' "$f" | field bytes_cpu_s)
    row "  by its own time on the processor" GB/s 1e9 "$m" "" "" "-" "-" "bench_writedown"
    m=$(grep '^duckdb 2' "$f" | field duckdb2)
    if [ -n "$m" ]; then
        row "  against DuckDB, 2 threads, sort to Parquet" "x as fast" 1 "$m" "" "" ">= 3" \
            "$(yes_if "$m >= 3")" "bench_writedown -q; ORDER BY sym, time"
    else
        skip "  against DuckDB" "$(tail -1 "$f.duck")"
    fi
else
    skip "end of day" "bench_writedown: $(tail -1 "$f.err")"
fi

say "burst to reader"
for n in 1 4 38; do
    f=$work/burst$n
    if times "$runs" "$f" "$build/perf/bench_burst" -m $n -n $((quick ? 50000 : 200000)); then
        m=$(of p50_ns "$f") l=$(of word_p50_ns "$f") target="<= 1" met=$(yes_if "$m <= 1000")
        [ $n = 38 ] && target="-" met="-"
        row "burst of one packet of $n to ring reader, p50" us 1e3 "$m" "$l" "$(ratio "$m" "$l")" \
            "$target" "$met" "bench_burst -m $n; limit: one word handed over"
    else
        skip "burst of $n to ring reader" "$(tail -1 "$f.err")"
    fi
done

say "publishers' messages"
f=$work/intake
if "$build/perf/bench_intake" -s "$((quick ? 1 : 3))" >"$f" 2>"$f.err"; then
    for x in "row 1e6 messages" "columns-1000 20e6 rows"; do
        # shellcheck disable=SC2086
        set -- $x
        m=$(awk -v s="shape=$1" -v k="$3_s=" '$2 == s { for (i = 3; i <= NF; i++) if (index($i, k) == 1) print substr($i, length(k) + 1) }' "$f")
        row ".u.upd into the inject ring, $1, one core" "M $3/s" 1e6 "$m" "" "" ">= $2" "$(yes_if "${m:-0} >= $2")" "bench_intake"
    done
else
    skip ".u.upd into the inject ring" "bench_intake: $(tail -1 "$f.err")"
fi

say "delimited text to columns"
f=$work/text
if "$build/perf/bench_text" -m "$((quick ? 32 : 128))" -n 3 trade lean quoted >"$f" 2>"$f.err"; then
    for x in trade lean quoted; do
        # the best build that runs here
        m=$(awk -v s="shape=$x" '$2 == s { sub("gb_s=", "", $4); if ($4 > m) m = $4 } END { print m * 1e9 }' "$f")
        l=$(awk -v s="shape=$x" '$2 == s { sub("gb_s=", "", $4); sub("of_bytes=", "", $8); b = $4 / $8 } END { print b * 1e9 }' "$f")
        row "delimited text to columns, $x, one core" "GB/s" 1e9 "$m" "$l" "$(ratio "$m" "$l")" ">= 0.8" "$(yes_if "${m:-0} >= 0.8e9")" \
            "bench_text, a loop that looks at each byte"
    done
else
    skip "delimited text to columns" "bench_text: $(tail -1 "$f.err")"
fi

say "streaming analytics"
f=$work/analytics
if "$build/perf/bench_analytics" -n "$runs" >"$f" 2>"$f.err"; then
    l=$(awk '/^plain loop/ { print $(NF) * 1e6 }' "$f")
    for x in filter last ohlc; do
        m=$(awk -v x=$x '$1 == x && $2 == 100 { print $(NF) * 1e6 }' "$f")
        row "$x, 100 different subscriptions to all of 1,000 symbols" "M rows/s" 1e6 "$m" "$l" "$(ratio "$m" "$l")" ">= 5" \
            "$(yes_if "${m:-0} >= 5e6")" "bench_analytics; limit: a bare loop from record to column"
    done
    m=$(awk '$1 == "filter" && $2 == 10000 && $4 == 0 { print $(NF) * 1e6 }' "$f")
    row "rows that none of 10,000 subscriptions wants" "M rows/s" 1e6 "$m" "$l" "$(ratio "$m" "$l")" ">= 100" \
        "$(yes_if "${m:-0} >= 100e6")" "bench_analytics"
else
    skip "streaming analytics" "bench_analytics: $(tail -1 "$f.err")"
fi

say "idle"
f=$work/idle
if times "$runs" "$f" perf/idle.sh $((quick ? 5 : 10)) adaptive; then
    m=$(of percent_of_a_core "$f") l=$(of nap_percent "$f")
    row "idle, wait adaptive, all threads" "% of a core" 1 "$m" "$l" "$(ratio "$m" "$l")" "<= 5" \
        "$(yes_if "$m <= 5")" "idle.sh; limit: bench_nap, one bare thread sleeping 200 us at a time"
else
    skip "idle" "$(tail -1 "$f.err")"
fi

say "veth"
f=$work/veth
times "$((quick ? 1 : runs))" "$f" perf/veth.sh $((quick ? 3 : 6)) 500000
if [ -s "$f" ] && grep -q '^result' "$f"; then
    t=$(grep '^result tcpdump' "$f" | field us_a_packet | median)
    for w in sleep adaptive; do
        grep "^result wait=$w" "$f" >"$f.$w"
        lost=$(of nic_lost "$f.$w")
        row "veth at $(awk -v v="$(of packets_s "$f.$w")" 'BEGIN { printf "%.2f", v / 1e6 }') Mpps, wait $w: packets lost" \
            packets 1 "$lost" "" "" "0" "$(yes_if "${lost:-1} == 0 && $(of balances "$f.$w") == 1")" "veth.sh"
        m=$(of us_a_packet "$f.$w")
        row "CPU a packet, wait $w, all threads" us 1 "$m" "$t" "$(ratio "$m" "$t")" "<= tcpdump -w" \
            "$(yes_if "${m:-9} <= ${t:-0}")" "veth.sh; limit: tcpdump -w"
        m=$(of rx_us "$f.$w")
        row "  of it the rx thread (receive, decode, journal)" us 1 "$m" "$t" "$(ratio "$m" "$t")" "-" "-" "veth.sh"
    done
else
    skip "veth" "$(tail -1 "$f.err")"
fi

say "interference"
f=$work/interference
times 1 "$f" perf/interference.sh -n $((quick ? 2 : 5)) -m $((quick ? 4 : 10)) -w spin
if grep -q '^result' "$f"; then
    c="interference.sh; limit: the flow alone"
    for kind in writedown queries extents all; do
        grep "^result kind=$kind " "$f" >"$f.m"
        grep "^result kind=idle " "$f" >"$f.l"
        row "rx loops over 100 us, $kind" "a second" 1 "$(of over_s "$f.m")" "$(of over_s "$f.l")" \
            "$(of over_ratio "$f.m")" "<= 2 x idle" "$(yes_if "$(of over_ratio "$f.m") <= 2")" "$c"
        row "  loop time, 99.99 %" us 1 "$(of p9999_us "$f.m")" "$(of p9999_us "$f.l")" \
            "$(of p9999_ratio "$f.m")" "<= 2 x idle" "$(yes_if "$(of p9999_ratio "$f.m") <= 2")" "$c"
    done
else
    skip "rx loops under load" "$(tail -1 "$f.err")"
fi

say "subscribers that get nothing"
f=$work/subscribers
times 1 "$f" perf/idle_subscribers.sh -n $((quick ? 2 : 5)) -s $((quick ? 2 : 4))
if grep -q '^result' "$f"; then
    c="idle_subscribers.sh; limit: no subscribers"
    row "rx loops over 100 us, 1,000 idle subscribers" "a second" 1 "$(of over_s "$f")" "$(of none_over_s "$f")" \
        "$(of over_ratio "$f")" "<= 2 x none" "$(yes_if "$(of over_ratio "$f") <= 2")" "$c"
    row "  loop time, 99.99 %" us 1 "$(of p9999_us "$f")" "$(of none_p9999_us "$f")" "$(of p9999_ratio "$f")" \
        "<= 2 x none" "$(yes_if "$(of p9999_ratio "$f") <= 2")" "$c"
else
    skip "rx loops with idle subscribers" "$(tail -1 "$f.err")"
fi

say "loading files"
f=$work/load
times 1 "$f" perf/load.sh -n $((quick ? 5000000 : 50000000)) -r $((quick ? 1 : 3)) -d "$work"
if grep -q '^medians' "$f"; then
    pen=$(grep '^penstock workers=2' "$f" | field seconds | median) one=$(grep '^penstock workers=1' "$f" | field seconds | median)
    lim=$(grep '^limit threads=2' "$f" | field seconds | median) duck=$(grep '^duckdb threads=2' "$f" | field seconds | median)
    row "10 files of trades to sorted, parted columns, 2 workers" s 1 "$pen" "$lim" "$(ratio "$pen" "$lim")" "<= 1.6 x" \
        "$(yes_if "$pen <= 1.6 * $lim")" "load.sh; limit: load_limit, C for these files alone, synced"
    row "  the same with 1 worker" s 1 "$one" "" "$(ratio "$one" "$pen")" ">= 1.7 of 2 workers'" "$(yes_if "$one >= 1.7 * $pen")" "load.sh"
    if [ -n "$duck" ]; then
        row "  against DuckDB, 2 threads, one Parquet file" s 1 "$pen" "$duck" "$(ratio "$duck" "$pen")" ">= 3 x as fast" \
            "$(yes_if "$duck >= 3 * $pen")" "load.sh; load_duck"
    else
        skip "  against DuckDB" "its library is not to be had"
    fi
else
    skip "loading files" "$(tail -1 "$f.err")"
fi
f=$work/loading
times 1 "$f" perf/load_interference.sh -n $((quick ? 2 : 5)) -m $((quick ? 3 : 10))
if grep -q '^result' "$f"; then
    c="load_interference.sh; limit: the flow alone"
    row "rx loops over 100 us, files loaded meanwhile" "a second" 1 "$(of over_s "$f")" "$(of idle_over_s "$f")" \
        "$(of over_ratio "$f")" "<= 2 x idle" "$(yes_if "$(of over_ratio "$f") <= 2")" "$c"
    row "  loop time, 99.99 %" us 1 "$(of p9999_us "$f")" "$(of idle_p9999_us "$f")" "$(of p9999_ratio "$f")" \
        "<= 2 x idle" "$(yes_if "$(of p9999_ratio "$f") <= 2")" "$c"
else
    skip "rx loops while files are loaded" "$(tail -1 "$f.err")"
fi

{
    echo
    echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, $(uname -sr), $(
        findmnt -no FSTYPE,SOURCE -T "$work" 2>/dev/null), load $(cut -d' ' -f1-3 /proc/loadavg), medians of $runs"
    echo
    awk -F'\t' 'BEGIN { printf "%-58s %17s %17s %6s  %-31s %-7s %s\n", "what", "measured", "limit, same run", "ratio", "target", "met", "command" }
        { printf "%-58s %17s %17s %6s  %-31s %-7s %s\n", $1, $2, $3, $4, $5, $6, $7 }' "$table"
} | sed 's/ *$//'
exit $missed
