"""dlt at its best: pages become Arrow tables in C++, so that dlt neither looks at records nor normalises them, and pages
that can be asked for side by side are, 8 at once.

python dlt_best.py URL cursor|offset OUT
"""

import io
import os
import sys

import dlt
import pyarrow as pa
import pyarrow.json
from dlt.sources.helpers import requests

url, paging, out = sys.argv[1:]
session = requests.Session()

os.environ["EXTRACT__WORKERS"] = "8"
# As many records a row group as fit well into memory, and the codec that all of the others write.
os.environ["DATA_WRITER__BUFFER_MAX_ITEMS"] = "10000"
os.environ["DATA_WRITER__COMPRESSION"] = "zstd"


def get(**params):
    response = session.get(url, params=params)
    # A page is one JSON value on one line, and must fit into the parser's block.
    page = pyarrow.json.read_json(
        io.BytesIO(response.content), pyarrow.json.ReadOptions(use_threads=False, block_size=len(response.content) + 1)
    )
    items = page["items"].combine_chunks().flatten()
    return page, pa.Table.from_batches([pa.RecordBatch.from_struct_array(items)])


@dlt.resource(name="items")
def by_cursor():
    page, items = get()
    tables = [items]
    # The last page has no cursor.
    while "next" in page.column_names:
        page, items = get(cursor=page["next"][0].as_py())
        tables.append(items)
        # dlt takes some milliseconds for a table, however long it is.
        if len(tables) == 20:
            yield pa.concat_tables(tables)
            tables = []
    if tables:
        yield pa.concat_tables(tables)


@dlt.resource(name="items")
def by_offset():
    page, items = get(limit=100, offset=0)
    yield items
    for offset in range(100, page["total"][0].as_py(), 100):
        yield later(offset)


@dlt.defer
def later(offset):
    return get(limit=100, offset=offset)[1]


pipeline = dlt.pipeline(
    "items", destination=dlt.destinations.filesystem(out), dataset_name="data", pipelines_dir=f"{out}/pipelines"
)
resource = {"cursor": by_cursor, "offset": by_offset}[paging]
pipeline.run(resource(), loader_file_format="parquet").raise_on_failed_jobs()
