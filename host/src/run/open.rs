//! Opening a connector: what it says of itself, whether the configuration fits, and the way out that it gets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::recording::CallNote;
use crate::auth::{self, Refusal, Scheme, Secrets, Session, Store};
use crate::capability::http::HttpCtx;
use crate::capability::log::LogCtx;
use crate::capability::output::OutputCtx;
use crate::capability::rate_limit::RateLimitCtx;
use crate::capability::storage::{Committed, StorageCtx};
use crate::config::{Config, ConfigError, Sources};
use crate::engine::bindings::exports::ingest::connector::source;
use crate::engine::component::LoadError;
use crate::engine::guest::Capabilities;
use crate::engine::{CallError, Connector, Engine};
use crate::event::{Event, Level, Observer, printable};
use crate::grant::{self, Grant};
use crate::http::address::SystemNames;
use crate::http::policy::PatternError;
use crate::http::{self, Archive, HostPattern, Policy};
use crate::personal::{self, Personal, Recent};
use crate::time::Time;

/// How requests leave the host, as the user wishes it.
#[derive(Debug, Clone)]
pub struct Network {
    /// What the user has granted to the connector; without, all that its description asks for.
    pub grant: Option<Grant>,
    /// Hosts that the user allows besides those of the description.
    pub allow_hosts: Vec<HostPattern>,
    /// What carries requests instead of the network. Then nothing is asked for tokens, and no credentials are put in.
    pub carrier: Option<http::transport::Carrier>,
    /// Timeouts, TLS.
    pub transport: http::transport::Options,
    /// When requests are sent again.
    pub retry: http::retry::Rules,
    /// When a host is left alone.
    pub breaker: http::BreakerRules,
    /// Rates that the user sets.
    pub rates: http::Rates,
    /// Where an API with names of its own tells what is left; what is not set here is as the description says.
    pub budget_headers: http::HeaderNames,
    /// Who else knows of the budgets: other connections of the process, and other processes.
    pub pool: http::Pool,
    /// Longest wait for a budget.
    pub max_wait: Duration,
    /// Most requests under way.
    pub max_in_flight: usize,
    /// Most bytes of a response.
    pub max_body_bytes: u64,
    /// Where tokens are kept between runs; without one they are lost with the process.
    pub store: Option<Store>,
}

impl Default for Network {
    /// What a client has by default ([`http::Config`]), without a grant and without a store.
    fn default() -> Self {
        Self {
            grant: None,
            allow_hosts: Vec::new(),
            carrier: None,
            transport: http::transport::Options::default(),
            retry: http::retry::Rules::default(),
            breaker: http::BreakerRules::default(),
            rates: http::Rates::default(),
            budget_headers: http::HeaderNames::default(),
            pool: http::Pool::default(),
            max_wait: http::config::MAX_WAIT,
            max_in_flight: http::config::MAX_IN_FLIGHT,
            max_body_bytes: http::config::MAX_BODY_BYTES,
            store: None,
        }
    }
}

/// Why a connector could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is no connector.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The connector failed while it described itself or its streams.
    #[error("the connector failed in {function}: {source}")]
    Call {
        /// The function.
        function: &'static str,
        /// Why.
        source: CallError,
    },
    /// The connector names a partition twice.
    #[error("the connector names two partitions of {stream} alike: {id:?}")]
    PartitionTwice {
        /// The stream.
        stream: String,
        /// The partition.
        id: String,
    },
    /// The connector said no.
    #[error("{}", super::read::source_error(.0))]
    Refused(source::Error),
    /// The configuration does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The description names a host that is none.
    #[error("the connector's description asks for a host that is none")]
    Host(#[from] PatternError),
    /// The description names a host by a configuration value that is not given.
    #[error("the connector reaches the host {{{0}}}, and the configuration gives no {0}")]
    HostValue(String),
    /// The configuration gives a secret that was taken out of the grant.
    #[error("the configuration gives the secret {0}, which is not granted to the connector")]
    SecretNotGranted(String),
    /// The connector's address for tokens was taken out of the grant.
    #[error("the address {0}, where tokens are asked for, is not granted to the connector")]
    TokensNotGranted(String),
    /// The description's schemes of authentication can't be used.
    #[error("the connector's description is wrong: {0}")]
    Scheme(String),
    /// There are no credentials.
    #[error("{}", .0.message)]
    Auth(Refusal),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Transport(#[from] http::transport::BuildError),
}

/// An answer with a token has some kilobytes.
const MAX_TOKEN_BYTES: u64 = 1024 * 1024;

/// Says why a call failed: the connector has no part in it where there are no credentials.
fn call_failed(function: &'static str, source: CallError) -> OpenError {
    match source {
        CallError::Host(http::Error::Auth(refusal)) => OpenError::Auth(refusal),
        source => OpenError::Call { function, source },
    }
}

/// What a connector says of itself, and the state it was asked in.
#[derive(Clone)]
pub struct Described {
    pub(crate) engine: Arc<Engine>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) description: source::Description,
    pub(crate) time: Arc<dyn Time>,
    /// When it began to be loaded, by the monotonic time.
    pub(crate) begun: Duration,
    /// The connector's file.
    pub(crate) path: std::path::PathBuf,
    /// What the user calls it.
    pub(crate) called: String,
    /// The command by which a person signs in.
    pub(crate) login: Option<String>,
}

