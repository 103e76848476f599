"""Says how many records lie in files, how many different ids they have, and the least and the greatest id.

python count.py parquet|jsonl|airbyte GLOB
"""

import json
import sys

import duckdb

kind, files = sys.argv[1:]
rows = {
    "parquet": f"SELECT id FROM read_parquet({files!r})",
    "jsonl": f"SELECT id FROM read_json({files!r}, format = 'newline_delimited', columns = {{'id': 'BIGINT'}})",
    "airbyte": f"""
        SELECT record.data.id AS id
        FROM read_json({files!r}, format = 'newline_delimited',
            columns = {{'type': 'VARCHAR', 'record': 'STRUCT(data STRUCT(id BIGINT))'}})
        WHERE type = 'RECORD'
    """,
}
print(
    json.dumps(duckdb.sql(f"SELECT count(*), count(DISTINCT id), min(id), max(id) FROM ({rows[kind]})").fetchall()[0])
)
