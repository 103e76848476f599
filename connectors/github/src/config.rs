//! What the user configures.

use connector_sdk::prelude::*;

use crate::time;

/// The configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Github {
    /// Any GitHub token; without one only what is public is seen, at 60 requests an hour.
    pub(crate) token: Option<Secret>,
    /// An organisation.
    pub(crate) org: Option<String>,
    /// A user.
    pub(crate) user: Option<String>,
    /// Single repositories.
    #[serde(default)]
    pub(crate) repos: Vec<String>,
    /// GitHub itself, or `https://HOST/api/v3` of an Enterprise Server.
    base_url: Option<String>,
    /// Records on a page.
    pub(crate) per_page: Option<u32>,
    /// The first incremental read begins here.
    pub(crate) start_date: Option<String>,
    /// Which issues and pull requests.
    #[serde(default)]
    pub(crate) state: State,
    /// The order of a full read of issues and pull requests.
    #[serde(default)]
    pub(crate) order: Order,
    /// Also people who committed with an address that belongs to no account.
    #[serde(default)]
    pub(crate) anonymous_contributors: bool,
    /// `Accept` of every request.
    pub(crate) media_type: Option<String>,
}

/// Which issues and pull requests are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// All of them.
    #[default]
    All,
    /// Open ones, the API's default, for which nothing is sent.
    Open,
    /// Closed ones.
    Closed,
}

/// The order of a full read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// By creation, the oldest first: what is new stands behind what is read.
    #[default]
    OldestFirst,
    /// By creation, the newest first, the API's default, for which nothing is sent.
    NewestFirst,
}

/// Where repositories come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// All of an organisation.
    Org(String),
    /// All that a user owns.
    User(String),
    /// This one, `OWNER/NAME`.
    Repo(String),
}

impl Source {
    /// What it is called in messages, and as a partition.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Org(name) => format!("organisation {name}"),
            Self::User(name) => format!("user {name}"),
            Self::Repo(name) => format!("repository {name}"),
        }
    }

    /// The path of the organisation, user or repository itself.
    pub(crate) fn own_path(&self) -> String {
        match self {
            Self::Org(name) => format!("/orgs/{name}"),
            Self::User(name) => format!("/users/{name}"),
            Self::Repo(name) => format!("/repos/{name}"),
        }
    }
}

impl Github {
    /// The API's address, without a slash at the end.
    pub(crate) fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or("https://api.github.com").trim_end_matches('/')
    }

    /// Where repositories come from, in the order of the configuration.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let org = self.org.clone().map(Source::Org);
        let user = self.user.clone().map(Source::User);
        org.into_iter().chain(user).chain(self.repos.iter().cloned().map(Source::Repo)).collect()
    }

    /// Refuses what the schema lets pass: names go into paths as they are.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.sources().is_empty() {
            return Err(Error::config("one of `org`, `user` and `repos` is needed: org = rust-lang, for example"));
        }
        for (field, name) in [("org", &self.org), ("user", &self.user)] {
            if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
                return Err(Error::config(format!("`{field}` is a name as it stands in a URL of GitHub: {name}")));
            }
        }
        for repo in &self.repos {
            if !repo.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name)) {
                return Err(Error::config(format!("`repos` has names of the form OWNER/NAME: {repo}")));
            }
        }
        if self.per_page.is_some_and(|size| !(1..=100).contains(&size)) {
            return Err(Error::config("`per_page` is a number from 1 to 100"));
        }
        match &self.start_date {
            Some(date) if time::parse(date).is_none() => {
                Err(Error::config(format!("`start_date` is a date or a time such as 2024-01-31T00:00:00Z: {date}")))
            }
            _ => Ok(()),
        }
    }
}

/// A name of GitHub: no slash, and no dots that lead elsewhere.
fn is_name(text: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !text.is_empty() && text != "." && text != ".." && text.chars().all(letters)
}

