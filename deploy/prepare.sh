#!/bin/sh
# Makes sure that PostgreSQL's server programs and a C compiler are here (the demo and the tests start a private server;
# SQLite is compiled from its source). Installs them through the system's package manager where they are missing.
# It starts no server, touches no database, and does nothing at all where both are found.
set -eu

postgres_found() {
    command -v initdb >/dev/null 2>&1 && command -v postgres >/dev/null 2>&1 && return 0
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin /usr/local/pgsql/bin; do
        if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then return 0; fi
    done
    return 1
}

compiler_found() { command -v cc >/dev/null 2>&1; }

everything_found() { postgres_found && compiler_found; }

give_up() {
    echo "prepare: please install PostgreSQL's server programs (initdb, postgres) and a C compiler (cc): $1" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        give_up "run as root, or install sudo: $*"
    fi
}

# Debian's package would otherwise create and start a server of its own. A file that is there already is left as it is,
# and ours is taken away again afterwards.
install_debian() {
    own=/etc/postgresql-common/createcluster.conf
    placed=no
    if [ ! -e "$own" ] && ! postgres_found; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee "$own" >/dev/null
        placed=yes
    fi
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold postgresql gcc libc6-dev
    if [ "$placed" = yes ]; then as_root rm -f "$own"; fi
}

everything_found && exit 0

echo "prepare: PostgreSQL's server programs or a C compiler are missing; installing them" >&2
if command -v apt-get >/dev/null 2>&1; then
    install_debian
elif command -v dnf >/dev/null 2>&1; then
    as_root dnf install -y postgresql-server gcc
elif command -v apk >/dev/null 2>&1; then
    as_root apk add postgresql gcc musl-dev
elif command -v pacman >/dev/null 2>&1; then
    as_root pacman -S --needed --noconfirm postgresql gcc
elif command -v brew >/dev/null 2>&1; then
    brew install postgresql@17
else
    give_up "no package manager that is known here"
fi
everything_found || give_up "the package manager ran, and they are still not found"
