//! `connectors.lock`: what the user has granted to which connector.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Difference, Grant};

/// The form of the file that this host writes.
const FORM: u32 = 1;

/// What stands at the top of the file.
const HEAD: &str = "# What the connectors of this folder may do, as their user has granted it. Written by `host … --grant`;\n\
    # take a line out to grant less. Keep it with your configuration.\n";

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("cannot use the grants {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("the grants {} are malformed: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// It was written by a newer host.
    #[error("the grants {} have the form {found}, and this host knows {FORM}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    form: u32,
    #[serde(default)]
    connector: Vec<Grant>,
}

/// The grants in a file.
#[derive(Debug, Default)]
pub struct Lock {
    grants: Vec<Grant>,
}

/// What the grants say of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may run, with what was granted.
    Granted(Grant),
    /// It is another component that asks for no more than was granted: it may run, with what it asks for.
    NoMore(Grant),
    /// Nothing was granted to a connector of this name.
    New,
    /// It is another component, and asks for more.
    More(Difference),
}

impl Lock {
    /// Reads the file; one that is missing grants nothing.
    ///
    /// # Errors
    /// When it cannot be read, or is not such a file.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let malformed = |reason: String| LockError::Malformed { path: path.to_owned(), reason };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(LockError::Io { path: path.to_owned(), source }),
        };
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let Form { form } = toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
        if form > FORM {
            return Err(LockError::Newer { path: path.to_owned(), found: form });
        }
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count());
            malformed(format!("{} (line {})", error.message(), line.max(1)))
        })?;
        Ok(Self { grants: file.connector })
    }

    /// Decides about a connector by what it asks for.
    pub fn decide(&self, wants: &Grant) -> Decision {
        let Some(grant) = self.grants.iter().find(|grant| grant.name == wants.name) else { return Decision::New };
        if grant.digest == wants.digest {
            return Decision::Granted(grant.clone());
        }
        let more = wants.beyond(grant);
        if more.is_empty() { Decision::NoMore(wants.clone()) } else { Decision::More(more) }
    }

    /// Writes a grant into the file, in the place of the one for the connector's name. What another process has granted
    /// meanwhile stays.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is no such file.
    pub fn grant(path: &Path, grant: Grant) -> Result<(), LockError> {
        let _held = hold(path).map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        let mut lock = Self::read(path)?;
        lock.put(grant);
        lock.write(path)
    }

    fn put(&mut self, grant: Grant) {
        self.grants.retain(|other| other.name != grant.name);
        self.grants.push(grant);
        self.grants.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Writes the file, whole or not at all.
    fn write(&self, path: &Path) -> Result<(), LockError> {
        let file = File { form: FORM, connector: self.grants.clone() };
        let malformed =
            |error: toml::ser::Error| LockError::Malformed { path: path.to_owned(), reason: error.to_string() };
        let text = format!("{HEAD}{}", toml::to_string_pretty(&file).map_err(malformed)?);
        crate::run::write_whole(path, &text).map_err(|source| LockError::Io { path: path.to_owned(), source })
    }
}

/// Waits for the right to change the file. It is its folder that is locked: the file itself is another one after each change,
/// and a file beside it would be one more to keep.
fn hold(path: &Path) -> io::Result<fs::File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(digest: &str, methods: &[&str]) -> Grant {
        Grant {
            name: "items".to_owned(),
            version: "1.0.0".to_owned(),
            digest: digest.to_owned(),
            hosts: vec!["{base_url=https://api.example.com}".to_owned()],
            tokens: vec!["https://login.example.com/token".to_owned()],
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            secrets: vec!["a \"quoted\"\n\u{7f}name".to_owned()],
            limits: Vec::new(),
        }
    }

    #[test]
    fn a_grant_is_the_same_after_it_was_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connectors.lock");
        let mut lock = Lock::read(&path).unwrap();
        let first = grant("00", &["GET"]);
        assert_eq!(lock.decide(&first), Decision::New);
        lock.put(first.clone());
        lock.put(Grant { name: "a".to_owned(), ..first.clone() });
        lock.write(&path).unwrap();
        let lock = Lock::read(&path).unwrap();
        assert_eq!(lock.decide(&first), Decision::Granted(first.clone()));
        assert_eq!(lock.decide(&grant("11", &["GET"])), Decision::NoMore(grant("11", &["GET"])));
        let Decision::More(more) = lock.decide(&grant("11", &["DELETE", "GET"])) else { panic!() };
        assert_eq!(more.to_string(), "  + method  DELETE");
        // The user took a method out: the same component runs with less.
        let mut narrowed = lock;
        narrowed.put(grant("00", &[]));
        assert_eq!(narrowed.decide(&first), Decision::Granted(grant("00", &[])));
    }

    #[test]
    fn grants_that_are_made_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connectors.lock");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..5 {
                        let name = format!("connector-{thread}-{number}");
                        Lock::grant(path, Grant { name, ..grant("00", &["GET"]) }).unwrap();
                    }
                });
            }
        });
        assert_eq!(Lock::read(&path).unwrap().grants.len(), 40);
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connectors.lock");
        for (text, says) in [
            ("form = 2\nwhatever = 1\n", "have the form 2, and this host knows 1"),
            ("form = 1\n[[connector]]\nname = \"a\"\nhost = []\n", "unknown field `host`"),
            ("form = 1\n[[connector]\n", "malformed"),
            ("", "missing field `form`"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Lock::read(&path).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
