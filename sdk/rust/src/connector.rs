//! The trait that a connector implements, and what it describes itself with.

use std::fmt::Display;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::exports::ingest::connector::source as wit;
use crate::pages::{Pages, Paginator};
use crate::{Auth, Error, Method, Request, Result};

/// A connector. The type is its own configuration: `self` is what the user wrote, already read.
///
/// Put `#[serde(deny_unknown_fields)]` on it, so that a mistyped key is an error and not silence.
pub trait Connector: DeserializeOwned {
    /// Describes the connector: name, configuration, hosts.
    fn describe() -> Description;

    /// Proves that the configuration works, as cheaply as possible. The default accepts everything
    /// that could be read.
    ///
    /// # Errors
    /// Whatever the first request says.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Lists the streams.
    ///
    /// # Errors
    /// Where the API has to be asked and does not answer.
    fn streams(&self) -> Result<Vec<Stream>>;

    /// Lists the parts of a stream that can be read side by side. The default has none.
    ///
    /// # Errors
    /// Where the API has to be asked and does not answer.
    fn partitions(&self, stream: &str, since: Option<&str>) -> Result<Vec<Partition>> {
        let _ = (stream, since);
        Ok(Vec::new())
    }

    /// Reads to the end and returns the watermark for the next incremental read.
    ///
    /// # Errors
    /// What ends the read; it goes on from the last checkpoint.
    fn read(&self, read: &Read) -> Result<Option<String>>;
}

/// What a connector is.
#[derive(Debug, Clone)]
pub struct Description {
    name: String,
    version: String,
    summary: String,
    docs_url: Option<String>,
    config_schema: String,
    hosts: Vec<String>,
    methods: Vec<Method>,
    rates: Vec<(u32, Duration, u32)>,
    concurrency: Option<u32>,
    budget_headers: BudgetHeaders,
    auth: Vec<Auth>,
}

/// Names of the headers in which an API tells its limits, where it does not use the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetHeaders {
    /// Requests of a whole window.
    pub limit: Option<String>,
    /// Requests left.
    pub remaining: Option<String>,
    /// When the window ends: seconds from now, a time since the epoch, or a date.
    pub reset: Option<String>,
    /// Name of the budget that the request counted against.
    pub bucket: Option<String>,
}

impl Description {
    /// Starts a description; [`description!`](crate::description) fills in the first two from
    /// Cargo.toml.
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            docs_url: None,
            config_schema: r#"{"type":"object","additionalProperties":false}"#.into(),
            hosts: Vec::new(),
            methods: Vec::new(),
            rates: Vec::new(),
            concurrency: None,
            budget_headers: BudgetHeaders::default(),
            auth: Vec::new(),
        }
    }

    /// Names the page that documents the connector or its API.
    #[must_use]
    pub fn docs_url(mut self, url: impl Into<String>) -> Self {
        self.docs_url = Some(url.into());
        self
    }

    /// Adds a host that it has to reach; `{name}` stands for the configuration's value of that name.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Adds a method that it sends besides GET and HEAD; the host refuses those that are not named.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// Says how often the API may be asked: `requests` in `per`, of which `burst` may go out at once after a rest (1 makes a
    /// fixed delay). Several rates hold together. The user can only narrow them.
    ///
    /// ```
    /// # use connector_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let limits = description!("…").rate(10, Duration::from_secs(1), 5).rate(5_000, Duration::from_secs(3_600), 100);
    /// ```
    #[must_use]
    pub fn rate(mut self, requests: u32, per: Duration, burst: u32) -> Self {
        self.rates.push((requests, per, burst));
        self
    }

    /// Says how many requests the API takes at once.
    #[must_use]
    pub fn concurrency(mut self, requests: u32) -> Self {
        self.concurrency = Some(requests);
        self
    }

    /// Names the headers in which the API tells its limits, where it does not use the usual ones.
    #[must_use]
    pub fn budget_headers(mut self, headers: BudgetHeaders) -> Self {
        self.budget_headers = headers;
        self
    }

    /// Adds a way in which the API lets a client in. With any, the configuration's `auth` belongs to the host, which asks
    /// the user for the values and puts them into requests; the connector sees nothing of it.
    #[must_use]
    pub fn auth(mut self, scheme: Auth) -> Self {
        self.auth.push(scheme);
        self
    }

    /// Sets the JSON Schema 2020-12 of the configuration: a text or a [`json!`](crate::json) value.
    /// Mark secrets with `"writeOnly": true`, and close it with `"additionalProperties": false`.
    #[must_use]
    pub fn config_schema(mut self, schema: impl Display) -> Self {
        self.config_schema = schema.to_string();
        self
    }
}

