//! Compiled code on disk, so that only the first run of a component waits for the compiler.
//!
//! A file is found by the SHA-256 of the component and the engine's configuration. Its last 32 bytes are the BLAKE3
//! of what is before them, checked each time before a byte of it is trusted: a file that does not match is removed and the
//! component compiled again. What was checked is mapped into memory as it lies on disk, so that processes share it and only
//! what runs is read. The folder holds native code, so it belongs to the user alone (mode 0700), and files in it are replaced
//! as a whole and never written to.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

const DIGEST_BYTES: usize = 32;
/// Raised where a file is laid out in another way, so that one host does not take another's for damaged.
const FORMAT: u8 = 3;

/// A folder of compiled components.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

/// What became of a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The compiled code was there and whole.
    Hit,
    /// There was none, or it was made for another engine.
    Miss,
    /// There was one, but not as it was written; it has been removed.
    Damaged,
}

impl Cache {
    /// Uses `folder`, which is made when the first component is stored.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Returns where the code of a component would be.
    pub fn path(&self, engine: &wasmtime::Engine, component_digest: &str) -> PathBuf {
        let mut hasher = Sha256Hasher::default();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        FORMAT.hash(&mut hasher);
        let configuration = hasher.hex();
        let configuration = configuration.get(..16).unwrap_or(&configuration);
        self.folder.join(format!("{component_digest}-{configuration}.cwasm"))
    }

    /// Loads the compiled code of a component, where there is any that is whole.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, component_digest: &str) -> (Option<Component>, Outcome) {
        let path = self.path(engine, component_digest);
        let Ok(file) = fs::File::open(&path) else {
            return (None, Outcome::Miss);
        };
        let component = if is_whole(&file) { deserialize(engine, &path) } else { None };
        if component.is_none() {
            // Nothing is lost when this fails: the next store writes over it.
            let _ = fs::remove_file(&path);
            return (None, Outcome::Damaged);
        }
        (component, Outcome::Hit)
    }

    /// Stores compiled code. A half-written file is never seen under its name.
    pub(crate) fn store(&self, engine: &wasmtime::Engine, component_digest: &str, code: &[u8]) -> std::io::Result<()> {
        make_private_folder(&self.folder)?;
        let path = self.path(engine, component_digest);
        let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(code)?;
        file.write_all(blake3::hash(code).as_bytes())?;
        drop(file);
        fs::rename(unfinished, path)
    }
}

/// Whether a file ends in the digest of what is before it.
fn is_whole(mut file: &fs::File) -> bool {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let Some(code) = length.checked_sub(DIGEST_BYTES as u64) else { return false };
    let mut hasher = blake3::Hasher::new();
    let mut digest = [0; DIGEST_BYTES];
    hasher.update_reader(file.take(code)).is_ok()
        && file.read_exact(&mut digest).is_ok()
        && *hasher.finalize().as_bytes() == digest
}

#[expect(unsafe_code, reason = "wasmtime trusts what it deserializes; the digest of the code has just been checked")]
fn deserialize(engine: &wasmtime::Engine, path: &Path) -> Option<Component> {
    // SAFETY: the bytes are those that `Component::serialize` of an engine with the same configuration returned: the
    // file's name holds the configuration's hash, its digest matches, the folder is writable by its owner alone, and what
    // comes to have the file's name in the meantime was written by a host as well: files are never written to in place.
    unsafe { Component::deserialize_file(engine, path) }.ok()
}

fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Feeds a `Hash` value into SHA-256: stable over processes, unlike the default hasher's promise.
#[derive(Default)]
struct Sha256Hasher(Sha256);

impl Sha256Hasher {
    fn hex(self) -> String {
        hex(self.0.finalize().as_slice())
    }
}

impl Hasher for Sha256Hasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