/// The JSON Schema of the configuration.
pub(crate) fn schema() -> impl std::fmt::Display {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "anyOf": [{ "required": ["org"] }, { "required": ["user"] }, { "required": ["repos"] }],
        "properties": {
            "org": {
                "type": "string",
                "title": "Organisation",
                "description": "All repositories of this organisation.",
                "pattern": "^[A-Za-z0-9._-]+$",
                "examples": ["rust-lang"]
            },
            "user": {
                "type": "string",
                "title": "User",
                "description": "All repositories that this user owns.",
                "pattern": "^[A-Za-z0-9._-]+$",
                "examples": ["octocat"]
            },
            "repos": {
                "type": "array",
                "title": "Repositories",
                "description": "Single repositories, in place of or besides those above.",
                "items": { "type": "string", "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", "examples": ["octocat/Hello-World"] },
                "minItems": 1,
                "uniqueItems": true,
                "examples": [["octocat/Hello-World"]]
            },
            "token": {
                "type": "string",
                "title": "Token",
                "description": "A personal access token or an app's. Without one only what is public is seen, at 60 requests an hour.",
                "writeOnly": true
            },
            "base_url": {
                "type": "string",
                "title": "Address of the API",
                "description": "For an Enterprise Server: https://HOST/api/v3.",
                "format": "uri",
                "default": "https://api.github.com"
            },
            "per_page": {
                "type": "integer",
                "title": "Records on a page",
                "minimum": 1,
                "maximum": 100,
                "default": 100
            },
            "start_date": {
                "type": "string",
                "title": "Start",
                "description": "The first read of an incremental stream begins here instead of at the beginning.",
                "examples": ["2024-01-31T00:00:00Z", "2024-01-31"]
            },
            "state": {
                "title": "State",
                "description": "Which issues and pull requests.",
                "enum": ["all", "open", "closed"],
                "default": "all"
            },
            "order": {
                "title": "Order of a full read",
                "description": "Of issues and pull requests. With newest_first, what is opened during the read makes records come twice.",
                "enum": ["oldest_first", "newest_first"],
                "default": "oldest_first"
            },
            "anonymous_contributors": {
                "type": "boolean",
                "title": "Anonymous contributors",
                "description": "Also people who committed with an address that belongs to no account.",
                "default": false
            },
            "media_type": {
                "type": "string",
                "title": "Media type",
                "description": "What Accept asks for; older Enterprise Servers know application/vnd.github.v3+json.",
                "default": "application/vnd.github+json"
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str) -> Result<Github> {
        let github: Github = connector_sdk::parse_config(config)?;
        github.validate().map(|()| github)
    }

    #[test]
    fn sources_come_in_order() -> Result<()> {
        let github = check(r#"{"org": "rust-lang", "repos": ["a/b.c"], "base_url": "http://here/api/v3/"}"#)?;
        assert_eq!(github.sources(), [Source::Org("rust-lang".into()), Source::Repo("a/b.c".into())]);
        assert_eq!(github.base_url(), "http://here/api/v3");
        Ok(())
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused_with_the_field() {
        for (config, reason) in [
            ("{}", "one of `org`, `user` and `repos` is needed"),
            (r#"{"org": "a/b"}"#, "`org` is a name"),
            (r#"{"user": ".."}"#, "`user` is a name"),
            (r#"{"repos": ["a/b/c"]}"#, "`repos` has names of the form OWNER/NAME: a/b/c"),
            (r#"{"repos": ["a"]}"#, "`repos` has names"),
            (r#"{"org": "a", "per_page": 101}"#, "`per_page` is a number from 1 to 100"),
            (r#"{"org": "a", "start_date": "soon"}"#, "`start_date` is a date"),
            (r#"{"org": "a", "tokn": "x"}"#, "unknown field `tokn`"),
        ] {
            match check(config) {
                Err(Error::Config(found)) => assert!(found.contains(reason), "{found}"),
                other => assert!(other.is_err(), "{config} is refused"),
            }
        }
    }
}
