//! What a connection keeps between runs that is secret: values set by hand, and tokens. One sealed file a connection,
//! `OUT/_auth/CONNECTION`.
//!
//! The file is sealed with ChaCha20-Poly1305 (RFC 8439) under a key that lies elsewhere ([`SealingKey`]), with a random nonce
//! each time and the connection's name as associated data. A change is written to a file beside it, synced, and renamed over
//! it: after a crash there is the old content or the new, whole.
//!
//! Invariant: whoever changes it holds `OUT/_locks/CONNECTION.auth`, from reading to writing, so that of two processes the
//! second sees what the first has stored.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

/// How a sealed file begins; the number is its form.
const MAGIC: &[u8] = b"host-auth-1\n";
/// A file has a few tokens of a few kilobytes; a larger one is none of ours.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Where the key lies that seals the files.
pub trait SealingKey: Send + Sync + 'static {
    /// Returns the key to seal with, or makes one where there is none yet.
    ///
    /// # Errors
    /// Why there is none, with the next step, for a user.
    fn key(&self) -> Result<[u8; 32], String>;

    /// Offers each key that is there to `opens`, until one does. It makes none: a new key opens nothing, and would stand in
    /// the way of the one that does, which may only be out of reach. Tells whether there was any.
    ///
    /// # Errors
    /// As [`SealingKey::key`].
    fn offer(&self, opens: &mut dyn FnMut([u8; 32]) -> bool) -> Result<bool, String>;
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no key.
    #[error("there is no key for stored credentials: {0}")]
    Key(String),
    /// The file's key is out of reach.
    #[error(
        "{} cannot be opened: there is no key file, and the keyring has no key for it, is locked, or is out of reach",
        .0.display()
    )]
    NoKey(PathBuf),
    /// A file can't be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was sealed with another key, or is damaged.
    #[error("{} is damaged, or was sealed with another key", .0.display())]
    Sealed(PathBuf),
}

/// The sealed file of one connection. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    out: PathBuf,
    connection: String,
    key: Arc<dyn SealingKey>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path().display())
    }
}

/// What is in a store.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Content {
    /// Values set by hand, by their names.
    #[serde(default)]
    pub(crate) values: BTreeMap<String, String>,
    /// Tokens, by a digest of what they were given for.
    #[serde(default)]
    pub(crate) tokens: BTreeMap<String, StoredToken>,
}

/// A token and what renews it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredToken {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    /// When it ends, in milliseconds since the Unix epoch.
    pub(crate) expires_at_ms: Option<u64>,
    /// How long it lives in all.
    pub(crate) lifetime_ms: Option<u64>,
    /// The scheme it is of, for people.
    pub(crate) scheme: String,
}

/// A name in a store, and what is known of it without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of a value, or the scheme of a token.
    pub name: String,
    /// Whether it is a token.
    pub token: bool,
    /// When a token ends, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// The right to change a store; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

impl Store {
    /// Makes the store of a connection below an output folder. Nothing is read or written yet.
    pub fn new(out: &Path, connection: &str, key: Arc<dyn SealingKey>) -> Self {
        Self { out: out.to_owned(), connection: connection.to_owned(), key }
    }

    /// Where the sealed file is.
    pub fn path(&self) -> PathBuf {
        self.out.join("_auth").join(&self.connection)
    }

