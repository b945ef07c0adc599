#!/bin/sh
# Tries daemons of its own by the description that they serve, in one phase after another, halted, and while PostgreSQL is away: where all
# is well no answer may be a 5xx, none may be undescribed, and what the description forbids must be refused. Orders are given too, so it
# never asks a daemon that somebody needs. Without schemathesis it is skipped, and says so.
# usage: tests/schemathesis.sh path/to/liteferry
set -eu

liteferry=$1
if ! command -v schemathesis >/dev/null 2>&1; then
    echo "skipped: schemathesis is not installed (pipx install schemathesis)"
    exit 0
fi

dir=$(mktemp -d)
# PostgreSQL's server may run as another user.
chmod 755 "$dir"
daemon=
finish() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

# A port that is free now; PostgreSQL listens on a socket in the directory.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
at=http://127.0.0.1:$port
ferry() {
    command=$1
    shift
    "$liteferry" "$command" --source "$dir/$name.db" --set "state.dir=$dir/$name" --set "http.listen=127.0.0.1:$port" "$@"
}
# A daemon that follows a database of its own; the one before has ended.
begin() {
    name=$1
    if [ -n "$daemon" ]; then
        kill "$daemon"
        wait "$daemon" || true
    fi
    python3 - "$dir/$name.db" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript("""pragma journal_mode = wal;
    create table notes (id integer primary key, body text);
    insert into notes values (1, 'plain'), (2, 'with a ' || char(0));""")
PYTHON
    # A function in the background would be a shell of its own, and the daemon its child, which no signal to the shell would reach.
    (exec "$liteferry" run --source "$dir/$name.db" --target embedded --set "state.dir=$dir/$name" --set "http.listen=127.0.0.1:$port" \
        --set switch.deadline_ms=5000 --set switch.pause_budget_ms=5000 2>"$dir/log") &
    daemon=$!
    until_is "s['phase'] == 'dual-write' and s['validation']['verdict']"
}

# Whether the status is as a line of Python has it.
is() {
    python3 -c "import json, sys, urllib.request as r; s = json.load(r.urlopen('$at/v1/status', timeout=2)); sys.exit(not ($1))" 2>/dev/null
}
until_is() {
    for _ in $(seq 200); do
        if is "$1"; then
            return
        fi
        if ! kill -0 "$daemon" 2>/dev/null; then
            break
        fi
        sleep 0.3
    done
    echo "waited in vain: $1"
    cat "$dir/log"
    exit 1
}
# From wherever the orders of the last trial have led.
lead() {
    ferry resume --wait >/dev/null
    if is "s['phase'] == 'switch'"; then
        ferry rollback --yes --wait
    fi
    until_is "s['phase'] in ('dual-write', 'validate') and s['run']['state'] == 'running'"
    if is "s['phase'] == 'validate'"; then
        ferry rollback --yes --wait
    fi
    case $1 in
    dual-write) return ;;
    esac
    ferry phase validate --yes --wait
    ferry validate --target embedded >/dev/null
    ferry ledger accept all >/dev/null
    case $1 in
    validate) return ;;
    esac
    until_is "s['gates']['switch']['open']"
    ferry phase switch --yes --wait
    case $1 in
    switch) return ;;
    esac
    until_is "s['gates']['cleanup']['open']"
    ferry cleanup --yes --wait
    until_is "s['phase'] == 'done'"
}

# The stream of events never ends by itself. What is well-formed may still be refused: cleanup wants the file's name.
examine() {
    checks=$2,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method,ignored_auth
    echo "$1:"
    shift 2
    schemathesis run "$at/openapi.json" --header "Authorization: Bearer $(cat "$dir/$name/token")" --checks "$checks" \
        --exclude-path /v1/events "$@" --max-examples "${EXAMPLES:-25}" --request-timeout 10 --no-color
}

cd "$dir"
begin way
for phase in dual-write validate switch; do
    lead "$phase"
    examine "in the phase $phase" not_a_server_error,negative_data_rejection
done
lead done
# Where nothing is followed, 503 is the right answer there.
examine "in the phase done" not_a_server_error,negative_data_rejection --exclude-path /readyz

# Here it is the right answer to more: what is described may be answered, and nothing else.
begin halted
ferry detach --yes
until_is "s['run']['state'] == 'halted'"
examine "halted" negative_data_rejection
until_is "s['run']['state'] == 'halted'"

begin degraded
kill -QUIT "$(head -n 1 "$(find "$dir/degraded" -name postmaster.pid)")"
until_is "s['run']['state'] == 'degraded'"
examine "while PostgreSQL is away" negative_data_rejection
