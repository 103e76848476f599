"""Plain Python: requests, and pandas to Parquet. Pages with a known total are asked for 8 at a time.

python plain.py URL cursor|offset OUT
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import pandas
import requests

url, paging, out = sys.argv[1:]
session = requests.Session()


def get(**params):
    response = session.get(url, params=params, timeout=60)
    response.raise_for_status()
    return response.json()


page = get()
records = page["items"]
if paging == "cursor":
    while page.get("next"):
        page = get(cursor=page["next"])
        records += page["items"]
else:
    offsets = range(len(records), page["total"], 100)
    with ThreadPoolExecutor(8) as pool:
        for page in pool.map(lambda offset: get(limit=100, offset=offset), offsets):
            records += page["items"]
pandas.DataFrame(records).to_parquet(out, compression="zstd")
