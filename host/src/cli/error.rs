//! What a user sees of an error: its kind, one sentence that says what failed, and the next step.

use std::process::ExitCode;

use host::auth::store::StoreError;
use host::config::{ConfigError, LoadError as ConfigLoadError};
use host::engine::bindings::exports::ingest::connector::source::Error as SourceError;
use host::engine::component::LoadError;
use host::engine::{CallError, with_sources as chain};
use host::http::archive::{self, har};
use host::personal::PersonalError;
use host::run::replay::ReplayError;
use host::run::reprocess::ReprocessError;
use host::run::retention::RetentionError;
use host::run::verify::VerifyError;
use host::run::{CommitError, LockError, OpenError, RunError};
use host::state::StateError;
use host::torture::TortureError;

/// Whose fault it is, as far as that helps to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usage,
    Config,
    Auth,
    Connector,
    Grant,
    Network,
    Output,
    Internal,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Auth => "auth",
            Self::Connector => "connector",
            Self::Grant => "grant",
            Self::Network => "network",
            Self::Output => "output",
            Self::Internal => "internal",
        }
    }
}

/// An error as its user sees it.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: Kind,
    message: String,
    next: Option<String>,
    /// The reader of the output went away: nothing went wrong.
    quiet: bool,
    /// What the command was to find out is false; it could start well enough.
    failed: bool,
}

impl CliError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), next: None, quiet: false, failed: false }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub(crate) fn grant(message: impl Into<String>) -> Self {
        Self::new(Kind::Grant, message)
    }

    pub(crate) fn output(message: impl Into<String>) -> Self {
        Self::new(Kind::Output, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Says why stored credentials cannot be used.
    pub(crate) fn store(error: &StoreError) -> Self {
        let next = match error {
            StoreError::Key(_) => "mend the key file, or its permissions".to_owned(),
            StoreError::NoKey(path) => format!(
                "run it where the keyring that keeps its key is unlocked, or remove {} and store its values again",
                path.display()
            ),
            StoreError::Io { .. } => "check that the folder can be written and the disk has room".to_owned(),
            StoreError::Sealed(path) => {
                format!("give it the key that it had, or remove {} and store its values again", path.display())
            }
        };
        Self::new(Kind::Auth, chain(error)).next(next)
    }

    pub(crate) fn auth(message: impl Into<String>) -> Self {
        Self::new(Kind::Auth, message)
    }

    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// Puts the connector that the user named into the next step.
    pub(crate) fn about(mut self, connector: &str) -> Self {
        self.next = self.next.map(|next| next.replace("CONNECTOR", connector));
        self
    }

    /// Makes it the answer of a command that was to find this out.
    pub(crate) fn failed(self) -> Self {
        Self { failed: true, ..self }
    }

    pub(crate) fn from_output(error: std::io::Error) -> Self {
        let quiet = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { quiet, ..Self::new(Kind::Output, format!("cannot write to standard output: {error}")) }
    }

    /// Writes it out.
    fn text(&self) -> String {
        let mut text = format!("error[{}]: {}", self.kind.name(), self.message);
        if let Some(next) = &self.next {
            text.push_str("\nnext: ");
            text.push_str(next);
        }
        text
    }

    /// Prints it and returns the exit code.
    pub(crate) fn exit(&self) -> ExitCode {
        if self.quiet {
            return ExitCode::SUCCESS;
        }
        super::print::stderr(&self.text());
        ExitCode::from(if self.failed { 1 } else { 2 })
    }
}

impl From<archive::Error> for CliError {
    fn from(error: archive::Error) -> Self {
        Self::new(Kind::Output, chain(&error)).next("see what else is damaged with `host verify`")
    }
}

impl From<RetentionError> for CliError {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::State(error) => error.into(),
            RetentionError::Archive(error) => error.into(),
            error => Self::new(Kind::Output, chain(&error)).next("check the folder's permissions"),
        }
    }
}

impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Lock(error) => Self::new(Kind::Usage, chain(&error)).next("wait for it to end"),
            VerifyError::State(error) => error.into(),
        }
    }
}

