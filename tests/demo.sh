#!/bin/sh
# `make demo`: the GitHub connector reads recorded responses of the real API, page by page, without a
# token. An organisation's repositories first, then the issues of a large repository.
#
# HOST and CONNECTOR name what `make` has built; OUT is where the data goes.
set -eu
cd "$(dirname "$0")/.."
built=${CARGO_TARGET_DIR:-target}/release
: "${HOST:=$built/host}"
: "${CONNECTOR:=github}"
: "${OUT:=out/demo}"

tests/servers/install.sh demo

# Of two recordings that answer the same request the first counts: these hold whole issues for the
# first four pages, and the last one, whose issues its makers cut down to ids, has all fourteen.
recordings=tests/servers/recordings
say=$(mktemp)
"$built/recorded-api" \
    $recordings/Organization.testGetRepos.txt \
    $recordings/PaginatedList.testSliceIndexingUntilFourthPage.txt \
    $recordings/PaginatedList.testIteration.txt >"$say" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -f "$say"' EXIT INT TERM
tries=0
until [ -s "$say" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $server 2>/dev/null; then
        echo "the server of the recordings does not start" >&2
        exit 1
    fi
    sleep 0.1
done
url=$(head -n 1 "$say")

# What is typed is shown before it runs.
run() {
    printf '\n$ host run github' && printf ' %s' "$@" && printf '\n'
    # 3 is `unproven`: nothing is known to be missing, and GitHub's counted pages cannot prove more.
    "$HOST" run "$CONNECTOR" "$@" --set "base_url=$url" --allow-host 127.0.0.1 --out "$OUT" || [ $? -eq 3 ]
}

rm -rf "$OUT"
run --connection repos --set org=BeaverSoftware --stream repos
run --connection issues --set repos=openframeworks/openFrameworks --stream issues

printf '\nParquet files, as they are:\n'
find "$OUT" -name '*.parquet' -exec ls -l {} +
printf '\nThe last issues, as DuckDB sees them:\n'
PYTHONPATH=tests/servers/duckdb python3 -c '
import duckdb, sys
duckdb.sql(f"""
    SELECT number, title, "user".login AS author, created_at
    FROM read_parquet({sys.argv[1]!r}) WHERE title IS NOT NULL ORDER BY number DESC LIMIT 5
""").show()
' "$OUT/issues/*.parquet"
