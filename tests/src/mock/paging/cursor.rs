//! Opaque tokens.

use serde_json::Value;

use super::{Ask, Cycle, Paging, slice};
use crate::mock::{
    answer::{Answer, Envelope},
    dataset::Dataset,
};

/// Where the next token stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// `next` in the body.
    #[default]
    Body,
    /// `meta.paging.next` in the body.
    Nested,
    /// The header `x-next-cursor`.
    Header,
    /// A whole URL in `next` of the body.
    Url,
    /// A URL without host in `next` of the body.
    RelativeUrl,
    /// A whole URL in the header `next-page`.
    HeaderUrl,
}

/// How an answer says that nothing follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The token is missing.
    #[default]
    Missing,
    /// The token is `null`; in a header, missing.
    Null,
    /// The token is the empty text.
    Empty,
    /// The token is there always, and `has_more` says `false`.
    HasMore,
    /// The token is there always, and an empty page is the end.
    EmptyPage,
}

/// `?cursor=TOKEN&limit=100`, or both as fields of a JSON body.
///
/// A token names the row after which to go on, so that records inserted in front shift nothing. It
/// holds characters that must be encoded exactly once.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Name of the parameter with the token.
    pub cursor: &'static str,
    /// Name of the parameter with the page size.
    pub limit: &'static str,
    /// Where the next token stands.
    pub place: Place,
    /// How the end shows.
    pub end: End,
    /// Tokens that lead back.
    pub cycle: Option<Cycle>,
    /// No token comes twice, also where the page does.
    pub fresh: bool,
}

impl Default for Cursor {
    fn default() -> Self {
        Self {
            cursor: "cursor",
            limit: "limit",
            place: Place::default(),
            end: End::default(),
            cycle: None,
            fresh: false,
        }
    }
}

impl From<Cursor> for Paging {
    fn from(paging: Cursor) -> Self {
        Self::Cursor(paging)
    }
}

impl Cursor {
    pub(super) fn answer(&self, ask: &Ask<'_>, data: &Dataset) -> Answer {
        let rows = data.listed();
        let size = ask.size(self.limit);
        let from = ask.parameter(self.cursor).map_or(0, |token| position(token, rows));
        let ids = slice(rows, from, ask.kept(size));
        let next = from + ids.len();
        let more = next < rows.len();
        let always = matches!(self.end, End::HasMore | End::EmptyPage) && (more || !ids.is_empty());
        let honest = (more || always).then_some(next);
        let token = Cycle::lead(self.cycle, from, size, honest).map(|next| {
            // A page without records must not hand out the token that led to it.
            let nonce = (self.fresh || ids.is_empty()).then_some(ask.number);
            token(rows, next, nonce)
        });
        let (mut fields, mut headers) = (Vec::new(), Vec::new());
        ask.count(rows.len(), size, &mut fields, &mut headers);
        if self.end == End::HasMore {
            fields.push(("has_more", (self.cycle.is_some() || more).into()));
        }
        self.place(ask, token, &mut fields, &mut headers);
        Answer { ids, envelope: Envelope::Object(fields), headers }
    }

    fn place(
        &self,
        ask: &Ask<'_>,
        token: Option<String>,
        fields: &mut Vec<(&'static str, Value)>,
        headers: &mut super::Headers,
    ) {
        let text = match (self.place, token) {
            (_, None) => None,
            (Place::Url | Place::HeaderUrl, Some(token)) => Some(ask.url(true, &[(self.cursor, token)])),
            (Place::RelativeUrl, Some(token)) => Some(ask.url(false, &[(self.cursor, token)])),
            (_, Some(token)) => Some(token),
        };
        let value = match (&text, self.end) {
            (Some(text), _) => Some(Value::from(text.as_str())),
            (None, End::Null) => Some(Value::Null),
            (None, End::Empty) => Some(Value::from("")),
            (None, _) => None,
        };
        match self.place {
            Place::Header => headers.extend(text.map(|text| ("x-next-cursor", text))),
            Place::HeaderUrl => headers.extend(text.map(|text| ("next-page", text))),
            Place::Nested => {
                let paging =
                    value.map_or_else(serde_json::Map::new, |value| [("next".to_owned(), value)].into_iter().collect());
                fields.push(("meta", serde_json::json!({ "paging": paging })));
            }
            _ => fields.extend(value.map(|value| ("next", value))),
        }
    }
}

/// `k+/ROW=POSITION` with an optional `~NONCE`: the row before the position, and the position for
/// when the row is gone or stands twice.
pub(super) fn token(rows: &[u32], position: usize, nonce: Option<u64>) -> String {
    let before = position.checked_sub(1).and_then(|place| rows.get(place)).copied().unwrap_or(0);
    let nonce = nonce.map_or_else(String::new, |nonce| format!("~{nonce}"));
    format!("k+/{before}={position}{nonce}")
}

/// The position that a token stands for now; a token that nobody made starts over, as careless
/// servers do.
pub(super) fn position(token: &str, rows: &[u32]) -> usize {
    let read = || {
        let (before, position) = token.strip_prefix("k+/")?.split_once('=')?;
        let position: usize = position.split('~').next()?.parse().ok()?;
        Some((before.parse::<u32>().ok()?, position))
    };
    let Some((before, position)) = read() else { return 0 };
    if before == 0 || position.checked_sub(1).and_then(|place| rows.get(place)) == Some(&before) {
        return position;
    }
    rows.iter().position(|id| *id == before).map_or(position, |place| place + 1)
}