/// A connector with its configuration, ready to be run.
pub struct Opened {
    pub(crate) engine: Arc<Engine>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) description: source::Description,
    pub(crate) config: Config,
    pub(crate) config_text: String,
    pub(crate) client: http::Client,
    session: Option<Arc<Session>>,
    pub(crate) personal: Option<Arc<Personal>>,
    pub(crate) archive: Archive,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) time: Arc<dyn Time>,
    seed: String,
    pub(crate) called: String,
}

impl Described {
    /// Loads a connector and asks it what it is; it can reach nothing meanwhile.
    ///
    /// # Errors
    ///
    /// When the file is no connector, or the connector fails.
    pub async fn load(
        engine: Arc<Engine>,
        path: &std::path::Path,
        observer: Arc<dyn Observer>,
        time: Arc<dyn Time>,
    ) -> Result<Self, OpenError> {
        let begun = time.monotonic();
        let connector = Arc::new(engine.load(path)?);
        let error = |source| OpenError::Call { function: "describe", source };
        let label: Arc<str> = "describe".into();
        let limits = engine.limits().clone();
        let name: Arc<str> = path.file_stem().map_or("connector".into(), |stem| stem.to_string_lossy().into());
        let budgets = http::Budgets::new(time.clone(), observer.clone(), http::Rates::default(), Duration::ZERO, 1);
        let capabilities = Capabilities {
            http: HttpCtx::new(None, label.clone(), &limits),
            storage: StorageCtx::new(Committed::default(), 0),
            rate_limit: RateLimitCtx::new(budgets, label),
            log: LogCtx::new(name, observer.clone(), Secrets::default(), limits.log_bytes),
            output: OutputCtx::new(None, limits.page_bytes),
            time: time.clone(),
            // A description is the same each time it is asked for.
            seed: 0,
        };
        let mut instance = connector.instantiate(&engine, capabilities).await.map_err(error)?;
        let description = instance.describe().await.map_err(error)?;
        let called = path.display().to_string();
        Ok(Self { engine, connector, description, time, begun, path: path.to_owned(), called, login: None })
    }