/// Describes a connector by the name and version of its own package.
#[macro_export]
macro_rules! description {
    ($summary:expr) => {
        $crate::Description::new(::std::env!("CARGO_PKG_NAME"), ::std::env!("CARGO_PKG_VERSION"), $summary)
    };
}

/// One kind of record that a connector offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    name: String,
    schema: Option<String>,
    primary_key: Vec<String>,
    cursor_field: Option<String>,
    incremental: bool,
    sorted: Option<Order>,
    lookback: Option<Duration>,
}

/// In which order records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The smallest or oldest first.
    Ascending,
    /// The greatest or newest first.
    Descending,
}

impl Stream {
    /// Starts a stream that is always read in full.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            schema: None,
            primary_key: Vec::new(),
            cursor_field: None,
            incremental: false,
            sorted: None,
            lookback: None,
        }
    }

    /// Names the fields that identify a record.
    #[must_use]
    pub fn primary_key<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.primary_key = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Names the field that orders the records in time.
    #[must_use]
    pub fn cursor_field(mut self, field: impl Into<String>) -> Self {
        self.cursor_field = Some(field.into());
        self
    }

    /// Says that the stream can be read from a watermark on.
    #[must_use]
    pub fn incremental(mut self) -> Self {
        self.incremental = true;
        self
    }

    /// Says in which order of the cursor field the records come, where the connector relies on it. The host checks it, and a
    /// read whose records are out of order is `incomplete`.
    #[must_use]
    pub fn sorted(mut self, order: Order) -> Self {
        self.sorted = Some(order);
        self
    }

    /// Says how far before the last watermark an incremental read starts, unless the user says otherwise (`--lookback`): for
    /// records that arrive late, or share their second. The host goes back and leaves out what is there already; the
    /// connector gets an earlier [`Read::since`].
    #[must_use]
    pub fn lookback(mut self, lookback: Duration) -> Self {
        self.lookback = Some(lookback);
        self
    }

    /// Sets the JSON Schema of a record; without one, the host infers it.
    #[must_use]
    pub fn schema(mut self, schema: impl Display) -> Self {
        self.schema = Some(schema.to_string());
        self
    }
}

/// A part of a stream that can be read side by side with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Identifies the partition within its stream; keep it the same from run to run.
    pub id: String,
    /// Whatever `read` needs to know, opaque to the host.
    pub context: String,
}

impl Partition {
    /// Makes a partition without a context.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), context: String::new() }
    }

    /// Sets the context to a value's JSON.
    ///
    /// # Errors
    /// [`Error::Other`] where the value has no JSON form.
    pub fn context(mut self, context: &impl Serialize) -> Result<Self> {
        self.context =
            serde_json::to_string(context).map_err(|e| Error::other(format!("partition {:?}: {e}", self.id)))?;
        Ok(self)
    }
}

/// What the host asks `read` for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Read {
    /// The stream's name.
    pub stream: String,
    /// The partition, where the stream has some.
    pub partition: Option<Partition>,
    /// Watermark that the last complete read returned; none for a full read.
    pub since: Option<String>,
    /// Checkpoint of an unfinished read to go on from.
    pub resume: Option<String>,
}

impl Read {
    /// Starts to read page after page: sends `request`, emits the records at `records` (an RFC 6901
    /// pointer to an array), lets the paginator make the next request, and so on to the end.
    /// Resuming, checkpoints and fetching ahead are done for you.
    ///
    /// ```no_run
    /// # use connector_sdk::{Read, Request, Result, pages::Offset};
    /// # fn read(read: &Read) -> Result<Option<String>> {
    /// let request = Request::get("https://api.example.com/users");
    /// let users = read.pages(request, "/data", Offset::new("offset", "limit", 100)).total("/total").run()?;
    /// Ok(users.watermark)
    /// # }
    /// ```
    pub fn pages<'a, P: Paginator>(&self, request: Request, records: &str, paginator: P) -> Pages<'a, P> {
        Pages::new(request, records, paginator).of(self)
    }

    /// Reads the partition's context.
    ///
    /// # Errors
    /// [`Error::Other`] where there is no partition or its context is of another type.
    pub fn context<T: DeserializeOwned>(&self) -> Result<T> {
        let partition = self
            .partition
            .as_ref()
            .ok_or_else(|| Error::other(format!("stream {:?} is read by partition", self.stream)))?;
        serde_json::from_str(&partition.context)
            .map_err(|e| Error::other(format!("context of partition {:?}: {e}", partition.id)))
    }