impl From<ReprocessError> for CliError {
    fn from(error: ReprocessError) -> Self {
        let (kind, next) = match &error {
            ReprocessError::NoStream(_) => (Kind::Usage, "see the streams in `host report`"),
            ReprocessError::NotInRun { .. } => {
                (Kind::Usage, "leave that run out; see what runs read in `host report RUN`")
            }
            ReprocessError::Unfinished(_) => (Kind::Usage, "finish it with `host run`, then try again"),
            ReprocessError::NoBeginning(_) | ReprocessError::Gap { .. } | ReprocessError::Behind { .. } => (
                Kind::Usage,
                "give --from the last full reading and every incremental run since; list runs with `host runs`",
            ),
            ReprocessError::Continued { .. } => (Kind::Usage, "read the stream again with `host run … --full`"),
            ReprocessError::Lock(_) => (Kind::Usage, "wait for it to end"),
            ReprocessError::Commit(_) | ReprocessError::Sink(_) => {
                (Kind::Output, "check the folder's permissions and free space")
            }
            ReprocessError::Replay(_) | ReprocessError::State(_) => (Kind::Internal, ""),
        };
        match error {
            ReprocessError::Replay(error) => error.into(),
            ReprocessError::State(error) => error.into(),
            error => Self::new(kind, chain(&error)).next(next),
        }
    }
}

impl From<har::ExportError> for CliError {
    fn from(error: har::ExportError) -> Self {
        match error {
            har::ExportError::Archive(error) => error.into(),
            har::ExportError::Write(error) => Self::from_output(error),
        }
    }
}

impl From<ReplayError> for CliError {
    fn from(error: ReplayError) -> Self {
        let usage = |next: &str| Self::new(Kind::Usage, chain(&error)).next(next);
        match error {
            ReplayError::NoArchive(_) => usage(
                "name a run that `host archive ls` lists; those made with --no-archive, pruned or made by `host reprocess` have none",
            ),
            ReplayError::Older(_) => usage("run it again with this host"),
            ReplayError::NoConnector(_) => usage("give the connector with --with"),
            ReplayError::Key(_) => usage("give it the key that the run had, where its configuration said it is"),
            ReplayError::NoStream(_) => usage("list the streams with `host report`"),
            ReplayError::NotRecorded(_) => Self::new(Kind::Connector, chain(&error))
                .next("a connector can be tried on a recording only as far as it makes the recorded requests")
                .failed(),
            ReplayError::Failed { .. } | ReplayError::Page { .. } => Self::new(Kind::Connector, chain(&error))
                .next("it may do so by the host's version or limits; see what they were with `host report --json`")
                .failed(),
            ReplayError::Script { .. } | ReplayError::Archive(_) => {
                Self::new(Kind::Output, chain(&error)).next("see what else is damaged with `host verify`")
            }
            ReplayError::Open(error) => error.into(),
            ReplayError::State(error) => error.into(),
            ReplayError::Declared(_) | ReplayError::Stored(_) => {
                Self::new(Kind::Connector, chain(&error)).next("tell the connector's author")
            }
            ReplayError::Commit(_) | ReplayError::Sink(_) | ReplayError::Compare(_) => {
                Self::new(Kind::Output, chain(&error)).next("check the folder's permissions and free space")
            }
        }
    }
}

impl From<TortureError> for CliError {
    fn from(error: TortureError) -> Self {
        let of = |kind: Kind, next: &str| Self::new(kind, chain(&error)).next(next);
        match error {
            TortureError::NotRecorded(_) => of(
                Kind::Usage,
                "give --from a run that read everything from the start, as `host run CONNECTOR … --full` does",
            ),
            TortureError::Incomplete(_) => {
                of(Kind::Usage, "give --from a run that ended complete; list runs with `host runs`")
            }
            TortureError::Empty(_) | TortureError::TooLarge(_) => {
                of(Kind::Usage, "record a run of some dozen requests, and give it to --from")
            }
            TortureError::Fails(_) => of(Kind::Connector, "see where with `host replay --with CONNECTOR`").failed(),
            TortureError::Io { .. } => of(Kind::Output, "check that the folder can be written and the disk has room"),
            TortureError::Line(_) => of(Kind::Internal, "tell the host's makers"),
            TortureError::Replay(error) => error.into(),
            TortureError::Archive(error) => error.into(),
            TortureError::Run(error) => error.into(),
            TortureError::State(error) => error.into(),
        }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let next = match &error {
            LoadError::Read { .. } => {
                "check the path; connectors that come along are named without a path: github, rest"
            }
            LoadError::NotWasm { .. } => {
                "give a component, built with `cargo build --target wasm32-wasip2` or the tools of another SDK"
            }
            LoadError::CoreModule { .. } => {
                "build a component: in Rust with --target wasm32-wasip2, else with `wasm-tools component new`"
            }
            LoadError::Malformed { .. } => "build or download it again; the file may be cut off",
            LoadError::ForbiddenImport { .. } => {
                "rebuild the connector without it; a connector reaches the world through ingest:connector only"
            }
            LoadError::OtherVersion { .. } | LoadError::Mismatch { .. } => {
                "rebuild the connector with the SDK of this host's version"
            }
            LoadError::NotAConnector { .. } => {
                "build it for the world ingest:connector/connector; `connector_sdk::export!` does in Rust"
            }
            LoadError::Limit(_) => "look at what the connector asks for before you allow it",
            LoadError::Compile { .. } => {
                "the component may be made for a newer WebAssembly; rebuild it with the SDK's tools"
            }
        };
        Self::new(Kind::Connector, chain(&error)).next(next)
    }
}

