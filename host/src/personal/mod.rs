//! Personal data: fields that are dropped, hashed or masked before anything but the connector and the archive sees them.
//!
//! ```yaml
//! personal_data:
//!   key: ${env:PERSONAL_DATA_KEY}
//!   streams:
//!     users: { drop: [address], hash: [email, contacts.email], mask: [phone] }
//! ```
//!
//! The text of a page is rewritten where the connector hands it over, before it is decoded ([`treat`]): so columns, JSON
//! lines, hashes of keys and pages, schemas, reports and what is said of refused records are made of what is left. Where
//! nothing is configured, nothing of this is done. Texts that quote the original by another way (a connector's log and
//! errors, excerpts of answers) are cleaned of the values of the responses that came last ([`recent`]).
//!
//! In a record that is no JSON nobody can tell what is personal data, so nothing of it is handed on ([`unsound`]).
//!
//! A connector itself gets the original: it needs it to page.

mod recent;
mod rules;
mod settings;
mod treat;
mod unsound;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use ring::hmac;

pub(crate) use self::recent::Recent;
pub use self::settings::{Fields, Settings};
pub(crate) use self::settings::{Given, read};
pub(crate) use self::treat::{Failed, Treatment};
pub(crate) use self::unsound::Withheld;

use self::rules::{Action, Rules};
use crate::engine::bindings::exports::ingest::connector::source::StreamInfo;
use crate::engine::cache::hex;
use crate::http::archive::Exchange;

/// Settings of every stream.
const EVERY: &str = "*";

/// Labels of calls that are of no stream.
const CALLS: [&str; 2] = ["check", "streams"];

/// Looks up the key of a connection by its reference, as `${env:NAME}`; says why where it cannot.
pub type Keys = Arc<dyn Fn(&str, &str) -> Result<String, String> + Send + Sync>;

/// What a connection's configuration says of personal data does not fit its streams.
#[derive(Debug, thiserror::Error)]
pub enum PersonalError {
    /// There is no such stream.
    #[error("personal_data names a stream that the connector does not have: {wanted}")]
    NoStream {
        /// What was written.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A field that the host needs is taken away.
    #[error("personal_data would {action} {field}, which is {what} of {stream}")]
    Needed {
        /// `drop` or `mask`.
        action: &'static str,
        /// The field.
        field: String,
        /// `the primary key` or `the cursor`.
        what: &'static str,
        /// The stream.
        stream: String,
    },
    /// The archive is to be treated, and nothing is configured.
    #[error("--archive redacted treats the archive as personal_data says, and the configuration has none")]
    Nothing,
    /// In a body nobody knows where a record begins.
    #[error("--archive redacted cannot tell where in a response {path} of {stream} is, since it begins at the record")]
    Anchored {
        /// The path as written.
        path: String,
        /// The stream.
        stream: String,
    },
    /// A replay would go on from something else.
    #[error("--archive redacted would hide {field}, the cursor of {stream}, from replays, which page by it")]
    Cursor {
        /// The field.
        field: String,
        /// The stream.
        stream: String,
    },
}

/// What is said instead of an excerpt of a body in which personal data can't be told from other.
pub(crate) fn withheld(body: &[u8]) -> String {
    format!(
        "({} bytes that are not JSON; not shown, for personal data in them could not be told from other)",
        body.len()
    )
}

/// Cleans a text of personal data in the last responses of a read, where there are any to be cleaned of.
pub(crate) fn clean(recent: Option<&Recent>, text: String) -> String {
    match recent {
        Some(recent) => recent.clean(&text).into_owned(),
        None => text,
    }
}

/// A key for hashing. Never shown.
pub(crate) struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[key]")
    }
}

impl Key {
    fn new(text: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()))
    }

    /// The HMAC-SHA-256 of a value, in hex.
    fn hash(&self, value: &[u8]) -> String {
        hex(hmac::sign(&self.0, value).as_ref())
    }

    /// Tells keys apart, and nothing of the key itself.
    fn fingerprint(&self) -> String {
        let mut text = self.hash(b"the key for personal data of this host");
        text.truncate(16);
        text
    }
}

/// What is done with the personal data of one connection.
#[derive(Debug)]
pub struct Personal {
    settings: Settings,
    key: Option<Arc<Key>>,
    /// Whether bodies come from an archive that was treated already.
    again: bool,
    /// Those of the streams that have any, made as they are asked for.
    treatments: Mutex<BTreeMap<String, Option<Arc<Treatment>>>>,
    /// What the reads under way got last.
    recents: Mutex<BTreeMap<String, Weak<Recent>>>,
}

impl Personal {
    /// Makes it for a run, with what the configuration says.
    pub(crate) fn new(given: &Given) -> Self {
        let key = given.key.as_ref().map(|key| Arc::new(Key::new(key.expose())));
        Self {
            settings: given.settings.clone(),
            key,
            again: false,
            treatments: Mutex::default(),
            recents: Mutex::default(),
        }
    }

