#!/bin/sh
# Installs the servers and recordings that the tests and the demo use, pinned, into folders beside
# this file that git ignores. `install.sh demo` installs what the demo needs alone.
# What is installed already is left as it is.
set -eu
cd "$(dirname "$0")"
# Whoever runs this as root, in a container, knows that.
export PIP_ROOT_USER_ACTION=ignore

# $1: a stamp; the other arguments: the files that say what to install. True where nothing changed.
current() {
    stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$@" | cksum)" = "$(cat "$stamp")" ]
}

recordings() {
    current recordings/.stamp requirements-recordings.txt && return 0
    rm -rf recordings
    mkdir recordings
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
        -r requirements-recordings.txt -d recordings
    tar -xzf recordings/pygithub-*.tar.gz -C recordings --strip-components=3 --wildcards '*/tests/ReplayData/*.txt'
    rm recordings/pygithub-*.tar.gz
    cksum <requirements-recordings.txt >recordings/.stamp
}

# DuckDB looks at what was written, as users do.
duckdb() {
    current duckdb/.stamp requirements-duckdb.txt && return 0
    rm -rf duckdb
    python3 -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r requirements-duckdb.txt --target duckdb
    cksum <requirements-duckdb.txt >duckdb/.stamp
}

# What else users read Parquet with.
readers() {
    current readers/.stamp requirements-readers.txt && return 0
    rm -rf readers
    python3 -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r requirements-readers.txt --target readers
    cksum <requirements-readers.txt >readers/.stamp
}

python() {
    current .venv/.stamp requirements.txt && return 0
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r requirements.txt
    cksum <requirements.txt >.venv/.stamp
}

node() {
    current node_modules/.stamp package-lock.json && return 0
    npm ci --silent --no-audit --no-fund
    cksum <package-lock.json >node_modules/.stamp
}

# nginx of Debian, taken out of its package, so that it takes no root and starts nothing. Where another nginx is at hand, that
# one is used. The lists of packages are kept in a folder of their own: those of the system may be missing or old.
webserver() {
    [ -x nginx/usr/sbin/nginx ] && return 0
    rm -rf nginx
    mkdir nginx
    if found=$(PATH="$PATH:/usr/sbin" command -v nginx) && [ "${found#/}" != "$found" ]; then
        mkdir -p nginx/usr/sbin
        ln -s "$found" nginx/usr/sbin/nginx
        return 0
    fi
    mkdir -p nginx/lists/partial nginx/cache/archives/partial
    set -- -qq -o Dir::State::lists="$PWD/nginx/lists" -o Dir::Cache="$PWD/nginx/cache" -o APT::Sandbox::User=
    apt-get "$@" update
    (cd nginx && apt-get "$@" download nginx)
    dpkg-deb -x nginx/nginx_*.deb nginx
    rm -rf nginx/lists nginx/cache nginx/nginx_*.deb
    nginx/usr/sbin/nginx -v
}

# What needs libraries of the system is installed into that, where one may; the tests that need it say so where it is not
# there. $1: programs; $2: what is skipped without them; $3: Debian's packages with them.
of_system() {
    missing=
    for program in $1; do
        PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || missing="$missing $program"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ]; then
        echo "there is no$missing, so $2 will be skipped: apt-get install $3" >&2
        return 0
    fi
    apt-get -qq update
    # shellcheck disable=SC2086 # these are words
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $3 >/dev/null
}

# What counts and disturbs system calls.
tracer() {
    of_system strace "the tests that disturb system calls" strace
}

# A desktop's keyring, without the desktop.
keyring() {
    of_system "dbus-daemon dbus-send gnome-keyring-daemon secret-tool" "the test of a real keyring" \
        "dbus gnome-keyring libsecret-tools"
}

recordings
duckdb
[ "${1:-}" = demo ] && exit 0
readers
python
node
webserver
tracer
keyring
