//! Records on their way out.

use serde::Serialize;

use crate::bindings::ingest::connector::output as wit;
use crate::{Error, Response, Result};

/// What the host says after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// Go on.
    Continue,
    /// Enough: return from `read` now.
    Stop,
}

/// How a page hangs together with the one before it in the same read; the host judges by it what may be missing between
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seam {
    /// Nothing is said: the host looks whether the request counts pages or records.
    #[default]
    Unsaid,
    /// It goes on behind the last record of the page before, whatever is inserted or deleted meanwhile.
    Anchored,
    /// Its place was counted, in pages or in records: a deletion meanwhile pulls a record across unseen, so that such a read
    /// of several pages can only be `unproven`.
    Counted,
    /// Its place was counted one record back: its first record is the last one of the page before, if nothing shifted. The
    /// host compares the two, and leaves that record out.
    Overlapping,
}

/// Records to emit, with what the host has to know about them.
///
/// Most connectors never build one: [`Read::pages`](crate::Read::pages) does it.
///
/// ```no_run
/// # use connector_sdk::{Page, Request, Result, Flow};
/// # fn read() -> Result<()> {
/// let response = Request::get("https://api.example.com/users").send()?;
/// let flow = Page::select(response, "/data").extra("tenant", &"acme")?.checkpoint("page 2").emit();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Page {
    records: Records,
    extra: Vec<(String, String)>,
    keep: Option<Vec<u32>>,
    checkpoint: Option<String>,
    total: Option<u64>,
    seam: Seam,
}

#[derive(Debug)]
enum Records {
    Select(Response, String),
    Json(Vec<u8>),
}

impl Page {
    /// Takes the records straight from a response: those of the array at a pointer, or the one
    /// object there. They never enter the sandbox; this is the fast way.
    pub fn select(response: Response, pointer: impl Into<String>) -> Self {
        Self::of(Records::Select(response, pointer.into()))
    }

    /// Emits records that the connector made; only for records that must be reshaped.
    ///
    /// # Errors
    /// [`Error::Other`] where a record has no JSON form.
    pub fn records<T: Serialize>(records: &[T]) -> Result<Self> {
        let text = serde_json::to_vec(records).map_err(|e| Error::other(format!("records: {e}")))?;
        Ok(Self::json(text))
    }

    /// Emits the text of a JSON array of objects, or of newline-delimited objects.
    pub fn json(text: impl Into<Vec<u8>>) -> Self {
        Self::of(Records::Json(text.into()))
    }

    fn of(records: Records) -> Self {
        Self { records, extra: Vec::new(), keep: None, checkpoint: None, total: None, seam: Seam::Unsaid }
    }

    /// Adds a constant field to every record of a page made by [`select`](Page::select).
    ///
    /// # Errors
    /// [`Error::Other`] where the value has no JSON form, or the records are the connector's own.
    pub fn extra(self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        let text = serde_json::to_string(value).map_err(|e| Error::other(format!("extra field: {e}")))?;
        self.extra_json(name, text)
    }

    pub(crate) fn extra_json(mut self, name: impl Into<String>, json: String) -> Result<Self> {
        if matches!(self.records, Records::Json(_)) {
            return Err(Error::other("extra fields go with selected records only"));
        }
        self.extra.push((name.into(), json));
        Ok(self)
    }

    /// Takes only some of the records of a page made by [`select`](Page::select): those at these places, from 0 and ascending.
    /// A record that is no JSON goes to the dead letters by its place, as it does where all are taken.
    ///
    /// # Errors
    /// [`Error::Other`] where the records are the connector's own.
    pub fn keep(mut self, places: impl IntoIterator<Item = u32>) -> Result<Self> {
        if matches!(self.records, Records::Json(_)) {
            return Err(Error::other("places are those of selected records only"));
        }
        self.keep = Some(places.into_iter().collect());
        Ok(self)
    }

    /// Says from where a later read resumes so as to start right after this page.
    #[must_use]
    pub fn checkpoint(mut self, checkpoint: impl Into<String>) -> Self {
        self.checkpoint = Some(checkpoint.into());
        self
    }

    /// Says how many records the whole read has, where the API says so.
    #[must_use]
    pub fn total(mut self, total: impl Into<Option<u64>>) -> Self {
        self.total = total.into();
        self
    }

    /// Says how the page hangs together with the one before it.
    #[must_use]
    pub fn seam(mut self, seam: Seam) -> Self {
        self.seam = seam;
        self
    }

    /// Hands the page to the host.
    pub fn emit(self) -> Flow {
        let records = match self.records {
            Records::Select(response, pointer) => {
                let (extra, keep) = (self.extra, self.keep);
                wit::Records::Select(wit::Selection { response: response.into_raw(), pointer, extra, keep })
            }
            Records::Json(text) => wit::Records::Json(text),
        };
        let seam = match self.seam {
            Seam::Unsaid => wit::Seam::Unsaid,
            Seam::Anchored => wit::Seam::Anchored,
            Seam::Counted => wit::Seam::Counted,
            Seam::Overlapping => wit::Seam::Overlapping,
        };
        match wit::emit(wit::Page { records, checkpoint: self.checkpoint, total: self.total, seam }) {
            wit::Flow::Continue => Flow::Continue,
            wit::Flow::Stop => Flow::Stop,
        }
    }
}
