"""Reads all parts of a stream as one table with each of three readers, and prints a line of JSON for each: its name, rows."""

import datetime
import glob
import json
import sys

import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet

folder = sys.argv[1]
parts = sorted(glob.glob(f"{folder}/part-*.parquet"))


def with_duckdb():
    table = duckdb.sql(f"SELECT * FROM read_parquet('{folder}/part-*.parquet', union_by_name = true)")
    return [dict(zip(table.columns, row)) for row in table.fetchall()]


def with_polars():
    # The newest part has every column.
    table = polars.scan_parquet(
        parts,
        schema=polars.read_parquet_schema(parts[-1]),
        missing_columns="insert",
        cast_options=polars.ScanCastOptions(missing_struct_fields="insert", extra_struct_fields="ignore"),
    )
    return table.collect().to_dicts()


def with_pyarrow():
    schema = pyarrow.unify_schemas([pyarrow.parquet.read_schema(part) for part in parts])
    return pyarrow.dataset.dataset(parts, schema=schema).to_table().to_pylist()


for read in (with_duckdb, with_polars, with_pyarrow):
    print(json.dumps([read.__name__, read()], default=datetime.datetime.isoformat))
