"""dlt as its documentation begins: the `rest_api` source into Parquet files, nothing tuned.

python dlt_default.py URL cursor|offset OUT
"""

import sys

import dlt
from dlt.sources.rest_api import rest_api_source

url, paging, out = sys.argv[1:]
paginators = {
    "cursor": {"type": "cursor", "cursor_path": "next", "cursor_param": "cursor"},
    "offset": {"type": "offset", "limit": 100, "total_path": "total"},
}
source = rest_api_source(
    {
        "client": {"base_url": url.removesuffix("items")},
        "resources": [
            {
                "name": "items",
                "primary_key": "id",
                "endpoint": {"path": "items", "data_selector": "items", "paginator": paginators[paging]},
            }
        ],
    }
)
pipeline = dlt.pipeline(
    "items", destination=dlt.destinations.filesystem(out), dataset_name="data", pipelines_dir=f"{out}/pipelines"
)
pipeline.run(source, loader_file_format="parquet").raise_on_failed_jobs()
