//! Reads any JSON API by configuration alone; see README.md for the configuration by example.

#![cfg_attr(test, expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic"))]

mod auth;
mod config;
mod pagination;
mod parent;
mod reject;
mod request;
mod template;

use connector_sdk::pages::Pages;
use connector_sdk::prelude::*;

use config::{Config, Order, StreamConfig};

impl Connector for Config {
    fn describe() -> Description {
        let described = description!("Any JSON API, by configuration alone")
            .host("{base_url}")
            .method(Method::Post)
            .config_schema(include_str!("schema.json"));
        auth::schemes().into_iter().fold(described, Description::auth)
    }

    /// Reads the first page of the first stream that needs no parent.
    fn check(&self) -> Result<()> {
        self.validate()?;
        if let Some(stream) = self.streams.iter().find(|s| s.parent.is_none()) {
            self.pages(stream, None, None)?.probe()?;
        }
        Ok(())
    }

    fn streams(&self) -> Result<Vec<Stream>> {
        self.validate()?;
        Ok(self.streams.iter().map(Stream::from).collect())
    }

    fn partitions(&self, stream: &str, _since: Option<&str>) -> Result<Vec<Partition>> {
        self.validate()?;
        parent::partitions(self, self.stream(stream)?)
    }

    fn read(&self, read: &Read) -> Result<Option<String>> {
        self.validate()?;
        let stream = self.stream(&read.stream)?;
        let context = match stream.parent {
            Some(_) => Some(read.context::<serde_json::Value>()?),
            None => None,
        };
        let since = stream.incremental.as_ref().and(read.since.as_deref());
        let mut pages = self.pages(stream, context.as_ref(), since)?.of(read);
        if let (Some(parent), Some(context)) = (&stream.parent, &context) {
            for (name, field) in &parent.copy {
                pages = pages.extra(name, &template::lookup(context, &template::path(field))?)?;
            }
        }
        if let Some(incremental) = &stream.incremental {
            let field = &incremental.cursor_field;
            pages = pages.watermark(match (&incremental.watermark, incremental.order) {
                (Some(source), _) => Watermark::response(source.as_str()),
                (None, Order::Any) => Watermark::greatest(field),
                (None, Order::Ascending) => Watermark::ascending(field),
                (None, Order::Descending) => Watermark::descending(field),
            });
            if incremental.stop_at_watermark {
                pages = pages.until_since(field);
            }
        }
        Ok(pages.run()?.watermark)
    }
}

impl Config {
    /// Prepares to read a stream's pages, without what concerns a read that goes on.
    fn pages(
        &self,
        stream: &StreamConfig,
        context: Option<&serde_json::Value>,
        since: Option<&str>,
    ) -> Result<Pages<'static, Box<dyn Paginator>>> {
        let request = request::build(self, stream, context, since)?;
        let request = stream.tolerate.iter().fold(request, |request, status| request.accept(*status));
        let mut pages = Pages::new(request, &stream.records, pagination::build(stream)?);
        if let Some(total) = &stream.total {
            pages = pages.total(total.as_str());
        }
        if !stream.reject.is_empty() {
            let rules = stream.reject.clone();
            pages = pages.reject_if(move |response| reject::judge(&rules, response));
        }
        if stream.null_is_empty {
            pages = pages.null_is_empty();
        }
        if stream.one_object {
            pages = pages.one_object();
        }
        if stream.allow_repeated_pages {
            pages = pages.allow_repeated_pages();
        }
        if !stream.tolerate.is_empty() {
            let (tolerate, mut begun) = (stream.tolerate.clone(), false);
            pages = pages.each(move |response| {
                let status = response.status();
                if !tolerate.contains(&status) {
                    begun = true;
                    return Ok(());
                }
                let reason = format!("the API answered {status}");
                Err(if begun { Error::data(reason) } else { Error::absent(reason) })
            });
        }
        if stream.never_shifts {
            pages = pages.never_shifts();
        }
        if let Some(requests) = stream.in_flight {
            pages = pages.in_flight(requests);
        }
        Ok(pages)
    }
}

impl From<&StreamConfig> for Stream {
    fn from(config: &StreamConfig) -> Self {
        let mut stream = Stream::new(&config.name).primary_key(&config.primary_key);
        if let Some(schema) = &config.schema {
            stream = stream.schema(schema);
        }
        match &config.incremental {
            Some(incremental) => {
                stream = stream.cursor_field(&incremental.cursor_field).incremental();
                if let Some(lookback) = incremental.lookback.as_deref().and_then(config::lookback) {
                    stream = stream.lookback(lookback);
                }
                match incremental.order {
                    Order::Any => stream,
                    Order::Ascending => stream.sorted(connector_sdk::Order::Ascending),
                    Order::Descending => stream.sorted(connector_sdk::Order::Descending),
                }
            }
            None => stream,
        }
    }
}

connector_sdk::export!(Config);