    /// Makes the error for a stream that the connector does not have.
    #[must_use]
    pub fn unknown_stream(&self) -> Error {
        Error::config(format!("no such stream: {}", self.stream))
    }
}

/// What [`export!`](crate::export) exports; nothing to use by hand.
#[doc(hidden)]
#[derive(Debug)]
pub struct Component<T>(PhantomData<T>);

impl<T: Connector> wit::Guest for Component<T> {
    fn describe() -> wit::Description {
        let Description {
            name,
            version,
            summary,
            docs_url,
            config_schema,
            hosts,
            methods,
            rates,
            concurrency,
            budget_headers,
            auth,
        } = T::describe();
        let rates = rates.into_iter().map(|(requests, per, burst)| wit::Rate {
            requests,
            per_ms: u32::try_from(per.as_millis()).unwrap_or(u32::MAX),
            burst,
        });
        let BudgetHeaders { limit, remaining, reset, bucket } = budget_headers;
        let budget = wit::Budget {
            rates: rates.collect(),
            concurrency,
            headers: wit::BudgetHeaders { limit, remaining, reset, bucket },
        };
        let auth = auth.into_iter().map(Into::into).collect();
        let methods = methods.into_iter().map(Into::into).collect();
        wit::Description { name, version, summary, docs_url, config_schema, hosts, methods, budget, auth }
    }

    fn check(config: String) -> Result<(), wit::Error> {
        Ok(parse_config::<T>(&config)?.check()?)
    }

    fn streams(config: String) -> Result<Vec<wit::StreamInfo>, wit::Error> {
        let streams = parse_config::<T>(&config)?.streams()?;
        Ok(streams.into_iter().map(wit::StreamInfo::from).collect())
    }

    fn partitions(config: String, stream: String, since: Option<String>) -> Result<Vec<wit::Partition>, wit::Error> {
        let partitions = parse_config::<T>(&config)?.partitions(&stream, since.as_deref())?;
        Ok(partitions.into_iter().map(|Partition { id, context }| wit::Partition { id, context }).collect())
    }

    fn read(request: wit::ReadRequest) -> Result<Option<String>, wit::Error> {
        let connector = parse_config::<T>(&request.config)?;
        let read = Read {
            stream: request.stream,
            partition: request.partition.map(|p| Partition { id: p.id, context: p.context }),
            since: request.since,
            resume: request.resume,
        };
        Ok(connector.read(&read)?)
    }
}

impl From<Stream> for wit::StreamInfo {
    fn from(stream: Stream) -> Self {
        let mut modes = vec![wit::SyncMode::Full];
        if stream.incremental {
            modes.push(wit::SyncMode::Incremental);
        }
        Self {
            name: stream.name,
            schema: stream.schema,
            primary_key: stream.primary_key,
            cursor_field: stream.cursor_field,
            modes,
            sorted: stream.sorted.map(|order| match order {
                Order::Ascending => wit::Order::Ascending,
                Order::Descending => wit::Order::Descending,
            }),
            lookback_ms: stream.lookback.map(|lookback| u64::try_from(lookback.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Reads a configuration from JSON; an empty text is an empty object.
///
/// # Errors
/// [`Error::Config`] with what is wrong.
pub fn parse_config<T: DeserializeOwned>(text: &str) -> Result<T> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    // By way of a value: its errors name the field, and line and column of a text that the host
    // wrote would only mislead.
    let value: Value = serde_json::from_str(text).map_err(|e| Error::config(format!("not JSON: {e}")))?;
    serde_json::from_value(value).map_err(Error::config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[expect(dead_code, reason = "only its reading is tested")]
        org: String,
    }

    #[test]
    fn a_configuration_error_names_the_field() {
        assert_eq!(parse_config::<Config>("{}").unwrap_err(), Error::config("missing field `org`"));
        let error = parse_config::<Config>(r#"{"org": "a", "tokn": 1}"#).unwrap_err();
        assert_eq!(error, Error::config("unknown field `tokn`, expected `org`"));
    }

    #[test]
    fn a_partition_hands_its_context_to_the_read() {
        let partition = Partition::new("7").context(&vec![1, 2]).unwrap();
        let read = Read { stream: "issues".into(), partition: Some(partition), ..Read::default() };
        assert_eq!(read.context::<Vec<u8>>().unwrap(), [1, 2]);
        let error = Read { stream: "issues".into(), ..Read::default() }.context::<u8>().unwrap_err();
        assert_eq!(error, Error::other("stream \"issues\" is read by partition"));
    }
}
