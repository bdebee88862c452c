# SPDX-License-Identifier: Apache-2.0
# The cases of ipc-users.sh.

TABLES='  - {name: trade, columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: price, type: float}, {name: size, type: long}]}
  - {name: quote, columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: bid, type: float}]}
  - {name: orders, columns: [{name: time, type: timestamp}, {name: sym, type: symbol}, {name: id, type: long}]}'

user() { # NAME PASSWORD [OPTIONS]: through the program, as an operator would
    name=$1 password=$2; shift 2
    printf '%s\n' "$password" | "$bin/penstock" user add "$name" --file "$work/users.yaml" "$@" >/dev/null ||
        die "user add $name"
}

pair() { # NAME DAYS: a self-signed certificate for localhost and its key
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$2" -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:10.9.9.9' -keyout "$work/new.key" -out "$work/new.pem" 2>/dev/null ||
        die "openssl"
    chmod 600 "$work/new.key"
    mv "$work/new.key" "$work/$1.key"
    mv "$work/new.pem" "$work/$1.pem"
}

ipc() { # LINES under ipc: [LINES at the top]
    PORTS=" " FEEDS=" " config "ipc:
$1
tables:
$TABLES
${2:-}"
    sed -i '/^ *$/d; /^feeds:/d' "$work/p.yaml"
}

py() { python3=/usr/bin/python3; PYTHONPATH=$here/../support $python3 "$here/ipcusers.py" "$@" || die "ipcusers.py $*"; }

refused_at_load() { # WORDS: the daemon says them and does not start
    timeout 10 "$bin/penstockd" --config "$work/p.yaml" >"$work/out" 2>&1
    [ $? = 2 ] && grep -q -- "$1" "$work/out" || { cat "$work/out"; die "not refused: $1"; }
}

case_doors() {
    pair server 90
    ipc "  {address: 10.9.9.9}"
    refused_at_load 'p.yaml:.*ipc.address: 10.9.9.9 can be reached from other machines, where everyone could read'
    ipc "  {address: 0.0.0.0, users: $work/users.yaml}"
    refused_at_load 'passwords would cross the network in the clear'
    ipc "  {address: 0.0.0.0, users: $work/users.yaml, certificate: $work/server.pem, key: $work/server.key, tls: off}"
    refused_at_load 'passwords would cross the network in the clear'
    # what lies in files is a finding, and a start with them captures; nobody comes in
    user alice secret-1 --tables all
    ipc "  {address: 0.0.0.0, users: $work/users.yaml, certificate: $work/server.pem, key: $work/server.key, tls: required}"
    "$bin/penstockd" --config "$work/p.yaml" --check >"$work/out" 2>&1
    grep -q 'safe.ipc' "$work/out" && { cat "$work/out"; die "--check complains of sound files"; }
    chmod o+r "$work/users.yaml" "$work/server.key"
    "$bin/penstockd" --config "$work/p.yaml" --check >"$work/out" 2>&1
    grep -q 'is open to everyone (mode 644)' "$work/out" || { cat "$work/out"; die "--check: users"; }
    grep -q 'server.key can be read or changed by others (mode 604)' "$work/out" || { cat "$work/out"; die "--check: key"; }
    start
    p alarms --json >"$work/out"
    for _ in $(seq 50); do
        p alarms --json >"$work/out"
        grep -q '"ipc.users"' "$work/out" && grep -q '"ipc.certificate"' "$work/out" && break
        sleep 0.1
    done
    grep -q '"ipc.users"' "$work/out" || { cat "$work/out"; die "no alarm ipc.users"; }
    grep -q '"ipc.certificate"' "$work/out" || { cat "$work/out"; die "no alarm ipc.certificate"; }
    py closed
    chmod o-r "$work/users.yaml" "$work/server.key" # and are taken once they are sound, without a restart
    py opens
    stop || die "stop"
}

case_rights() {
    cat >"$work/users.yaml" <<'YAML'
# a comment that stays
groups:
  readers: {tables: [trade], rows: 5}
users:
YAML
    chmod 600 "$work/users.yaml"
    user alice secret-1 --groups readers
    user bob 'se:cret 2' --tables all --publish trade,quote
    user far secret-3 --tables all
    user nosql secret-4 --tables all
    sed -i '/"far":/a\    networks: [10.9.9.0/24]' "$work/users.yaml"
    sed -i '/"nosql":/a\    sql: false\n    marks: {eod: false}' "$work/users.yaml"
    ipc "  {users: $work/users.yaml}" 'access_log_size: 40k'
    start
    py rights "$work"
    stop || die "stop"
    py log "$work"
}

case_tls() {
    pair server 90
    user alice secret-1 --tables all --publish all
    ipc "  {address: 0.0.0.0, users: $work/users.yaml, certificate: $work/server.pem, key: $work/server.key, tls: required}"
    start
    py tls "$work" "$work/server.pem"
    cp "$work/server.pem" "$work/old.pem"
    pair server 10
    py renewed "$work" "$work/server.pem" "$work/old.pem"
    p alarms --json | grep -q 'expires' || die "no alarm for a certificate that ends in 10 days: $(p alarms)"
    stop || die "stop"
}

case_flood() {
    user alice secret-1 --tables all
    user bob secret-2 --tables all --publish all
    user carol secret-3 --tables all
    pair server 90
    ipc "  {address: 0.0.0.0, users: $work/users.yaml, certificate: $work/server.pem, key: $work/server.key, auth_rate: 20, login_timeout: 3s}"
    start
    py flood "$work"
    py strangers "$daemon"
    stop || die "stop"
}

case_validator() {
    ipc "  {validator: $work/validator.sock}"
    refused_at_load 'ipc.validator: says who may come in, and nothing says what they may'
    cat >"$work/users.yaml" <<'YAML'
users:
  far: {scram: external, networks: [10.9.9.0/24]}
YAML
    chmod 600 "$work/users.yaml"
    "$bin/penstock" user add ext --external --file "$work/users.yaml" --tables trade --publish trade </dev/null >/dev/null || die "user add --external"
    user alice secret-1 --tables all
    ipc "  {users: $work/users.yaml, validator: $work/validator.sock, auth_rate: 1000}"
    start
    py validator "$work"
    # queries over the control socket stand in the access log too, with what they cost
    p sql 'select sym, sum(size) as size from trade group by sym' >"$work/out" || die "sql"
    p sql 'select * from nowhere' >"$work/out" 2>&1 && die "a table that is not there"
    stop || die "stop"
    py costs "$work"
}
