//! One way in which an API lists its records, what the connector `rest` is told of it, and what must come of it.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::{
    connection::Connection,
    mock::{Api, Change, Encoding, Endpoint, Paging, Received, Rule, Total},
};

/// Records behind each endpoint; three pages and a short one.
pub const RECORDS: u32 = 100;
/// Records on a page.
pub const PAGE: usize = 30;

/// A case of a table: read by [`Variation::judge`] as a user would.
#[derive(Clone, Debug)]
pub struct Variation {
    name: &'static str,
    endpoint: Endpoint,
    rules: Vec<Rule>,
    changes: Vec<Change>,
    encoding: Encoding,
    stream: Value,
    requests: Option<Vec<&'static str>>,
    bodies: Option<Vec<&'static str>>,
    retries: u64,
    records: Option<Vec<u32>>,
    code: i32,
    reasons: Vec<String>,
}

impl Variation {
    /// A listing of [`RECORDS`] records at `/items`, read with this pagination; it is expected to be complete.
    pub fn new(name: &'static str, paging: impl Into<Paging>, pagination: Value) -> Self {
        Self {
            name,
            endpoint: Endpoint::new("/items", paging).records(RECORDS).page_size(PAGE, PAGE),
            rules: Vec::new(),
            changes: Vec::new(),
            encoding: Encoding::default(),
            stream: json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                           "pagination": pagination}),
            requests: None,
            bodies: None,
            retries: 0,
            records: None,
            code: 0,
            reasons: Vec::new(),
        }
    }

    /// Changes the endpoint.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(Endpoint) -> Endpoint) -> Self {
        self.endpoint = change(self.endpoint);
        self
    }

    /// Says where the total stands, in the API and in the configuration.
    #[must_use]
    pub fn total(self, total: Total) -> Self {
        let source = if total == Total::Header { "X-Total-Count" } else { "/total" };
        self.with(|endpoint| endpoint.total(total)).set("total", json!(source))
    }

    /// Sets a key of the stream.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.stream[key] = value;
        self
    }

    /// The body is the list.
    #[must_use]
    pub fn bare(self) -> Self {
        self.set("records", json!(""))
    }

    /// Something goes wrong.
    #[must_use]
    pub fn fault(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Something is different from the beginning on.
    #[must_use]
    pub fn before(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Bodies are compressed.
    #[must_use]
    pub fn encoding(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    /// Exactly these queries are expected, sorted where several are in flight at once.
    #[must_use]
    pub fn requests(self, queries: &[&'static str]) -> Self {
        Self { requests: Some(queries.to_vec()), ..self }
    }

    /// Exactly these request bodies are expected.
    #[must_use]
    pub fn bodies(self, bodies: &[&'static str]) -> Self {
        Self { bodies: Some(bodies.to_vec()), ..self }
    }

    /// So many retries are expected.
    #[must_use]
    pub fn retries(self, retries: u64) -> Self {
        Self { retries, ..self }
    }

    /// Exactly these records are expected instead of those that the API lists at the end.
    #[must_use]
    pub fn records(self, ids: impl IntoIterator<Item = u32>) -> Self {
        Self { records: Some(ids.into_iter().collect()), ..self }
    }

    /// Incomplete is expected, for these reasons. In them `BASE` stands for the API's address.
    #[must_use]
    pub fn incomplete(self, reasons: &[&str]) -> Self {
        Self { code: 1, reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(), ..self }
    }

    /// Incomplete is expected, since the read has to begin again for this reason.
    #[must_use]
    pub fn begins_again(self, reason: &str) -> Self {
        let next = "its records are kept but not to be believed; the next run reads them again and replaces them";
        self.incomplete(&[&format!("the read has to begin again: {reason}"), next])
    }

    /// Complete is expected, with this to be told.
    #[must_use]
    pub fn repaired(self, reasons: &[&str]) -> Self {
        Self { code: 0, ..self.incomplete(reasons) }
    }

    /// Unproven is expected, for these reasons.
    #[must_use]
    pub fn unproven(self, reasons: &[&str]) -> Self {
        Self { code: 3, ..self.incomplete(reasons) }
    }

    /// Reads it, and compares records, verdict, reasons, exit code, retries and requests.
    ///
    /// # Errors
    ///
    /// Where one of them is not as expected.
    pub fn judge(&self) -> anyhow::Result<()> {
        let mut builder = Api::builder().endpoint(self.endpoint.clone()).encoding(self.encoding);
        for rule in &self.rules {
            builder = builder.fault(rule.clone());
        }
        let api = builder.start()?;
        self.changes.iter().for_each(|change| api.change("/items", change));
        let connection = Connection::new("rest", &json!({"base_url": api.url(""), "streams": [self.stream]}))?;
        let run = connection.run(&[])?;

        let reasons: Vec<String> =
            self.reasons.iter().map(|reason| format!("items: {}", reason.replace("BASE", &api.url("")))).collect();
        ensure!(run.reasons() == reasons, "reasons: {:#?}\nlog: {}", run.reasons(), run.log);
        let verdict = match self.code {
            0 => "complete",
            3 => "unproven",
            _ => "incomplete",
        };
        ensure!(run.code == Some(self.code) && run.verdict() == verdict, "{:?}, {}", run.code, run.verdict());

        let found = connection.ids("items", "id")?;
        let mut wanted: Vec<u64> = match &self.records {
            Some(ids) => ids.iter().map(|id| u64::from(*id)).collect(),
            None => api.ids("/items").into_iter().map(u64::from).collect(),
        };
        wanted.sort_unstable();
        ensure!(found == wanted, "{} records: {found:?}\n{} wanted: {wanted:?}", found.len(), wanted.len());
        ensure!(run.report["traffic"]["retries"] == self.retries, "{:#}", run.report["traffic"]);

        let received = api.requests();
        let sorted = |mut texts: Vec<String>| {
            texts.sort();
            texts
        };
        for (expected, found) in [
            (&self.requests, received.iter().map(|one| one.raw_query.clone()).collect::<Vec<_>>()),
            (&self.bodies, received.iter().map(body).collect()),
        ] {
            if let Some(expected) = expected {
                let expected = expected.iter().map(|text| (*text).to_owned()).collect();
                ensure!(sorted(found.clone()) == sorted(expected), "requests: {found:#?}");
            }
        }
        Ok(())
    }
}

fn body(request: &Received) -> String {
    String::from_utf8_lossy(&request.body).into_owned()
}

/// Judges all of a table, and names each that is not as expected.
///
/// # Errors
///
/// Where there is one.
pub fn judge(variations: &[Variation]) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for variation in variations {
        if let Err(error) = variation.judge().with_context(|| variation.name) {
            failed.push(format!("{error:#}"));
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("{} of {}:\n\n{}", failed.len(), variations.len(), failed.join("\n\n"))
    }
}