    /// Says what the user calls the connector, for the next steps that errors name. Without this it is the file's path.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self { called: name.to_owned(), ..self }
    }

    /// Says by which command a person signs in for this connection, for the errors that ask for it. Without this it is
    /// `host auth login` with what the user calls the connector.
    #[must_use]
    pub fn signed_in_by(self, command: String) -> Self {
        Self { login: Some(command), ..self }
    }

    /// Returns the description.
    pub fn description(&self) -> &source::Description {
        &self.description
    }

    /// Returns the connector.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Tells what the connector asks for.
    ///
    /// # Errors
    ///
    /// When its configuration schema is none.
    pub fn wants(&self) -> Result<Grant, OpenError> {
        Ok(Grant::of(&self.description, &self.connector.summary().digest)?)
    }

    /// Shows a host of a grant as a configuration fills it.
    pub fn show_host(&self, host: &str, config: &Config) -> String {
        let plain = grant::without_defaults(host);
        match fill_host(&plain, config) {
            Ok((filled, _)) if filled != plain => match filled.parse::<HostPattern>() {
                Ok(pattern) => format!("{pattern} (by {plain})"),
                Err(_) => plain,
            },
            _ => plain,
        }
    }

    /// Checks a configuration against the connector's schema.
    ///
    /// # Errors
    ///
    /// Every value that does not fit.
    pub fn configure(&self, sources: Sources) -> Result<Config, OpenError> {
        let schemes = Scheme::read(&self.description.auth).map_err(OpenError::Scheme)?;
        Ok(Config::with_schemes(sources, &self.description.config_schema, &schemes)?)
    }

    /// Gives the connector its configuration and its way out.
    ///
    /// # Errors
    ///
    /// When the description names hosts that are none.
    pub fn open(
        self,
        config: Config,
        network: &Network,
        archive: Archive,
        run: &str,
        observer: Arc<dyn Observer>,
    ) -> Result<Opened, OpenError> {
        let warn = |message: String| {
            observer.observe(Event::Log { target: "host".to_owned(), level: Level::Warn, message, fields: Vec::new() });
        };
        config.warnings.iter().cloned().for_each(warn);
        for name in config.secrets.weak() {
            warn(format!("the secret {name} is so short that it cannot be kept out of logs and archives"));
        }
        let grant = match &network.grant {
            Some(grant) => grant.clone(),
            None => self.wants()?,
        };
        let session = match &network.carrier {
            Some(_) => None,
            None => self.session(&config, network, &grant, observer.clone(), run)?.map(Arc::new),
        };
        if let Some(place) = config.secret_places.iter().find(|place| !is_granted(place, &grant.secrets)) {
            return Err(OpenError::SecretNotGranted(place.clone()));
        }
        let policy = Arc::new(policy(&self.description, &grant, &config, &network.allow_hosts)?);
        let personal = config.personal.as_ref().map(|given| Arc::new(Personal::new(given)));
        let transport: Arc<dyn http::Transport> = match &network.carrier {
            Some(carrier) => carrier.0.clone(),
            None => {
                let resolver = http::address::Resolver::new(policy.clone(), Arc::new(SystemNames));
                Arc::new(http::Network::new(network.transport.clone(), resolver)?)
            }
        };
        let client = http::Client::new(http::Config {
            connector: budget_owner(&self.connector.summary().digest),
            secrets: config.secrets.clone(),
            auth: session.clone(),
            time: self.time.clone(),
            observer: observer.clone(),
            archive: archive.clone(),
            retry: network.retry,
            breaker: network.breaker,
            rates: rates(&self.description.budget, &grant, &network.rates),
            budget_headers: headers(&self.description.budget.headers, &network.budget_headers),
            pool: network.pool.clone(),
            max_wait: network.max_wait,
            max_in_flight: network.max_in_flight,
            max_body_bytes: network.max_body_bytes,
            seed: seed(run, "jitter"),
            personal: personal.clone(),
            ..http::Config::new(policy, transport)
        });
        let config_text = config.visible.to_string();
        let Self { engine, connector, description, time, called, .. } = self;
        Ok(Opened {
            engine,
            connector,
            description,
            config,
            config_text,
            client,
            session,
            personal,
            archive,
            observer,
            time,
            seed: run.to_owned(),
            called,
        })
    }
}