impl From<ConfigLoadError> for CliError {
    fn from(error: ConfigLoadError) -> Self {
        let next = match &error {
            ConfigLoadError::Format(_) => "name the file .yaml, .toml or .json".to_owned(),
            ConfigLoadError::Syntax { .. } => "mend the file at the place named".to_owned(),
            ConfigLoadError::NotAnObject(_) => "write keys and values, as in `org: rust-lang`".to_owned(),
            ConfigLoadError::Env { name, .. } => format!("set it, as in `export {name}=…`"),
            ConfigLoadError::File { .. } => "check the path in the configuration".to_owned(),
            ConfigLoadError::Secret { name, .. } => {
                format!("store it with `host auth set CONNECTION {name}`, and the same --out")
            }
            ConfigLoadError::Store(error) => return Self::store(error),
            ConfigLoadError::Unknown { .. } => "write ${env:NAME}, ${file:PATH} or ${secret:NAME}".to_owned(),
            ConfigLoadError::Setting(_) => "write --set KEY=VALUE, as in --set org=rust-lang".to_owned(),
        };
        Self::new(Kind::Config, chain(&error)).next(next)
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        let (kind, next) = match error {
            OpenError::Load(error) => return error.into(),
            OpenError::Auth(refusal) => return Self::new(Kind::Auth, refusal.message).next(refusal.next),
            OpenError::Scheme(_) => (Kind::Connector, "tell the connector's author"),
            OpenError::Config(ConfigError::Schema(_)) => {
                (Kind::Connector, "tell the connector's author; the host cannot check a configuration against it")
            }
            OpenError::Config(_) => (Kind::Config, "see what can be set with `host inspect CONNECTOR`"),
            OpenError::Call { source: CallError::Limit(_), .. } => {
                (Kind::Connector, "look at what the connector asks for before you allow it")
            }
            OpenError::Call { source: CallError::Mismatch(_), .. } => {
                (Kind::Connector, "rebuild the connector with the SDK of this host's version")
            }
            OpenError::PartitionTwice { .. } => (Kind::Connector, "tell the connector's author"),
            OpenError::Call { .. } => (Kind::Connector, "run with -v for its log, and tell the connector's author"),
            OpenError::Refused(SourceError::Config(_)) => {
                (Kind::Config, "mend what it names; `host inspect CONNECTOR` shows how it is configured")
            }
            OpenError::Refused(SourceError::Auth(_)) => (
                Kind::Auth,
                "check the credentials in the configuration, and that they may read this; `host inspect CONNECTOR` lists the \
                 ways to give them",
            ),
            OpenError::Refused(SourceError::Transient(_)) => (Kind::Network, "try again later"),
            OpenError::Refused(_) => {
                (Kind::Connector, "mend what it names; `host inspect CONNECTOR` shows how it is configured")
            }
            OpenError::Host(_) => (Kind::Connector, "mend the value it is filled from, or tell the connector's author"),
            OpenError::HostValue(_) => (Kind::Config, "set it in the configuration or with --set"),
            OpenError::SecretNotGranted(_) => (
                Kind::Grant,
                "leave it out of the configuration, or run with --grant after taking the connector out of connectors.lock",
            ),
            OpenError::TokensNotGranted(_) => (
                Kind::Grant,
                "put it back at tokens in connectors.lock, or give another address in the configuration's auth",
            ),
            OpenError::Transport(host::http::transport::BuildError::ClientCertificate(_)) => {
                (Kind::Usage, "check the files given to --client-cert and --client-key, and that they belong together")
            }
            OpenError::Transport(_) => (Kind::Usage, "check the file given to --ca-file"),
        };
        Self::new(kind, chain(&error)).next(next)
    }
}