    /// Returns a value that was set by hand.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn value(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.read()?.values.remove(name))
    }

    /// Sets a value, or removes it; tells whether there was one before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn set(&self, name: &str, value: Option<String>) -> Result<bool, StoreError> {
        let _held = self.hold()?;
        let mut content = self.read()?;
        let before = match value {
            Some(value) => content.values.insert(name.to_owned(), value),
            None => content.values.remove(name),
        };
        self.write(&content)?;
        Ok(before.is_some())
    }

    /// Forgets the tokens of a scheme; tells whether there were any.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn forget(&self, scheme: &str) -> Result<bool, StoreError> {
        let _held = self.hold()?;
        let mut content = self.read()?;
        let before = content.tokens.len();
        content.tokens.retain(|_, token| token.scheme != scheme);
        let forgotten = content.tokens.len() < before;
        if forgotten {
            self.write(&content)?;
        }
        Ok(forgotten)
    }

    /// Lists what there is, without any value.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let content = self.read()?;
        let values = content.values.into_keys();
        let values = values.map(|name| Entry { name, token: false, expires_at_ms: None, renewable: false });
        let tokens = content.tokens.into_values().map(|token| Entry {
            name: token.scheme,
            token: true,
            expires_at_ms: token.expires_at_ms,
            renewable: token.refresh.is_some(),
        });
        Ok(values.chain(tokens).collect())
    }

    /// Waits for the right to change the store.
    pub(crate) fn hold(&self) -> Result<Held, StoreError> {
        let folder = self.out.join("_locks");
        let path = folder.join(format!("{}.auth", self.connection));
        let lock = || {
            fs::create_dir_all(&folder)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map(|file| Held { _file: file }).map_err(|source| StoreError::Io { path: path.clone(), source })
    }

    /// Opens the file. There is nothing in a file that is not there.
    pub(crate) fn read(&self) -> Result<Content, StoreError> {
        let path = self.path();
        let io = |source| StoreError::Io { path: path.clone(), source };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
            Err(error) => return Err(io(error)),
            Ok(metadata) if metadata.len() > MAX_BYTES => return Err(StoreError::Sealed(path)),
            Ok(_) => {}
        }
        let sealed = fs::read(&path).map_err(io)?;
        let damaged = || StoreError::Sealed(path.clone());
        let (head, text) = sealed.split_at_checked(MAGIC.len() + NONCE_LEN).ok_or_else(damaged)?;
        let nonce = head.strip_prefix(MAGIC).and_then(|nonce| <[u8; NONCE_LEN]>::try_from(nonce).ok());
        let nonce = nonce.ok_or_else(damaged)?;
        let mut content = None;
        let mut opens = |key: [u8; 32]| {
            let (Ok(cipher), mut text) = (cipher(&key), text.to_vec()) else { return false };
            let opened = cipher.open_in_place(Nonce::assume_unique_for_key(nonce), self.aad(), &mut text);
            content = opened.ok().map(|text| serde_json::from_slice(text).map_err(|_| damaged()));
            content.is_some()
        };
        let offered = self.key.offer(&mut opens).map_err(StoreError::Key)?;
        content.unwrap_or_else(|| Err(if offered { damaged() } else { StoreError::NoKey(path.clone()) }))
    }

    /// Seals the content and puts it in the file's place; it is durable when this returns.
    pub(crate) fn write(&self, content: &Content) -> Result<(), StoreError> {
        let path = self.path();
        let io = |source| StoreError::Io { path: path.clone(), source };
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| io(io::Error::other("no random numbers")))?;
        let mut text = serde_json::to_vec(content).map_err(|error| io(error.into()))?;
        let key = self.key.key().map_err(StoreError::Key)?;
        cipher(&key)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(), &mut text)
            .map_err(|_| io(io::Error::other("too much to seal")))?;
        let folder = self.out.join("_auth");
        let temporary = folder.join(format!(".{}.tmp", self.connection));
        let replace = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&nonce)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&folder)?.sync_all()
        };
        replace().map_err(io)
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        Aad::from(self.connection.clone().into_bytes())
    }
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, StoreError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    key.map(LessSafeKey::new).map_err(|_| StoreError::Key("it has the wrong length".to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A key that a test brings along.
    pub(crate) struct Fixed(pub(crate) u8);

    impl SealingKey for Fixed {
        fn key(&self) -> Result<[u8; 32], String> {
            Ok([self.0; 32])
        }

        fn offer(&self, opens: &mut dyn FnMut([u8; 32]) -> bool) -> Result<bool, String> {
            opens([self.0; 32]);
            Ok(true)
        }
    }

    #[test]
    fn what_is_set_is_there_again_and_nobody_else_can_read_it() {
        let out = tempfile::tempdir().unwrap();
        let store = Store::new(out.path(), "api", Arc::new(Fixed(1)));
        assert_eq!(store.value("token").unwrap(), None);
        assert!(!store.set("token", Some("s3cret-value".to_owned())).unwrap());
        assert_eq!(store.value("token").unwrap().as_deref(), Some("s3cret-value"));
        let bytes = fs::read(store.path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"));
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);

        let other_key = Store::new(out.path(), "api", Arc::new(Fixed(2)));
        assert!(matches!(other_key.value("token"), Err(StoreError::Sealed(_))));
        // A file of one connection is nothing to another.
        fs::copy(store.path(), out.path().join("_auth/other")).unwrap();
        let other = Store::new(out.path(), "other", Arc::new(Fixed(1)));
        assert!(matches!(other.value("token"), Err(StoreError::Sealed(_))));
        assert!(store.set("token", None).unwrap());
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn the_same_content_is_sealed_differently_each_time_and_damage_is_seen() {
        let out = tempfile::tempdir().unwrap();
        let store = Store::new(out.path(), "api", Arc::new(Fixed(1)));
        store.set("a", Some("b".to_owned())).unwrap();
        let one = fs::read(store.path()).unwrap();
        store.set("a", Some("b".to_owned())).unwrap();
        let two = fs::read(store.path()).unwrap();
        assert_ne!(one, two);
        for at in 0..two.len() {
            let mut damaged = two.clone();
            damaged[at] ^= 1;
            fs::write(store.path(), &damaged).unwrap();
            assert!(matches!(store.value("a"), Err(StoreError::Sealed(_))), "byte {at}");
            fs::write(store.path(), &two[..at]).unwrap();
            assert!(matches!(store.value("a"), Err(StoreError::Sealed(_))), "cut at {at}");
        }
    }
}
