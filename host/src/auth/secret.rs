//! Secret values, the placeholders that stand for them, and their removal from everything that leaves the process.
//!
//! ```ignore
//! let secrets = Secrets::default();
//! let placeholder = secrets.insert("auth.token", Secret::new("s3cr:et/+%~"));
//! assert_eq!(placeholder, "__secret.auth.token__");
//! assert_eq!(secrets.redact("sent s3cr%3Aet%2F%2B%25~"), "sent __secret.auth.token__");
//! ```

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// How every placeholder starts. Only unreserved characters of RFC 3986, so that no encoder changes a placeholder.
pub const PLACEHOLDER_PREFIX: &str = "__secret.";
/// How every placeholder ends.
pub const PLACEHOLDER_SUFFIX: &str = "__";

/// Shorter values are not searched for at all: they occur by chance in any text, and hiding them hides nothing.
const MIN_TEXT: usize = 4;
/// Shorter values are not replaced in response bodies: `1234` is part of too many honest numbers, and a body with a number
/// replaced is no longer the data that the API sent.
const MIN_BODY: usize = 8;
/// What replaces a value in a form (Base64, hex) that can't be turned back into a placeholder.
const REDACTED: &str = "[redacted]";
/// Base64 of a value inside a longer text shares its first and last characters with the neighbours; what is left in the
/// middle has to be this long to be worth a search.
const MIN_BASE64: usize = 5;

/// A value that must not be shown. `Debug` and `Display` print `[secret]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    /// Returns the value itself. Every use of it is a place where a secret can leak.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// How a value has to be written where it is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is: a header, or a body of unknown kind.
    Plain,
    /// Percent-encoded: a query, or a body of form fields.
    Percent,
    /// Inside a JSON string.
    Json,
}

/// The secrets of one run, by name. Cheap to clone; clones share the values.
#[derive(Clone, Default)]
pub struct Secrets {
    table: Arc<RwLock<Arc<Table>>>,
    remembered: Arc<AtomicU64>,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    texts: Option<Search>,
    bodies: Option<Search>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    placeholder: String,
    value: Secret,
}

/// Every form of every value, searched for in one pass.
struct Search {
    patterns: AhoCorasick,
    replacements: Vec<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.table().entries.iter().map(|entry| &entry.name)).finish()
    }
}

