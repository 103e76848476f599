//! The streams.

mod changing;
mod events;
mod list;
mod repos;

use connector_sdk::prelude::*;

use crate::{config::Github, time};

/// A stream that is read by repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Issues; pull requests are among them, with the key `pull_request`.
    Issues,
    /// Pull requests.
    Pulls,
    /// Commits of the default branch.
    Commits,
    /// Releases.
    Releases,
    /// People, by the number of their commits.
    Contributors,
    /// The last 300 events.
    Events,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Issues, Self::Pulls, Self::Commits, Self::Releases, Self::Contributors, Self::Events];

    /// The stream's name, which is also the last part of its path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Pulls => "pulls",
            Self::Commits => "commits",
            Self::Releases => "releases",
            Self::Contributors => "contributors",
            Self::Events => "events",
        }
    }

    /// The field by which an incremental read goes on; none where the API offers no way.
    ///
    /// A release is dated by its commit and can be changed without a trace, and contributors are
    /// counts: both are always read in full.
    pub(crate) fn cursor_field(self) -> Option<&'static str> {
        match self {
            Self::Issues | Self::Pulls => Some("updated_at"),
            Self::Commits => Some("/commit/committer/date"),
            Self::Events => Some("created_at"),
            Self::Releases | Self::Contributors => None,
        }
    }

    fn stream(self, github: &Github) -> Stream {
        let stream = Stream::new(self.name());
        let stream = match self {
            // Forks share commits, and people contribute to many repositories.
            Self::Commits => stream.primary_key(["repository", "sha"]),
            // An anonymous one has neither id nor login, and no other field need be different.
            Self::Contributors if github.anonymous_contributors => stream,
            Self::Contributors => stream.primary_key(["repository", "id"]),
            _ => stream.primary_key(["id"]),
        };
        match self.cursor_field() {
            Some(field) => stream.cursor_field(field).incremental(),
            None => stream,
        }
    }
}

/// All streams.
pub(crate) fn all(github: &Github) -> Vec<Stream> {
    let repos = Stream::new(repos::NAME).primary_key(["id"]);
    std::iter::once(repos).chain(Kind::ALL.map(|kind| kind.stream(github))).collect()
}

/// The parts of a stream.
pub(crate) fn partitions(github: &Github, stream: &str) -> Result<Vec<Partition>> {
    if stream == repos::NAME {
        return repos::partitions(github);
    }
    github.names()?.into_iter().map(|name| Partition::new(name.clone()).context(&name)).collect()
}

/// Reads one part of a stream.
pub(crate) fn read(github: &Github, read: &Read) -> Result<Option<String>> {
    if read.stream == repos::NAME {
        return repos::read(github, read);
    }
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == read.stream) else {
        return Err(read.unknown_stream());
    };
    let repository: String = read.context()?;
    let read = starting(github, read);
    match kind {
        Kind::Issues | Kind::Pulls | Kind::Commits => changing::read(github, kind, &read, &repository),
        Kind::Releases | Kind::Contributors => list::read(github, kind, &read, &repository),
        Kind::Events => events::read(github, &read, &repository),
    }
}

/// A first read begins at the configured start.
fn starting(github: &Github, read: &Read) -> Read {
    let start = || github.start_date.as_deref().and_then(time::parse).map(time::format);
    Read { since: read.since.clone().or_else(start), ..read.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_date_is_the_first_watermark_and_no_other() -> Result<()> {
        let github: Github = connector_sdk::parse_config(r#"{"org": "a", "start_date": "2024-01-31T01:00:00+02:00"}"#)?;
        let since = |since: Option<&str>| {
            let read = Read { since: since.map(str::to_owned), ..Read::default() };
            starting(&github, &read).since
        };
        assert_eq!(since(None).as_deref(), Some("2024-01-30T23:00:00Z"));
        assert_eq!(since(Some("2025-01-01T00:00:00Z")).as_deref(), Some("2025-01-01T00:00:00Z"));
        Ok(())
    }

    #[test]
    fn a_stream_that_is_not_there_is_named() {
        let read = Read { stream: "stars".into(), ..Read::default() };
        let error = super::read(&Github::default(), &read);
        assert_eq!(error, Err(Error::config("no such stream: stars")));
    }
}
