//! Colours, where a person looks.

use std::io::IsTerminal;

/// What a piece of text is, in a line of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As it is.
    Plain,
    /// What everything hangs on.
    Strong,
    /// A type.
    Kind,
    /// What there is more of.
    Good,
    /// What is to be looked at.
    Odd,
    /// What is missing.
    Bad,
    /// What matters less.
    Faint,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Kind => "36",
            Self::Good => "32",
            Self::Odd => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }

    /// Wraps a text, whose control characters are escaped already.
    pub(crate) fn paint(self, text: &str) -> String {
        match self.code() {
            "" => text.to_owned(),
            code => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// Whether standard output shows colours: on a terminal, unless `NO_COLOR` is set to anything (<https://no-color.org>) or the
/// terminal is a dumb one.
pub(crate) fn are_wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    std::io::stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}