    /// Makes it for a replay, by what a run noted.
    ///
    /// # Errors
    /// Why the key that the run used is not to be had. A treated archive does without: what is in it is hashed already.
    pub(crate) fn recorded(settings: &Settings, keys: &Keys) -> Result<Self, String> {
        let again = settings.redact_archive;
        let known = match (&settings.key, &settings.fingerprint) {
            (Some(reference), Some(fingerprint)) => {
                keys(&settings.connection, reference).map(|text| Key::new(&text)).and_then(|key| {
                    let other = key.fingerprint() != *fingerprint;
                    if other { Err(format!("the key at {reference} is another one now")) } else { Ok(Some(key)) }
                })
            }
            _ => Ok(None),
        };
        let key = match known {
            Ok(key) => key.map(Arc::new),
            Err(_) if again => None,
            Err(reason) => return Err(reason),
        };
        Ok(Self { settings: settings.clone(), key, again, treatments: Mutex::default(), recents: Mutex::default() })
    }

    /// Whether the bodies of the archive are treated too.
    pub(crate) fn redacts_archive(&self) -> bool {
        self.settings.redact_archive
    }

    /// What cleans the texts of one read; none where nothing is said of its stream.
    pub(crate) fn recent(&self, read: &str) -> Option<Arc<Recent>> {
        let treatment = self.of(read)?;
        let mut recents = self.recents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = recents.get(read).and_then(Weak::upgrade) {
            return Some(known);
        }
        recents.retain(|_, recent| recent.strong_count() > 0);
        let recent = Arc::new(Recent::new(treatment));
        recents.insert(read.to_owned(), Arc::downgrade(&recent));
        Some(recent)
    }

    /// The treatment of a read's stream; none where nothing is said of it. A read is a stream, or `stream/partition`.
    pub(crate) fn of(&self, read: &str) -> Option<Arc<Treatment>> {
        let stream = read.split('/').next().unwrap_or(read);
        let mut treatments = self.treatments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = treatments.get(stream) {
            return known.clone();
        }
        let rules = self.rules(stream);
        let made = (!rules.is_empty()).then(|| Arc::new(Treatment::new(rules, self.key.clone(), self.again)));
        treatments.insert(stream.to_owned(), made.clone());
        made
    }

    fn rules(&self, stream: &str) -> Rules {
        let mut rules = Rules::default();
        let own = self.settings.streams.get(stream);
        // Calls that are of no stream may ask for anything.
        let of_none = own.is_none() && CALLS.contains(&stream);
        let others = self.settings.streams.iter().filter(|(name, _)| of_none || *name == EVERY);
        for (fields, own) in own.map(|own| (own, true)).into_iter().chain(others.map(|(_, other)| (other, false))) {
            for (action, path) in fields.all() {
                // Paths were checked as the configuration was read; those of a damaged recording say nothing.
                let _ = rules.add(action, path, own);
            }
        }
        rules
    }

    /// Treats the answer of an exchange as the archive keeps it. `decoded` is its body as the connector gets it.
    pub(crate) fn redact(&self, exchange: &mut Exchange, decoded: Option<&Bytes>) {
        let Some(treatment) = self.of(&exchange.read) else { return };
        let treated = match decoded.filter(|_| !exchange.body.is_empty()).map(|body| treatment.body(body)) {
            Some(Ok(None)) => return,
            Some(Ok(Some(treated))) => treated.into(),
            // Nobody can tell what is in it, so it is not kept.
            Some(Err(_)) | None => Bytes::new(),
        };
        exchange.body = treated;
        exchange.encoding = "identity".to_owned();
        exchange.redacted = true;
    }

    /// Checks that what is said fits the connector's streams.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn check(&self, streams: &[StreamInfo]) -> Result<(), PersonalError> {
        let known: Vec<String> = streams.iter().map(|stream| stream.name.clone()).collect();
        let unknown = |name: &&String| *name != EVERY && !known.contains(name);
        if let Some(wanted) = self.settings.streams.keys().find(unknown) {
            return Err(PersonalError::NoStream { wanted: wanted.clone(), known });
        }
        for stream in streams {
            let rules = self.rules(&stream.name);
            let needed = |action, field: &String, what| {
                let (field, stream) = (field.clone(), stream.name.clone());
                PersonalError::Needed { action, field, what, stream }
            };
            for field in &stream.primary_key {
                match rules.of_field(field) {
                    Some(Action::Drop) => return Err(needed("drop", field, "the primary key")),
                    // All records would have one key.
                    Some(Action::Mask) => return Err(needed("mask", field, "the primary key")),
                    _ => {}
                }
            }
            if let Some(field) = &stream.cursor_field {
                match rules.of_field(field) {
                    Some(Action::Drop) => return Err(needed("drop", field, "the cursor")),
                    Some(_) if self.redacts_archive() => {
                        return Err(PersonalError::Cursor { field: field.clone(), stream: stream.name.clone() });
                    }
                    _ => {}
                }
            }
            if let Some(path) = rules.anchored().filter(|_| self.redacts_archive()) {
                return Err(PersonalError::Anchored { path: path.to_owned(), stream: stream.name.clone() });
            }
        }
        Ok(())
    }

    /// Paths of a stream's own that none of its records had so far.
    pub(crate) fn unmet(&self, stream: &str) -> Vec<String> {
        self.of(stream).map(|treatment| treatment.unmet(true)).unwrap_or_default()
    }

    /// Paths that are said of every stream, and that no record of any had so far.
    pub(crate) fn unmet_anywhere(&self) -> Vec<String> {
        let treatments = self.treatments.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unmet = treatments.values().flatten().map(|treatment| treatment.unmet(false));
        let first: BTreeSet<String> = unmet.next().unwrap_or_default().into_iter().collect();
        let common =
            unmet.fold(first, |common, other| common.into_iter().filter(|path| other.contains(path)).collect());
        common.into_iter().collect()
    }
}
