//! A connector with one cursor-paginated stream.

use connector_sdk::prelude::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tickets {
    token: Secret,
}

impl Connector for Tickets {
    fn describe() -> Description {
        description!("Support tickets of example.com").host("api.example.com").config_schema(json!({
            "type": "object",
            "required": ["token"],
            "additionalProperties": false,
            "properties": { "token": { "type": "string", "writeOnly": true, "title": "API token" } }
        }))
    }

    fn streams(&self) -> Result<Vec<Stream>> {
        Ok(vec![Stream::new("tickets").primary_key(["id"]).cursor_field("updated_at").incremental()])
    }

    fn read(&self, read: &Read) -> Result<Option<String>> {
        let request = Request::get("https://api.example.com/v1/tickets")
            .bearer(&self.token)
            .query("per_page", 100)
            .query_opt("updated_since", read.since.as_ref());
        let tickets = read
            .pages(request, "/tickets", Cursor::token("/meta/next", "cursor"))
            .watermark(Watermark::greatest("updated_at"))
            .run()?;
        Ok(tickets.watermark)
    }
}

connector_sdk::export!(Tickets);
