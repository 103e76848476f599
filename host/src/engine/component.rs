//! A connector's file, from bytes to something that can be instantiated: what it is, what it imports, its digest.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmparser::{ComponentAlias, ComponentExternalKind, Encoding, Instance, Parser, Payload};

use super::cache::hex;
use super::limits::{Limit, LimitReached, Limits};

/// The contract this host speaks.
pub const CONTRACT: &str = "ingest:connector";
/// Its version.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// WASI packages that are linked with nothing behind them, because language runtimes ask for them.
const WASI: [&str; 6] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// Why a file is no connector.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("cannot read the connector {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no WebAssembly at all.
    #[error("not a WebAssembly file: {}", path.display())]
    NotWasm {
        /// The file.
        path: PathBuf,
    },
    /// The file is a core module.
    #[error("a core WebAssembly module, not a component: {}", path.display())]
    CoreModule {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("not a valid component: {}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The component asks for something that no connector gets.
    #[error("the component imports {import}, which the host does not offer")]
    ForbiddenImport {
        /// Name of the import.
        import: String,
    },
    /// The component was made for another version of the contract.
    #[error("the component is made for {found}, and this host speaks {CONTRACT}@{CONTRACT_VERSION}")]
    OtherVersion {
        /// Name and version of the interface.
        found: String,
    },
    /// The component does not export what a connector must.
    #[error("the component does not export {CONTRACT}/source@{CONTRACT_VERSION}")]
    NotAConnector {
        /// What it exports instead.
        exports: Vec<String>,
    },
    /// The component declares more than its limits allow.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// Its imports or exports have the names of the contract's, and other types.
    #[error("the component does not fit {CONTRACT}@{CONTRACT_VERSION}: {}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The compiler refused it.
    #[error("cannot compile the component {}", path.display())]
    Compile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What can be told of a component without running it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal digits.
    pub digest: String,
    /// Names of the imports, sorted.
    pub imports: Vec<String>,
    /// Names of the exports, sorted.
    pub exports: Vec<String>,
    /// Core instances that it makes.
    pub core_instances: usize,
}

/// Reads a connector's file and looks through it.
///
/// # Errors
///
/// When the file is not a component, imports anything that is not offered, or does not export what a connector must.
pub fn read(path: &Path, limits: &Limits) -> Result<(Vec<u8>, Summary), LoadError> {
    let bytes = std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm { path: path.to_owned() });
    }
    if !Parser::is_component(&bytes) {
        return Err(LoadError::CoreModule { path: path.to_owned() });
    }
    let outline =
        outline(&bytes).map_err(|error| LoadError::Malformed { path: path.to_owned(), source: Box::new(error) })?;
    let summary = Summary {
        path: path.to_owned(),
        bytes: bytes.len() as u64,
        digest: hex(Sha256::digest(&bytes).as_slice()),
        imports: outline.imports,
        exports: outline.exports,
        core_instances: outline.core_instances,
    };
    summary.imports.iter().try_for_each(|import| allow_import(import))?;
    let source = format!("{CONTRACT}/source@{CONTRACT_VERSION}");
    if !summary.exports.contains(&source) {
        return Err(match summary.exports.iter().find(|name| name.starts_with("ingest:connector/source")) {
            Some(found) => LoadError::OtherVersion { found: found.clone() },
            None => LoadError::NotAConnector { exports: summary.exports },
        });
    }
    if summary.core_instances > limits.instances {
        return Err(LimitReached::count(Limit::Instances, limits.instances).into());
    }
    Ok((bytes, summary))
}

/// Decides on one import by its name. Within a WASI package only the versions 0.2 are meant.
fn allow_import(import: &str) -> Result<(), LoadError> {
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let package = interface.split('/').next().unwrap_or_default();
    if package == CONTRACT {
        return if version == CONTRACT_VERSION {
            Ok(())
        } else {
            Err(LoadError::OtherVersion { found: import.to_owned() })
        };
    }
    if WASI.contains(&package) && version.starts_with("0.2.") {
        return Ok(());
    }
    Err(LoadError::ForbiddenImport { import: import.to_owned() })
}

struct Outline {
    imports: Vec<String>,
    exports: Vec<String>,
    core_instances: usize,
}