impl Secrets {
    /// Adds a value (or replaces the value of that name) and returns the placeholder that stands for it.
    pub fn insert(&self, name: &str, value: Secret) -> String {
        let mut guard = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut entries = guard.entries.clone();
        let placeholder = match entries.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => {
                entry.value = value;
                entry.placeholder.clone()
            }
            None => {
                let placeholder = unused_placeholder(name, &entries);
                entries.push(Entry { name: name.to_owned(), placeholder: placeholder.clone(), value });
                placeholder
            }
        };
        *guard =
            Arc::new(Table { texts: Search::of(&entries, MIN_TEXT), bodies: Search::of(&entries, MIN_BODY), entries });
        placeholder
    }

    /// Adds a value that will be replaced by others, such as a token: the last `count` of a name stay known, since what is
    /// under way may still repeat an old one.
    pub(crate) fn remember(&self, name: &str, value: Secret, count: u64) {
        if self.table().entries.iter().any(|entry| entry.value == value) {
            return;
        }
        let number = self.remembered.fetch_add(1, Ordering::Relaxed);
        self.insert(&format!("{name}.{}", number % count.max(1)), value);
    }

    /// Returns the placeholder of a name.
    pub fn placeholder(&self, name: &str) -> Option<String> {
        self.table().entries.iter().find(|entry| entry.name == name).map(|entry| entry.placeholder.clone())
    }

    /// Tells whether there is any value that could be given away.
    pub fn any(&self) -> bool {
        self.table().texts.is_some()
    }

    /// Returns the names of values that are too short to be recognised everywhere: under 4 bytes they are not redacted at
    /// all, under 8 bytes not in response bodies. Worth a warning to the user.
    pub fn weak(&self) -> Vec<String> {
        let short = |entry: &&Entry| entry.value.expose().len() < MIN_BODY;
        self.table().entries.iter().filter(short).map(|entry| entry.name.clone()).collect()
    }

    /// Tells whether a text holds a placeholder of one of these secrets.
    pub fn stand_in(&self, text: &[u8]) -> bool {
        contains(text, PLACEHOLDER_PREFIX.as_bytes())
            && self.table().entries.iter().any(|entry| contains(text, entry.placeholder.as_bytes()))
    }

    /// Returns the values whose placeholders stand in one of these texts.
    pub(crate) fn standing_in(&self, texts: &[Cow<'_, [u8]>]) -> Vec<String> {
        let texts: Vec<_> = texts.iter().filter(|text| contains(text, PLACEHOLDER_PREFIX.as_bytes())).collect();
        if texts.is_empty() {
            return Vec::new();
        }
        let table = self.table();
        let stands = |entry: &&Entry| texts.iter().any(|text| contains(text, entry.placeholder.as_bytes()));
        table.entries.iter().filter(stands).map(|entry| entry.value.expose().to_owned()).collect()
    }

    /// Puts the values in where their placeholders stand.
    pub fn fill<'a>(&self, text: &'a str, form: Form) -> Cow<'a, str> {
        if !text.contains(PLACEHOLDER_PREFIX) {
            return Cow::Borrowed(text);
        }
        let table = self.table();
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        'text: while let Some(at) = rest.find(PLACEHOLDER_PREFIX) {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            for entry in &table.entries {
                if let Some(after) = from.strip_prefix(entry.placeholder.as_str()) {
                    filled.push_str(&form.write(entry.value.expose()));
                    rest = after;
                    continue 'text;
                }
            }
            filled.push_str(PLACEHOLDER_PREFIX);
            rest = from.get(PLACEHOLDER_PREFIX.len()..).unwrap_or_default();
        }
        filled.push_str(rest);
        Cow::Owned(filled)
    }

    /// Replaces every value in a text, in whatever form it stands there: plain, percent-encoded, escaped for JSON, Base64
    /// or hex. Where it can be, the replacement is the placeholder, so that a text that comes back works again.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let table = self.table();
        match &table.texts {
            Some(search) if search.patterns.is_match(text) => {
                Cow::Owned(search.patterns.replace_all(text, &search.replacements))
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// Replaces every value of 8 bytes or more in a response body; none where there is none.
    pub fn redact_body(&self, body: &[u8]) -> Option<Vec<u8>> {
        let table = self.table();
        let search = table.bodies.as_ref()?;
        // A body may hold placeholders (an echo of what the guest sent elsewhere); those alone change nothing.
        search
            .patterns
            .is_match(body)
            .then(|| search.patterns.replace_all_bytes(body, &search.replacements))
            .filter(|redacted| redacted != body)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Form {
    fn write(self, value: &str) -> Cow<'_, str> {
        match self {
            Form::Plain => Cow::Borrowed(value),
            Form::Percent => Cow::Owned(percent_encode(value, b"")),
            Form::Json => Cow::Owned(json_escape(value)),
        }
    }
}

impl Search {
    fn of(entries: &[Entry], min: usize) -> Option<Self> {
        let mut patterns: Vec<String> = Vec::new();
        let mut replacements = Vec::new();
        for entry in entries.iter().filter(|entry| entry.value.expose().len() >= min) {
            for (pattern, replacement) in forms(entry) {
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                    replacements.push(replacement);
                }
            }
        }
        if patterns.is_empty() {
            return None;
        }
        // A placeholder is found before a value that happens to be a part of it, and stays what it is.
        for entry in entries {
            patterns.push(entry.placeholder.clone());
            replacements.push(entry.placeholder.clone());
        }
        let patterns = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns).ok()?;
        Some(Self { patterns, replacements })
    }
}

/// Lists the texts that give a value away, each with what to write instead.
fn forms(entry: &Entry) -> Vec<(String, String)> {
    let value = entry.value.expose();
    let mut forms = Vec::new();
    let strict = percent_encode(value, b"");
    for text in [
        value.to_owned(),
        lower_escapes(&strict),
        // What encodeURIComponent, form fields and the URL standard leave as it is.
        percent_encode(value, b"!'()*"),
        percent_encode(value, b"*").replace("%20", "+").replace('~', "%7E"),
        percent_encode(value, b"!$&'()*+,;=:@/?"),
        strict,
        json_escape(value),
        json_escape(value).replace('/', "\\/"),
    ] {
        forms.push((text, entry.placeholder.clone()));
    }
    for offset in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = base64_inside(value.as_bytes(), offset, engine);
            if text.len() >= MIN_BASE64 {
                forms.push((text, REDACTED.to_owned()));
            }
        }
    }
    let hex: String = value.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    forms.push((hex.to_ascii_uppercase(), REDACTED.to_owned()));
    forms.push((hex, REDACTED.to_owned()));
    forms
}

