#!/bin/sh
# Installs the peers, pinned by version and hash, into `.venv/` beside this file, which git ignores. What is installed
# already is left as it is. The first time takes some minutes, most of them for the one that is compiled.
set -eu
cd "$(dirname "$0")"
# Whoever runs this as root, in a container, knows that.
export PIP_ROOT_USER_ACTION=ignore
mkdir -p .venv

command -v curl >/dev/null || {
    echo "curl is missing; with Debian: apt-get install curl" >&2
    exit 1
}

# $1: a venv; the other arguments: what pip is told besides.
python() {
    name=$1
    shift
    sum=$(cksum <"requirements/$name.txt")
    [ -f ".venv/$name/.stamp" ] && [ "$(cat ".venv/$name/.stamp")" = "$sum" ] && return 0
    rm -rf ".venv/$name"
    python3 -m venv ".venv/$name"
    ".venv/$name/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@" \
        -r "requirements/$name.txt"
    echo "$sum" >".venv/$name/.stamp"
}

python dlt --only-binary :all:
python airbyte --only-binary :all:
python tap --only-binary :all:
# Some that this one needs are there as source only.
python target
python plain --only-binary :all:

# faucet asks for a newer compiler than it needs, and by default brings forty connectors along that are not used here.
faucet=1.17.0
if [ ! -f ".venv/faucet-$faucet/bin/faucet" ]; then
    CARGO_TARGET_DIR=.venv/faucet-target cargo install faucet-cli --version $faucet --locked --ignore-rust-version \
        --no-default-features --features source-rest,sink-file,sink-jsonl,file-format-parquet --root ".venv/faucet-$faucet"
    rm -rf .venv/faucet-target
fi
