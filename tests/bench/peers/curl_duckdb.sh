#!/bin/bash
# curl into one file a page, then DuckDB from all of them to Parquet. Pages with a known total are asked for 8 at a time;
# a cursor has to be read from each page before the next can be asked for. grep finds it, which trusts that no record has
# such a field and that nothing in it is escaped: jq would take 30 ms a page.
#
# curl_duckdb.sh PYTHON URL cursor|offset OUT, OUT being a folder that exists; PYTHON has DuckDB
set -euo pipefail
python=$1 url=$2 paging=$3 out=$4

if [ "$paging" = cursor ]; then
    number=1000000
    curl --silent --fail "$url" -o "$out/page-$number.json"
    while cursor=$(grep -oP '"next":"\K[^"]+' "$out/page-$number.json"); do
        number=$((number + 1))
        curl --silent --fail --get --data-urlencode "cursor=$cursor" "$url" -o "$out/page-$number.json"
    done
else
    curl --silent --fail "$url?limit=100&offset=0" -o "$out/page-0.json"
    last=$((($(grep -oP '"total":\K\d+' "$out/page-0.json") - 1) / 100 * 100))
    curl --silent --fail --parallel --parallel-max 8 "$url?limit=100&offset=[100-$last:100]" -o "$out/page-#1.json"
fi

"$python" -c '
import sys, duckdb
out = sys.argv[1]
duckdb.sql(f"""
    COPY (SELECT unnest(item) FROM (SELECT unnest(items) AS item FROM read_json({out + "/page-*.json"!r})))
    TO {out + "/items.parquet"!r} (FORMAT parquet, COMPRESSION zstd)
""")
' "$out"
