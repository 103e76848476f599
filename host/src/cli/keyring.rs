//! The key that seals stored credentials: in the system's keyring where there is one, else in a file that only its owner can
//! read.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use host::auth::SealingKey;

type Key = [u8; 32];

/// Something of the system that keeps one secret text for this user.
trait Keyring {
    /// Returns the text; none where it has none, or cannot be reached.
    fn get(&self) -> Option<String>;
    /// Keeps a text. Tells whether it does.
    fn put(&self, text: &str) -> bool;
}

/// The desktop's keyring (org.freedesktop.secrets) by way of libsecret's own program, which takes secrets on standard input.
struct SecretTool;

const ATTRIBUTES: [&str; 4] = ["application", "connector-host", "use", "seal"];

impl Keyring for SecretTool {
    fn get(&self) -> Option<String> {
        let found = Command::new("secret-tool").arg("lookup").args(ATTRIBUTES).stdin(Stdio::null()).output().ok()?;
        found
            .status
            .success()
            .then(|| String::from_utf8_lossy(&found.stdout).trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    fn put(&self, text: &str) -> bool {
        let store = || {
            let mut command = Command::new("secret-tool");
            command.args(["store", "--label=host: key of stored credentials"]).args(ATTRIBUTES);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(text.as_bytes())?;
            }
            child.wait()
        };
        store().is_ok_and(|status: std::process::ExitStatus| status.success())
    }
}

/// Finds the key, once.
pub(crate) struct Keys {
    found: OnceLock<Result<Key, String>>,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self { found: OnceLock::new() }
    }
}

impl SealingKey for Keys {
    fn key(&self) -> Result<Key, String> {
        self.found.get_or_init(|| find(&key_file()?, keyring())).clone()
    }

    fn offer(&self, opens: &mut dyn FnMut(Key) -> bool) -> Result<bool, String> {
        offer(&key_file()?, keyring(), opens)
    }
}

/// Without a desktop's session there is nobody to ask.
fn keyring() -> Option<&'static dyn Keyring> {
    std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some().then_some(&SecretTool as &dyn Keyring)
}

fn key_file() -> Result<PathBuf, String> {
    let from_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = from_env("XDG_CONFIG_HOME").or_else(|| from_env("HOME").map(|home| home.join(".config")));
    let folder = folder.ok_or("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for a key file")?;
    Ok(folder.join("host").join("key"))
}

/// A key file that is there counts, so that a keyring which comes later locks nobody out. Else the keyring; else a new file.
fn find(file: &Path, keyring: Option<&dyn Keyring>) -> Result<Key, String> {
    if let Some(key) = read(file)? {
        return Ok(key);
    }
    if let Some(keyring) = keyring {
        if let Some(text) = keyring.get() {
            return kept(&text);
        }
        let (key, text) = random()?;
        // What cannot be read back is not kept.
        if keyring.put(&text) && keyring.get().as_deref() == Some(text.as_str()) {
            return Ok(key);
        }
    }
    let (_, text) = random()?;
    make(file, &text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    read(file)?.ok_or_else(|| format!("{} is gone", file.display()))
}

/// The key file first, as above; the keyring is not asked where that opens, since it may ask its user in turn.
fn offer(file: &Path, keyring: Option<&dyn Keyring>, opens: &mut dyn FnMut(Key) -> bool) -> Result<bool, String> {
    let in_file = read(file)?;
    if in_file.is_some_and(&mut *opens) {
        return Ok(true);
    }
    let in_keyring = keyring.and_then(Keyring::get).map(|text| kept(&text)).transpose()?;
    in_keyring.map(opens);
    Ok(in_file.or(in_keyring).is_some())
}

fn kept(text: &str) -> Result<Key, String> {
    parse(text).ok_or_else(|| "what the keyring keeps is no key".to_owned())
}

fn read(file: &Path) -> Result<Option<Key>, String> {
    let metadata = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
        Ok(metadata) => metadata,
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!("{0} can be read by others; run `chmod 600 {0}`", file.display()));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    parse(text.trim()).map(Some).ok_or_else(|| format!("{} holds no key; it has 64 hexadecimal digits", file.display()))
}

/// Makes the file, whole or not at all; where another process was first, its file stays.
fn make(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = folder.join(format!(".key.{}", std::process::id()));
    let mut new = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(new, "{text}")?;
    new.sync_all()?;
    let linked = fs::hard_link(&temporary, file);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

fn random() -> Result<(Key, String), String> {
    use std::fmt::Write as _;
    use std::io::Read as _;
    let mut key = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut key));
    read.map_err(|error| format!("the system has no random numbers: {error}"))?;
    let text = key.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((key, text))
}

fn parse(text: &str) -> Option<Key> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Fake {
        kept: Mutex<Option<String>>,
        broken: bool,
    }

    impl Keyring for Fake {
        fn get(&self) -> Option<String> {
            self.kept.lock().unwrap().clone()
        }

        fn put(&self, text: &str) -> bool {
            if !self.broken {
                *self.kept.lock().unwrap() = Some(text.to_owned());
            }
            true
        }
    }

    #[test]
    fn a_keyring_keeps_the_key_and_no_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host/key");
        let keyring = Fake::default();
        let key = find(&file, Some(&keyring)).unwrap();
        assert_eq!(find(&file, Some(&keyring)).unwrap(), key);
        assert!(!file.exists());
    }

    #[test]
    fn what_a_keyring_sealed_is_opened_by_it_alone_and_no_key_is_made_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host/key");
        let keyring = Fake::default();
        let key = find(&file, Some(&keyring)).unwrap();
        let opened = |keyring: Option<&dyn Keyring>| {
            let mut found = false;
            offer(&file, keyring, &mut |offered| {
                found |= offered == key;
                found
            })
            .map(|any| (any, found))
        };
        assert_eq!(opened(Some(&keyring)), Ok((true, true)));
        assert_eq!(opened(None), Ok((false, false)));
        assert_eq!(opened(Some(&Fake::default())), Ok((false, false)));
        assert!(!file.exists());
        // Where another key was made for something else, the keyring's still opens what it sealed.
        let other = find(&file, None).unwrap();
        assert!(file.exists() && other != key);
        assert_eq!((opened(Some(&keyring)), opened(None)), (Ok((true, true)), Ok((true, false))));
    }

    #[test]
    fn without_a_keyring_the_key_is_in_a_file_that_only_its_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host/key");
        let key = find(&file, Some(&Fake { broken: true, ..Fake::default() })).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // It stays the key, also where a keyring comes later.
        assert_eq!(find(&file, Some(&Fake::default())).unwrap(), key);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = find(&file, None).unwrap_err();
        assert_eq!(error, format!("{0} can be read by others; run `chmod 600 {0}`", file.display()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "short").unwrap();
        assert!(find(&file, None).unwrap_err().ends_with("holds no key; it has 64 hexadecimal digits"));
    }
}
