//! Requests to the API, and what its refusals mean.

use std::collections::HashSet;

use connector_sdk::{HttpError, prelude::*};

use crate::config::{Github, Source};

/// The version of the API that this connector is written for; GitHub keeps each for at least two
/// years (docs.github.com/rest/about-the-rest-api/api-versions).
const API_VERSION: &str = "2022-11-28";

/// Records on a page unless configured: the most that the API gives.
const PER_PAGE: u32 = 100;

/// Statuses of a repository that is not there. They are taken as responses, so that the message can
/// say what to do; the host follows 301 to a repository that was renamed.
pub(crate) const GONE: [u16; 2] = [404, 451];

impl Github {
    /// A request for a path, with what every request carries.
    pub(crate) fn get(&self, path: &str) -> Request {
        let request = Request::get(format!("{}{path}", self.base_url()))
            .header("Accept", self.media_type.as_deref().unwrap_or("application/vnd.github+json"))
            .header("X-GitHub-Api-Version", API_VERSION)
            // GitHub refuses requests without one.
            .header("User-Agent", concat!("host-connector-github/", env!("CARGO_PKG_VERSION")));
        match &self.token {
            // `Bearer` is taken too, but Enterprise Servers and tools that record know only this.
            Some(token) => request.header("Authorization", format!("token {}", token.placeholder())),
            None => request,
        }
    }

    /// A request for a list.
    pub(crate) fn list(&self, path: &str) -> Request {
        self.get(path).query("per_page", self.per_page.unwrap_or(PER_PAGE))
    }

    /// A request for all repositories of a source; none for a single one.
    ///
    /// Sorted by creation, the oldest first, so that what is created meanwhile shifts nothing.
    pub(crate) fn repositories(&self, source: &Source) -> Option<Request> {
        let path = match source {
            Source::Repo(_) => return None,
            Source::Org(_) | Source::User(_) => format!("{}/repos", source.own_path()),
        };
        Some(self.list(&path).query("sort", "created").query("direction", "asc"))
    }

    /// The full names of all repositories, each once.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Repository {
            full_name: String,
        }
        let mut names = Vec::new();
        let mut known = HashSet::new();
        for source in self.sources() {
            let Some(mut request) = self.repositories(&source) else {
                // A single one has the name that it was given.
                if let Source::Repo(name) = source
                    && known.insert(name.to_ascii_lowercase())
                {
                    names.push(name);
                }
                continue;
            };
            let mut asked = HashSet::new();
            loop {
                let response = request.send().map_err(|error| explain(error, &source.name()))?;
                for Repository { full_name } in response.json::<Vec<Repository>>("")? {
                    // Names differ in more than case.
                    if known.insert(full_name.to_ascii_lowercase()) {
                        names.push(full_name);
                    }
                }
                let Some(next) = response.link("next") else { break };
                if !asked.insert(next.clone()) {
                    return Err(Error::data(format!("the list of repositories goes in a circle at {next}")));
                }
                request = request.follow(next, &[]);
            }
        }
        Ok(names)
    }
}

/// What a refusal means, with the next step.
pub(crate) fn explain(error: HttpError, what: &str) -> Error {
    match error.status() {
        Some(status) if GONE.contains(&status) => gone(status, what),
        _ => Error::from(error).context(what),
    }
}

/// The error of a repository, organisation or user that is not there.
///
/// It ends the read of its partition: what can't be read must not look like what is empty.
pub(crate) fn gone(status: u16, what: &str) -> Error {
    let reason = match status {
        451 => "is blocked for legal reasons (451); take it out of the configuration",
        _ => {
            "is not there (404): deleted, or private and the token may not see it; \
             take it out of the configuration, or use a token that may read it"
        }
    };
    Error::http(format!("{what} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github(config: &str) -> Result<Github> {
        connector_sdk::parse_config(config)
    }

    #[test]
    fn every_request_says_who_asks_and_for_which_version() -> Result<()> {
        let request = github(r#"{"org": "a", "token": "secret-1", "per_page": 3}"#)?.list("/orgs/a/repos");
        assert_eq!(request.to_string(), "GET https://api.github.com/orgs/a/repos?per_page=3");
        let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(header("Authorization"), Some("token secret-1"));
        assert_eq!(header("Accept"), Some("application/vnd.github+json"));
        assert_eq!(header("X-GitHub-Api-Version"), Some("2022-11-28"));
        assert!(header("User-Agent").is_some());
        Ok(())
    }

    #[test]
    fn repositories_are_listed_by_creation() -> Result<()> {
        let github = github(r#"{"user": "a", "base_url": "http://h/api/v3/"}"#)?;
        let request = github.repositories(&Source::User("a".into()));
        let text = request.map(|request| request.to_string());
        let expected = "GET http://h/api/v3/users/a/repos?per_page=100&sort=created&direction=asc";
        assert_eq!(text.as_deref(), Some(expected));
        assert_eq!(github.repositories(&Source::Repo("a/b".into())), None);
        Ok(())
    }

    #[test]
    fn what_is_gone_is_an_error_with_the_next_step() {
        let status = |status| HttpError::Status { url: "u".into(), status, attempts: 1, excerpt: "x".into() };
        let error = explain(status(404), "repository a/b").to_string();
        assert!(error.starts_with("request failed: repository a/b is not there (404)"), "{error}");
        assert!(error.contains("take it out of the configuration"), "{error}");
        assert!(explain(status(451), "repository a/b").to_string().contains("legal reasons"));
        assert!(matches!(explain(status(403), "repository a/b"), Error::Auth(_)));
    }
}
