//! What the adversary can do to a connector, and what must hold when it does.

use serde::Serialize;

/// A kind of case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 429 with Retry-After, in seconds or as a date.
    Throttled,
    /// 429 without a word of when to come back.
    ThrottledMute,
    /// 503, with Retry-After or without.
    Unavailable,
    /// 500, 502 or 504.
    ServerError,
    /// No connection.
    Refused,
    /// An answer that breaks off.
    Cut,
    /// No answer.
    Silence,
    /// Answers that take long.
    Slow,
    /// All of these, before every answer.
    Storm,
    /// An API that is down from some request on, and back for the next run.
    Outage,
    /// Death of the process at one request.
    Killed,
    /// Death of the process at every request, once at each.
    KilledEverywhere,
    /// 401, 403, 404 or 410 for one request.
    Forbidden,
    /// A 200 whose JSON ends in the middle.
    Truncated,
    /// A 200 that tells of an error.
    ErrorBody,
    /// A 200 with a page for people.
    Html,
    /// A 200 with `{}`.
    EmptyObject,
    /// A 200 with nothing in it.
    NoBody,
    /// A page in the place of the one behind it, once.
    PageAgain,
    /// Pages that lead back to an earlier one.
    Cycle,
    /// A page without its last records.
    PageShort,
    /// A page in the middle without records.
    PageEmpty,
    /// A page in the place of the one before it.
    PageSkipped,
    /// A total that is another one from some page on.
    TotalChanges,
    /// A number that becomes text, or text that becomes a number.
    TypeChanged,
    /// A scalar that becomes an object or a list.
    ShapeChanged,
    /// Null in the place of a value.
    Nulled,
    /// A field that was not there.
    FieldAdded,
    /// A field that is gone.
    FieldRemoved,
    /// The records of a page in another order.
    Reordered,
}

/// What must hold in a case of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Every record is there exactly once, and the verdict is that of the undisturbed run.
    Survive,
    /// The run does not call itself complete; the next one is as if nothing had been.
    TellAndRecover,
    /// The verdict is `complete` only if every record is there exactly once, as the API gave it.
    NeverFalselyComplete,
}

impl Kind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 30] = [
        Self::Throttled,
        Self::ThrottledMute,
        Self::Unavailable,
        Self::ServerError,
        Self::Refused,
        Self::Cut,
        Self::Silence,
        Self::Slow,
        Self::Storm,
        Self::Killed,
        Self::KilledEverywhere,
        Self::Outage,
        Self::Forbidden,
        Self::Truncated,
        Self::ErrorBody,
        Self::Html,
        Self::EmptyObject,
        Self::NoBody,
        Self::PageAgain,
        Self::Cycle,
        Self::PageShort,
        Self::PageEmpty,
        Self::PageSkipped,
        Self::TotalChanges,
        Self::TypeChanged,
        Self::ShapeChanged,
        Self::Nulled,
        Self::FieldAdded,
        Self::FieldRemoved,
        Self::Reordered,
    ];

    /// Its name, as it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ThrottledMute => "throttled-mute",
            Self::Unavailable => "unavailable",
            Self::ServerError => "server-error",
            Self::Refused => "refused",
            Self::Cut => "cut",
            Self::Silence => "silence",
            Self::Slow => "slow",
            Self::Storm => "storm",
            Self::Killed => "killed",
            Self::KilledEverywhere => "killed-everywhere",
            Self::Outage => "outage",
            Self::Forbidden => "forbidden",
            Self::Truncated => "truncated",
            Self::ErrorBody => "error-body",
            Self::Html => "html",
            Self::EmptyObject => "empty-object",
            Self::NoBody => "no-body",
            Self::PageAgain => "page-again",
            Self::Cycle => "cycle",
            Self::PageShort => "page-short",
            Self::PageEmpty => "page-empty",
            Self::PageSkipped => "page-skipped",
            Self::TotalChanges => "total-changes",
            Self::TypeChanged => "type-changed",
            Self::ShapeChanged => "shape-changed",
            Self::Nulled => "nulled",
            Self::FieldAdded => "field-added",
            Self::FieldRemoved => "field-removed",
            Self::Reordered => "reordered",
        }
    }

    /// What is done, in a few words.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Throttled => "429 with Retry-After",
            Self::ThrottledMute => "429 without Retry-After",
            Self::Unavailable => "503, with and without Retry-After",
            Self::ServerError => "500, 502 and 504",
            Self::Refused => "no connection",
            Self::Cut => "an answer that breaks off",
            Self::Silence => "no answer",
            Self::Slow => "an answer that takes long",
            Self::Storm => "all of these, before every answer",
            Self::Killed => "death at a request",
            Self::KilledEverywhere => "death at every request",
            Self::Outage => "an API that goes away, and is back for the next run",
            Self::Forbidden => "401, 403, 404 or 410 in the middle",
            Self::Truncated => "200 with JSON that ends too early",
            Self::ErrorBody => "200 with an error",
            Self::Html => "200 with a page for people",
            Self::EmptyObject => "200 with {}",
            Self::NoBody => "200 with nothing",
            Self::PageAgain => "a page that comes twice",
            Self::Cycle => "pages that lead in a circle",
            Self::PageShort => "a page without its last records",
            Self::PageEmpty => "a page in the middle without records",
            Self::PageSkipped => "a page that is left out",
            Self::TotalChanges => "a total that changes",
            Self::TypeChanged => "a value of another type",
            Self::ShapeChanged => "an object or a list for a value",
            Self::Nulled => "null for a value",
            Self::FieldAdded => "a field that was not there",
            Self::FieldRemoved => "a field that is gone",
            Self::Reordered => "records in another order",
        }
    }

    /// What must hold.
    pub fn rule(self) -> Rule {
        match self {
            Self::Throttled
            | Self::ThrottledMute
            | Self::Unavailable
            | Self::ServerError
            | Self::Refused
            | Self::Cut
            | Self::Silence
            | Self::Slow
            | Self::Storm
            | Self::Killed
            | Self::KilledEverywhere => Rule::Survive,
            Self::Outage | Self::TotalChanges => Rule::TellAndRecover,
            _ => Rule::NeverFalselyComplete,
        }
    }
}