impl Described {
    /// Makes the session of the scheme that the user picked.
    fn session(
        &self,
        config: &Config,
        network: &Network,
        grant: &Grant,
        observer: Arc<dyn Observer>,
        run: &str,
    ) -> Result<Option<Session>, OpenError> {
        let Some(mut choice) = config.auth.clone() else { return Ok(None) };
        let scheme = self.description.auth.iter().find(|scheme| scheme.name == choice.scheme);
        for (name, url) in scheme.iter().flat_map(|scheme| &scheme.parameters) {
            let granted = || grant.tokens.iter().any(|granted| grant::without_defaults(granted) == *url);
            if grant::is_token_url(name) && !choice.is_given(name) && !granted() {
                return Err(OpenError::TokensNotGranted(url.clone()));
            }
        }
        choice.fill(|text| fill_host(text, config).map(|(filled, _)| filled))?;
        let mut hosts = Vec::new();
        for host in &self.description.hosts {
            hosts.push(fill_host(host, config)?.0.parse()?);
        }
        // The server that gives out tokens is one that the connector itself cannot reach by this.
        let mut policy = Policy::default();
        for name in ["token_url", "device_url"] {
            let Some(url) = choice.option(name) else { continue };
            let pattern: HostPattern = url.parse()?;
            policy = if choice.is_given(name) { policy.named(pattern) } else { policy.described(pattern) };
        }
        let policy = Arc::new(policy.method(http::Method::POST));
        let resolver = http::address::Resolver::new(policy.clone(), Arc::new(SystemNames));
        let transport = http::Network::new(network.transport.clone(), resolver)?;
        let client = http::Client::new(http::Config {
            time: self.time.clone(),
            retry: network.retry,
            max_wait: network.max_wait,
            max_in_flight: network.max_in_flight,
            max_body_bytes: network.max_body_bytes.min(MAX_TOKEN_BYTES),
            seed: seed(run, "auth"),
            ..http::Config::new(policy, Arc::new(transport))
        });
        let parts = auth::Parts {
            hosts,
            secrets: config.secrets.clone(),
            client,
            store: network.store.clone(),
            time: self.time.clone(),
            observer,
            login: self.login.clone().unwrap_or_else(|| format!("host auth login {}", self.called)),
        };
        Session::new(&choice, parts).map(Some).map_err(OpenError::Auth)
    }
}

impl Opened {
    /// Signs a person in.
    ///
    /// # Errors
    ///
    /// When the configuration picks no scheme that has a sign-in, or the person does not sign in.
    pub async fn login(&self, within: Duration, tell: impl FnOnce(auth::login::Prompt)) -> Result<(), OpenError> {
        let none = || {
            let next = format!("write one at auth; `host inspect {}` lists them", self.called);
            Refusal::new("the configuration picks no scheme", next)
        };
        let session = self.session.as_ref().ok_or_else(none).map_err(OpenError::Auth)?;
        auth::login::login(session, within, tell).await.map_err(|refusal| {
            let message = self.secrets().redact(&refusal.message).into_owned();
            OpenError::Auth(Refusal { message, ..refusal })
        })
    }