/// One component while it is walked: how many core instances each of its nested components makes.
#[derive(Default)]
struct Level {
    components: Vec<usize>,
    core_instances: usize,
}

/// Walks a component once. Core instances are counted over nested components too, since a component of a few hundred
/// bytes can ask for millions: the count is taken before the compiler sees any of it.
fn outline(bytes: &[u8]) -> Result<Outline, wasmparser::BinaryReaderError> {
    let mut levels: Vec<Level> = Vec::new();
    // Core modules are parsed as levels of their own by the parser; `None` marks them.
    let mut kinds: Vec<Encoding> = Vec::new();
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    let mut core_instances = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                kinds.push(encoding);
                if encoding == Encoding::Component {
                    levels.push(Level::default());
                }
            }
            Payload::ComponentImportSection(section) if kinds.len() == 1 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if kinds.len() == 1 => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name.to_owned());
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let (Instance::Instantiate { .. }, Some(level)) = (instance?, levels.last_mut()) {
                        level.core_instances = level.core_instances.saturating_add(1);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let (wasmparser::ComponentInstance::Instantiate { component_index, .. }, Some(level)) =
                        (instance?, levels.last_mut())
                    {
                        let inner = level.components.get(component_index as usize).copied().unwrap_or(0);
                        level.core_instances = level.core_instances.saturating_add(inner);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    let cost = match alias? {
                        ComponentAlias::Outer {
                            kind: wasmparser::ComponentOuterAliasKind::Component,
                            count,
                            index,
                        } => {
                            let outer = levels.len().checked_sub(1 + count as usize).and_then(|at| levels.get(at));
                            outer.and_then(|level| level.components.get(index as usize)).copied().unwrap_or(0)
                        }
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => 0,
                        _ => continue,
                    };
                    if let Some(level) = levels.last_mut() {
                        level.components.push(cost);
                    }
                }
            }
            Payload::End(_) => {
                if kinds.pop() == Some(Encoding::Component)
                    && let Some(done) = levels.pop()
                {
                    match levels.last_mut() {
                        Some(outer) => outer.components.push(done.core_instances),
                        None => core_instances = done.core_instances,
                    }
                }
            }
            _ => {}
        }
    }
    imports.sort();
    exports.sort();
    Ok(Outline { imports, exports, core_instances })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline_of(text: &str) -> Outline {
        outline(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn imports_are_decided_by_package_and_version() {
        for allowed in ["ingest:connector/http@0.1.0", "wasi:io/streams@0.2.6", "wasi:sockets/tcp@0.2.0"] {
            assert!(allow_import(allowed).is_ok(), "{allowed}");
        }
        for refused in ["wasi:http/outgoing-handler@0.2.0", "wasi:cli/environment@0.3.0", "acme:disk/raw", "wasi:io"] {
            assert_eq!(
                allow_import(refused).unwrap_err().to_string(),
                format!("the component imports {refused}, which the host does not offer")
            );
        }
        assert_eq!(
            allow_import("ingest:connector/http@0.0.9").unwrap_err().to_string(),
            "the component is made for ingest:connector/http@0.0.9, and this host speaks ingest:connector@0.1.0"
        );
    }

    #[test]
    fn core_instances_of_nested_components_are_multiplied() {
        let outline = outline_of(
            r#"(component
                 (component $c0 (core module $m) (core instance (instantiate $m)) (core instance (instantiate $m)))
                 (component $c1
                   (alias outer 1 $c0 (component $inner))
                   (instance (instantiate $inner)) (instance (instantiate $inner)) (instance (instantiate $inner)))
                 (instance (instantiate $c1)) (instance (instantiate $c1)))"#,
        );
        assert_eq!(outline.core_instances, 12);
    }

    #[test]
    fn imports_and_exports_of_the_outermost_component_are_listed() {
        let outline = outline_of(
            r#"(component (import "b:c/d@0.1.0" (instance)) (import "a:c/d@0.1.0" (instance))
                 (component (import "hidden:c/d" (instance)))
                 (instance $i) (export "x:y/z" (instance $i)))"#,
        );
        assert_eq!(outline.imports, ["a:c/d@0.1.0", "b:c/d@0.1.0"]);
        assert_eq!(outline.exports, ["x:y/z"]);
    }
}
