//! What was recorded: exchanges, each a request line and the whole response.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::literal;

/// One request and its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// `GET`, `POST`, ….
    pub method: String,
    /// Host that answered.
    pub host: String,
    /// Path without the query.
    pub path: String,
    /// Query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Status.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body's text.
    pub body: String,
}

/// Why a recording can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file can't be read.
    #[error("the recording can not be read: {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no recording.
    #[error("no exchange of a status and ten lines at line {line}")]
    Form {
        /// Line in the file, from 1.
        line: usize,
    },
}

/// Exchanges in the order in which they were recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The exchanges.
    pub exchanges: Vec<Exchange>,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// Where the file is missing or has another form.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| RecordingError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads the text of a file: for each exchange ten lines (scheme, method, host, port, target,
    /// request headers, request body, status, headers, body) and an empty one.
    ///
    /// # Errors
    /// Where an exchange is cut off or has no status.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        // Not `str::lines`: bodies may hold a carriage return at their end.
        let lines: Vec<&str> = text.split('\n').collect();
        let mut exchanges = Vec::new();
        let mut at = 0;
        while lines.get(at).is_some_and(|line| !line.is_empty()) {
            let error = || RecordingError::Form { line: at + 1 };
            let Some([_, method, host, _, target, _, _, status, headers, body]) = lines.get(at..at + 10) else {
                return Err(error());
            };
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let texts = literal::texts(headers);
            exchanges.push(Exchange {
                method: (*method).to_owned(),
                host: (*host).to_owned(),
                path: path.to_owned(),
                query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
                status: status.parse().map_err(|_| error())?,
                headers: texts
                    .chunks_exact(2)
                    .filter_map(|pair| Some((pair.first()?.to_ascii_lowercase(), pair.get(1)?.clone())))
                    .collect(),
                body: (*body).to_owned(),
            });
            at += 11;
        }
        Ok(Self { exchanges })
    }

    /// The exchanges of this recording that stand at a path.
    pub fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Exchange> {
        self.exchanges.iter().filter(move |exchange| exchange.path == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "https\nGET\napi.github.com\nNone\n/repos/a/b/issues?page=2&q=x%20y\n{'Authorization': 'token x'}\nNone\n200\n[('Link', '<https://api.github.com/x?page=3>; rel=\"next\"'), ('etag', '\"1\"')]\n[{\"id\":1}]\n\nhttps\nGET\napi.github.com\nNone\n/repos/a/c\n{}\nNone\n404\n[]\n{}\n\n";

    #[test]
    fn a_recording_is_read_exchange_by_exchange() -> anyhow::Result<()> {
        let recording = Recording::parse(TWO)?;
        let [first, second] = recording.exchanges.as_slice() else { anyhow::bail!("two exchanges") };
        assert_eq!(
            (first.path.as_str(), first.status, first.body.as_str()),
            ("/repos/a/b/issues", 200, "[{\"id\":1}]")
        );
        assert_eq!(first.query, [("page".into(), "2".into()), ("q".into(), "x y".into())]);
        assert_eq!(first.headers.first().map(|(name, _)| name.as_str()), Some("link"));
        assert_eq!(second.status, 404);
        Ok(())
    }

    #[test]
    fn a_cut_recording_is_an_error() {
        let cut = TWO.split_at(TWO.len() - 12).0;
        assert!(matches!(Recording::parse(cut), Err(RecordingError::Form { .. })), "{cut}");
    }
}