impl From<host::grant::LockError> for CliError {
    fn from(error: host::grant::LockError) -> Self {
        use host::grant::LockError;
        let next = match &error {
            LockError::Io { .. } => "check the path and its permissions, or give another file with --lock",
            LockError::Malformed { .. } => "mend the file, or remove it and grant again with --grant",
            LockError::Newer { .. } => "use the newer host, or give another file with --lock",
        };
        Self::new(Kind::Grant, chain(&error)).next(next)
    }
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        let next = match &error {
            StateError::Busy { .. } => "end what holds it, which `fuser` names, then run again; nothing was changed",
            StateError::Damaged { .. } | StateError::Lost { .. } => {
                "restore the file from a backup, or give another --out and read everything again; the parts stay readable"
            }
            StateError::Newer { .. } => "use the newer host, or give another --out",
            StateError::Unusable { .. } => "check that the folder can be written and the disk has room",
        };
        Self::new(Kind::Output, chain(&error)).next(next)
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        let (kind, next) = match &error {
            RunError::ConnectionName(_) => (Kind::Usage, "give --connection another name".to_owned()),
            RunError::Commit(CommitError::Missing { .. }) => {
                (Kind::Output, "put the file back, or read everything again with --full".to_owned())
            }
            RunError::Out { .. } | RunError::Commit(_) | RunError::Archive(_) => (
                Kind::Output,
                "check that the folder can be written and the disk has room, or give another --out".to_owned(),
            ),
            RunError::Lock(LockError::Held { .. }) => {
                (Kind::Output, "wait for it to end, or give this one another --connection and --out".to_owned())
            }
            RunError::Lock(LockError::Io { .. }) => {
                (Kind::Output, "check that the folder can be written, or give another --out".to_owned())
            }
            RunError::NoSuchStream { wanted, known } => {
                let next = match host::config::nearest(wanted, known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("give one of: {}", known.join(", ")),
                };
                (Kind::Usage, next)
            }
            RunError::DriftOfNoStream { wanted, known } => {
                let next = match host::config::nearest(wanted, known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("name one of: {}", known.join(", ")),
                };
                (Kind::Config, next)
            }
            RunError::Personal(error) => {
                let next = match error {
                    PersonalError::NoStream { wanted, known } => match host::config::nearest(wanted, known) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("name one of: {}, or * for all", known.join(", ")),
                    },
                    PersonalError::Needed { what: "the primary key", .. } => {
                        "hash it instead, which keeps records apart, or narrow the path".to_owned()
                    }
                    PersonalError::Needed { .. } => "hash or mask it instead, or narrow the path".to_owned(),
                    PersonalError::Nothing => {
                        "write down which fields are personal data at personal_data, or keep --archive full".to_owned()
                    }
                    PersonalError::Anchored { .. } => {
                        "write it as owner.email, which is found at any depth, or keep --archive full or none"
                            .to_owned()
                    }
                    PersonalError::Cursor { .. } => {
                        "leave the field as it is, or keep --archive full or none".to_owned()
                    }
                };
                (Kind::Config, next)
            }
            RunError::StreamName(_) | RunError::StreamTwice(_) => {
                (Kind::Connector, "tell the connector's author".to_owned())
            }
            RunError::OtherOwner { .. } => (Kind::Output, "give this connection another --out".to_owned()),
            RunError::PreviewOverData(_) => (Kind::Usage, "give the preview another --out".to_owned()),
            RunError::ConfigChanged(_) => (
                Kind::Config,
                "read everything again with --full, go on with what is there with --keep-state, or give the new \
                 configuration a --connection and --out of its own"
                    .to_owned(),
            ),
            RunError::Open(_) | RunError::State(_) => (Kind::Internal, String::new()),
        };
        match error {
            RunError::Open(error) => error.into(),
            RunError::State(error) => error.into(),
            error => Self::new(kind, chain(&error)).next(next),
        }
    }
}