    /// Returns the description.
    pub fn description(&self) -> &source::Description {
        &self.description
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Makes a text that a connector wrote safe to show.
    pub(crate) fn safe(&self, text: &str) -> String {
        printable(&self.secrets().redact(text)).into_owned()
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.config.secrets
    }

    /// The seed of a guest's random numbers: the same for the same read of the same run.
    pub(crate) fn seed(&self, label: &str) -> u64 {
        seed(&self.seed, label)
    }

    async fn plain_instance(&self, function: &'static str) -> Result<crate::engine::Instance, OpenError> {
        self.instance(&Arc::from(function), None, Committed::default(), CallNote::of(function))
            .await
            .map_err(|source| OpenError::Call { function, source })
    }

    /// Tells the archive what an instance heard that emits no pages.
    async fn note_heard(&self, label: &str, instance: &mut crate::engine::Instance) -> Result<(), CallError> {
        let (_, heard, _) = instance.take_rest();
        if heard.is_empty() {
            return Ok(());
        }
        let noted = self.archive.note(label, "heard", heard).await;
        noted.map_err(|error| CallError::Host(error.into()))
    }

    /// Asks the connector whether the configuration works.
    ///
    /// # Errors
    ///
    /// When it does not, or the connector fails.
    pub async fn check(&self) -> Result<(), OpenError> {
        let mut instance = self.plain_instance("check").await?;
        let result = instance.check(&self.config_text).await;
        result.map_err(|source| call_failed("check", source))?.map_err(|error| self.refused(error, None))
    }

    /// Asks the connector for its streams.
    ///
    /// # Errors
    ///
    /// When it refuses, or fails.
    pub async fn streams(&self) -> Result<Vec<source::StreamInfo>, OpenError> {
        let mut instance = self.plain_instance("streams").await?;
        let result = instance.streams(&self.config_text).await;
        self.tell_crash("streams", &result);
        let noted = self.note_heard("streams", &mut instance).await;
        noted.map_err(|source| call_failed("streams", source))?;
        result.map_err(|source| call_failed("streams", source))?.map_err(|error| self.refused(error, None))
    }

    /// Asks the connector for the partitions of a stream. An empty list stands for the whole stream.
    pub(crate) async fn partitions(
        &self,
        stream: &str,
        storage: Committed,
    ) -> Result<Vec<source::Partition>, OpenError> {
        let call = |source| call_failed("partitions", source);
        let label: Arc<str> = stream.into();
        let note = CallNote::of("partitions");
        let recent = self.recent(stream);
        let mut instance = self.instance(&label, None, storage, note).await.map_err(call)?;
        let result = instance.partitions(&self.config_text, stream, None).await;
        self.tell_crash(stream, &result);
        self.note_heard(&label, &mut instance).await.map_err(call)?;
        let partitions = result.map_err(call)?.map_err(|error| self.refused(error, recent.as_deref()))?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = partitions.iter().find(|partition| !seen.insert(partition.id.as_str())) {
            return Err(OpenError::PartitionTwice { stream: stream.to_owned(), id: twice.id.clone() });
        }
        Ok(partitions)
    }

    /// What a read got last, where personal data in it is to be kept out of texts.
    pub(crate) fn recent(&self, read: &str) -> Option<Arc<Recent>> {
        self.personal.as_ref()?.recent(read)
    }

    /// Tells whoever observes where it was the connector itself that failed.
    pub(crate) fn tell_crash<T>(&self, read: &str, called: &Result<T, CallError>) {
        if let Err(
            error @ (CallError::Limit(_) | CallError::Misuse(_) | CallError::Crash(_) | CallError::Mismatch(_)),
        ) = called
        {
            self.observer.observe(Event::Crashed { read: read.to_owned(), error: self.safe(&error.to_string()) });
        }
    }

    /// A connector's error may quote what it was given, but never a secret, nor personal data.
    fn refused(&self, error: source::Error, recent: Option<&Recent>) -> OpenError {
        let redact = |text: String| self.safe(&personal::clean(recent, text));
        OpenError::Refused(match error {
            source::Error::Config(text) => source::Error::Config(redact(text)),
            source::Error::Auth(text) => source::Error::Auth(redact(text)),
            source::Error::Transient(text) => source::Error::Transient(redact(text)),
            source::Error::Data(text) => source::Error::Data(redact(text)),
            source::Error::Restart(text) => source::Error::Restart(redact(text)),
            source::Error::Http(text) => source::Error::Http(redact(text)),
            source::Error::Absent(text) => source::Error::Absent(redact(text)),
            source::Error::Other(text) => source::Error::Other(redact(text)),
        })
    }
}

/// By this a connector's own budgets are told from another's: long enough that nobody makes a second connector for it.
fn budget_owner(digest: &str) -> String {
    digest.chars().take(16).collect()
}

fn seed(run: &str, label: &str) -> u64 {
    let digest = Sha256::digest(format!("{run}\n{label}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(digest.get(..8).unwrap_or(&[0; 8]));
    u64::from_le_bytes(bytes)
}

/// Builds the policy: what the description asks for and the grant allows, filled from the configuration, and what the
/// user allows on top.
pub(crate) fn policy(
    description: &source::Description,
    grant: &Grant,
    config: &Config,
    allowed: &[HostPattern],
) -> Result<Policy, OpenError> {
    let mut policy = Policy::default();
    let granted: Vec<String> = grant.hosts.iter().map(|host| grant::without_defaults(host)).collect();
    for host in description.hosts.iter().filter(|host| granted.contains(host)) {
        let (pattern, named) = fill_host(host, config)?;
        let pattern: HostPattern = pattern.parse()?;
        // A host that the user wrote into the configuration is one that the user named: it may be a private one.
        policy = if named { policy.named(pattern) } else { policy.described(pattern) };
    }
    for method in description.methods.iter().map(|method| grant::method_name(*method)) {
        if let (true, Ok(method)) = (grant.methods.iter().any(|granted| granted == method), method.parse()) {
            policy = policy.method(method);
        }
    }
    Ok(allowed.iter().cloned().fold(policy, Policy::named))
}

/// Adds to the user's rates those that the description keeps to, and those that it kept to when it was granted.
fn rates(described: &source::Budget, grant: &Grant, user: &http::Rates) -> http::Rates {
    let (granted, at_once) = grant::parse_limits(&grant.limits);
    let mut all = grant::rates(described);
    all.extend(granted.into_iter().filter(|rate| !grant::rates(described).contains(rate)));
    let concurrency = described.concurrency.into_iter().chain(at_once).min();
    http::Rates { described: all, concurrency, ..user.clone() }
}

/// Names of headers: the user's word, else the description's.
fn headers(described: &source::BudgetHeaders, user: &http::HeaderNames) -> http::HeaderNames {
    let either = |user: &Option<String>, described: &Option<String>| user.clone().or_else(|| described.clone());
    http::HeaderNames {
        limit: either(&user.limit, &described.limit),
        remaining: either(&user.remaining, &described.remaining),
        reset: either(&user.reset, &described.reset),
        bucket: either(&user.bucket, &described.bucket),
    }
}

/// Tells whether a secret's place is one of those granted, where `*` stands for any name.
fn is_granted(place: &str, granted: &[String]) -> bool {
    let steps = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let place = steps(place);
    granted.iter().any(|pattern| {
        let pattern = steps(pattern);
        // A secret may be a whole object or list, of which each text is one.
        pattern.len() <= place.len()
            && pattern.iter().zip(&place).all(|(pattern, step)| {
                let star = pattern.strip_suffix("[]").unwrap_or(pattern) == "*";
                star || pattern == step
                    || (!pattern.ends_with("[]") && step.strip_suffix("[]") == Some(pattern.as_str()))
            })
    })
}

/// Fills `{name}` in a host of the description. Says whether every part of it that is a name came from the user.
fn fill_host(host: &str, config: &Config) -> Result<(String, bool), OpenError> {
    let mut filled = String::new();
    let mut given = BTreeSet::new();
    let mut rest = host;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else { break };
        filled.push_str(before);
        given.insert(before.is_empty());
        let place = format!("/{}", name.replace('.', "/"));
        let value = config.visible.pointer(&place).and_then(Value::as_str);
        filled.push_str(value.ok_or_else(|| OpenError::HostValue(name.to_owned()))?);
        given.insert(config.given.pointer(&place).is_some());
        rest = behind;
    }
    filled.push_str(rest);
    given.insert(rest.is_empty());
    Ok((filled, !given.contains(&false)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> Config {
        let schema = r#"{"properties": {"base_url": {"type": "string", "default": "https://api.example.com/v3"}}}"#;
        Config::new(Sources { value, ..Sources::default() }, schema).unwrap()
    }

    #[test]
    fn only_a_host_that_the_user_wrote_is_one_that_the_user_named() {
        let given = config(json!({"base_url": "http://127.0.0.1:8080/api", "site": "acme"}));
        let fill = |host: &str| fill_host(host, &given).unwrap();
        assert_eq!(fill("{base_url}"), ("http://127.0.0.1:8080/api".to_owned(), true));
        assert_eq!(fill("{site}.example.com"), ("acme.example.com".to_owned(), false));
        assert_eq!(fill("api.example.com"), ("api.example.com".to_owned(), false));
        let default = config(json!({}));
        assert_eq!(fill_host("{base_url}", &default).unwrap(), ("https://api.example.com/v3".to_owned(), false));
        assert_eq!(
            fill_host("{site}", &default).unwrap_err().to_string(),
            "the connector reaches the host {site}, and the configuration gives no site"
        );
    }

    #[test]
    fn a_secret_is_granted_by_its_place() {
        let granted = |place: &str| {
            let places = ["auth.token", "keys[].value", "more.*.word", "all"].map(str::to_owned);
            is_granted(place, &places)
        };
        for place in ["auth.token", "keys[].value", "more.x.word", "all", "all.of.it", "all[]"] {
            assert!(granted(place), "{place}");
        }
        for place in ["auth", "auth.other", "keys.value", "more.word", "allover"] {
            assert!(!granted(place), "{place}");
        }
    }
}
