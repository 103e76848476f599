"""A Singer tap of one stream, as the SDK's template lays it out.

python tap.py --config CONFIG
"""

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.pagination import BaseOffsetPaginator, JSONPathPaginator


def fields(type_, names):
    return [th.Property(name, type_) for name in names.split()]


# Types are the tap author's to know: what is not named here is not sent.
SMALL = [
    th.Property("id", th.IntegerType, required=True),
    th.Property("updated_at", th.DateTimeType),
    th.Property("owner", th.ObjectType(th.Property("id", th.IntegerType), th.Property("login", th.StringType))),
    th.Property("tags", th.ArrayType(th.StringType)),
    *fields(th.StringType, "name group body"),
]
LARGE = [
    *SMALL,
    *fields(th.DateTimeType, "created_at pushed_at"),
    *fields(th.IntegerType, "size stars watchers open_issues forks"),
    *fields(th.BooleanType, "private fork archived disabled has_issues has_wiki has_pages"),
    *fields(th.StringType, "node_id full_name description language visibility default_branch homepage mirror_url"),
    *fields(th.StringType, "html_url forks_url keys_url teams_url hooks_url events_url branches_url contributors_url"),
    *fields(th.StringType, "languages_url commits_url releases_url deployments_url"),
    th.Property("ratio", th.NumberType),
    th.Property("topics", th.ArrayType(th.StringType)),
    th.Property("license", th.ObjectType(*fields(th.StringType, "key name spdx_id url"))),
    th.Property("permissions", th.ObjectType(*fields(th.BooleanType, "admin maintain push triage pull"))),
]


class OffsetPaginator(BaseOffsetPaginator):
    def has_more(self, response):
        return self.get_next(response) < response.json()["total"]


class Items(RESTStream):
    name = "items"
    path = "/items"
    primary_keys = ("id",)
    records_jsonpath = "$.items[*]"

    @property
    def url_base(self):
        return self.config["base_url"]

    def get_new_paginator(self):
        if self.config["paging"] == "cursor":
            return JSONPathPaginator("$.next")
        return OffsetPaginator(start_value=0, page_size=100)

    def get_url_params(self, context, next_page_token):
        if self.config["paging"] == "cursor":
            return {"cursor": next_page_token} if next_page_token else {}
        return {"limit": 100, "offset": next_page_token}


class TapItems(Tap):
    name = "tap-items"
    config_jsonschema = th.PropertiesList(
        th.Property("base_url", th.StringType, required=True),
        th.Property("paging", th.StringType, required=True),
        th.Property("large", th.BooleanType, required=True),
    ).to_dict()

    def discover_streams(self):
        # Made once: the SDK asks a stream for its schema with every record.
        return [Items(self, schema=th.PropertiesList(*(LARGE if self.config["large"] else SMALL)).to_dict())]


if __name__ == "__main__":
    TapItems.cli()
