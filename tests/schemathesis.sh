#!/bin/sh
# Tries a daemon of its own by the description that it serves: no answer may be a 5xx, none undescribed, and what the description forbids must
# be refused. Orders are given too, so it never asks a daemon that somebody needs. Without schemathesis it is skipped, and says so.
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

python3 - "$dir/app.db" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript("""pragma journal_mode = wal;
    create table notes (id integer primary key, body text);
    insert into notes values (1, 'plain'), (2, 'with a ' || char(0));""")
PYTHON

# A port that is free now; PostgreSQL listens on a socket in the directory.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$liteferry" run --source "$dir/app.db" --target embedded --set "state.dir=$dir/state" --set "http.listen=127.0.0.1:$port" 2>"$dir/log" &
daemon=$!

at=http://127.0.0.1:$port
for _ in $(seq 100); do
    if python3 -c "import urllib.request as r; r.urlopen('$at/readyz', timeout=1)" 2>/dev/null; then
        break
    fi
    if ! kill -0 "$daemon" 2>/dev/null; then
        cat "$dir/log"
        exit 1
    fi
    sleep 0.3
done

# The stream of events never ends by itself. What is well-formed may still be refused: cleanup wants the file's name.
cd "$dir"
schemathesis run "$at/openapi.json" --header "Authorization: Bearer $(cat "$dir/state/token")" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method,ignored_auth,negative_data_rejection \
    --exclude-path /v1/events --max-examples "${EXAMPLES:-25}" --request-timeout 10 --no-color