/// Returns the characters of a Base64 text that depend on `value` alone when it stands at `offset` (modulo 3) of it.
fn base64_inside(value: &[u8], offset: usize, engine: &impl base64::Engine) -> String {
    let mut bytes = vec![0; offset];
    bytes.extend_from_slice(value);
    let text = engine.encode(&bytes);
    let start = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    text.get(start..end).unwrap_or_default().to_owned()
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 and those in `keep`.
pub(crate) fn percent_encode(text: &str, keep: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Writes `%2F` as `%2f`, and nothing else differently.
fn lower_escapes(text: &str) -> String {
    let mut escape = 0;
    let lower = text.chars().map(|c| {
        if c == '%' {
            escape = 2;
            return c;
        }
        if escape > 0 {
            escape -= 1;
            return c.to_ascii_lowercase();
        }
        c
    });
    lower.collect()
}

fn json_escape(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

fn unused_placeholder(name: &str, entries: &[Entry]) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-.~".contains(c) { c } else { '-' }).collect();
    let mut placeholder = format!("{PLACEHOLDER_PREFIX}{name}{PLACEHOLDER_SUFFIX}");
    let mut number = 2;
    while entries.iter().any(|entry| entry.placeholder == placeholder) {
        placeholder = format!("{PLACEHOLDER_PREFIX}{name}~{number}{PLACEHOLDER_SUFFIX}");
        number += 1;
    }
    placeholder
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    const VALUE: &str = "s3cr:et/+%~ \"x";

    fn one() -> Secrets {
        let secrets = Secrets::default();
        secrets.insert("auth.token", Secret::new(VALUE));
        secrets
    }

    #[test]
    fn a_secret_is_not_shown_by_debug_or_display() {
        let secret = Secret::new(VALUE);
        assert_eq!(format!("{secret:?} {secret}"), "[secret] [secret]");
        assert!(!format!("{:?}", one()).contains("s3cr"));
    }

    #[test]
    fn a_placeholder_is_filled_in_the_form_of_its_place() {
        let secrets = one();
        let text = "a=__secret.auth.token__&b=__secret.other__";
        assert_eq!(secrets.fill(text, Form::Plain), format!("a={VALUE}&b=__secret.other__"));
        assert_eq!(secrets.fill(text, Form::Percent), "a=s3cr%3Aet%2F%2B%25~%20%22x&b=__secret.other__");
        assert_eq!(secrets.fill(text, Form::Json), "a=s3cr:et/+%~ \\\"x&b=__secret.other__");
    }

    #[test]
    fn every_form_of_a_value_is_redacted() {
        let secrets = one();
        let hex: String = VALUE.bytes().map(|byte| format!("{byte:02X}")).collect();
        let mut leaks = vec![
            VALUE.to_owned(),
            percent_encode(VALUE, b""),
            percent_encode(VALUE, b"").replace("%3A", "%3a").replace("%2F", "%2f").replace("%2B", "%2b"),
            "s3cr%3Aet%2F%2B%25%7E+%22x".to_owned(),
            json_escape(VALUE),
            hex.to_lowercase(),
            hex,
        ];
        for before in ["", "u", "us", "user:"] {
            leaks.push(base64::engine::general_purpose::STANDARD.encode(format!("{before}{VALUE}")));
            leaks.push(base64::engine::general_purpose::URL_SAFE.encode(format!("{before}{VALUE}!")));
        }
        for leak in leaks {
            let text = secrets.redact(&leak).into_owned();
            assert!(text.contains("redacted") || text.contains("__secret.auth.token__"), "{leak} became {text}");
            assert!(!text.contains("3cr"), "{leak} became {text}");
        }
    }

    #[test]
    fn a_redacted_text_is_redacted_again_without_a_change() {
        let secrets = Secrets::default();
        secrets.insert("a", Secret::new("secret"));
        let once = secrets.redact("my secret").into_owned();
        assert_eq!(once, "my __secret.a__");
        assert_eq!(secrets.redact(&once), once);
    }

    #[test]
    fn short_values_are_reported_and_do_not_change_bodies() {
        let secrets = Secrets::default();
        secrets.insert("pin", Secret::new("1234"));
        secrets.insert("x", Secret::new("ab"));
        secrets.insert("long", Secret::new("0123456789abcdef"));
        assert_eq!(secrets.weak(), ["pin", "x"]);
        assert_eq!(secrets.redact_body(b"{\"id\":12345}"), None);
        assert_eq!(secrets.redact("pin 1234 ab"), "pin __secret.pin__ ab");
        assert_eq!(secrets.redact_body(b"k=0123456789abcdef").as_deref(), Some(&b"k=__secret.long__"[..]));
        assert_eq!(secrets.redact_body(b"k=__secret.long__"), None);
    }

    #[test]
    fn names_that_look_alike_get_placeholders_of_their_own() {
        let secrets = Secrets::default();
        assert_eq!(secrets.insert("a b", Secret::new("1")), "__secret.a-b__");
        assert_eq!(secrets.insert("a/b", Secret::new("2")), "__secret.a-b~2__");
        assert_eq!(secrets.insert("a b", Secret::new("3")), "__secret.a-b__");
        assert_eq!(secrets.fill("__secret.a-b__", Form::Plain), "3");
    }
}
