//! Arguments that several subcommands share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use host::auth::Store;
use host::auth::store::StoreError;
use host::config::{self, LoadError, Source, Sources};
use host::engine::Engine;
use host::engine::cache::Cache;
use host::engine::limits::Limits;
use host::event::Observer;
use host::http::proxy::{Of, Proxy};
use host::http::{BreakerRules, HeaderNames, HostPattern, Pool, Rate, Rates, retry, transport};
use host::run::{Described, Network};
use host::state::SqliteBudgets;
use host::time::SystemClock;

use super::grant::GrantArgs;
use super::keyring::Keys;
use super::units::{parse_bytes, parse_duration, parse_some};
use super::{CliError, connectors};

/// Where everything of a connection is, if nobody says otherwise.
pub(crate) const OUT: &str = "data";

/// Which connector.
#[derive(Debug, Args)]
pub(crate) struct ConnectorArgs {
    /// Path of a component, or the name of a connector that comes along (github, rest).
    pub(crate) connector: String,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Where compiled code is kept.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Folder of compiled components [default: host/ in the user's cache folder].
    #[arg(long, value_name = "DIR", help_heading = "Compiled code")]
    cache_dir: Option<PathBuf>,
    /// Compile each time, and keep nothing.
    #[arg(long, help_heading = "Compiled code")]
    no_cache: bool,
}

/// How it is configured.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration in YAML, TOML or JSON; ${env:NAME}, ${file:PATH} and ${secret:NAME} (see `host auth`) in it are
    /// filled in.
    #[arg(long, short, value_name = "FILE", help_heading = "Configuration")]
    config: Option<PathBuf>,
    /// One setting, on top of the file; keys inside of others with dots (auth.token=…). Repeatable.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Configuration")]
    set: Vec<String>,
}

/// Where a connection keeps its state.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Output folder of the connection, where its credentials are kept.
    #[arg(long, value_name = "DIR", default_value = OUT, help_heading = "Connection")]
    out: PathBuf,
    /// Name of the connector with this configuration and its state [default: the connector's name].
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    connection: Option<String>,
}

impl PlaceArgs {
    /// Has errors name the command by which a person signs in.
    pub(crate) fn signing_in(
        &self,
        described: Described,
        connector: &ConnectorArgs,
        config: &ConfigArgs,
        grant: &GrantArgs,
    ) -> Described {
        described.signed_in_by(login_command(connector, config, grant, &self.out, self.connection.as_deref()))
    }

    /// The credentials of the connection of a connector.
    pub(crate) fn store(&self, described: &Described) -> Result<Store, CliError> {
        store(&self.out, self.connection.as_deref().unwrap_or(&described.description().name))
    }
}

/// The command by which a person signs in for a connection, as it is to be typed where this one was.
pub(crate) fn login_command(
    connector: &ConnectorArgs,
    config: &ConfigArgs,
    grant: &GrantArgs,
    out: &Path,
    connection: Option<&str>,
) -> String {
    let mut words = vec!["host auth login".to_owned(), quoted(&connector.connector)];
    let mut flag =
        |name: &str, value: Option<String>| words.extend(value.map(|value| format!("{name} {}", quoted(&value))));
    flag("--config", config.config.as_ref().map(|path| path.display().to_string()));
    flag("--out", Some(out.display().to_string()).filter(|out| out != OUT));
    flag("--connection", connection.map(str::to_owned));
    flag("--lock", grant.lock().map(|path| path.display().to_string()));
    // Their values may be secrets.
    words.extend(
        config.set.iter().filter_map(|text| text.split_once('=')).map(|(key, _)| format!("--set {}=…", quoted(key))),
    );
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+=,~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The credentials of a connection.
pub(crate) fn store(out: &Path, connection: &str) -> Result<Store, CliError> {
    if !host::run::is_name(connection) {
        return Err(host::run::RunError::ConnectionName(connection.to_owned()).into());
    }
    Ok(Store::new(out, connection, Arc::new(Keys::new())))
}

/// Where it may go, and how fast.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Host that the connector may reach besides those of its description: host, host:port, *.host, http://host.
    /// Naming a private address here allows it. Repeatable.
    #[arg(long, value_name = "HOST", help_heading = "Network")]
    allow_host: Vec<HostPattern>,
    /// Most requests: 10/s, 300/min, 5000/h, a fixed delay as 1/200ms, or with a burst 600/min:burst=20. For one host:
    /// HOST=10/s. Repeatable.
    #[arg(long, value_name = "RATE", help_heading = "Network", value_parser = parse_rate)]
    rate: Vec<(Option<String>, Rate)>,
    /// Header in which the API tells its limit, where it has names of its own: limit=NAME, remaining=NAME, reset=NAME or
    /// bucket=NAME. Repeatable.
    #[arg(long, value_name = "WHAT=NAME", help_heading = "Network", value_parser = parse_budget_header)]
    budget_header: Vec<(String, String)>,
    /// File of rate limits that processes on this machine share [default: _budgets.db in the output folder].
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    budgets: Option<PathBuf>,
    /// Times that a request is sent in all before it fails; 1 sends it once.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = parse_some::<u32>, help_heading = "Network")]
    attempts: u32,
    /// First wait between attempts; it doubles each time, with jitter.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = parse_duration, help_heading = "Network")]
    retry_base: Duration,
    /// Longest wait between attempts, where the server does not ask for a longer one.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, help_heading = "Network")]
    retry_cap: Duration,
    /// Failures of a host in a row after which it is left alone for a while; 0 for never.
    #[arg(long, value_name = "N", default_value_t = 30, help_heading = "Network")]
    breaker: u32,
    /// Longest wait for a rate limit; what would take longer ends the read, which the next run goes on with.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration, help_heading = "Network")]
    max_wait: Duration,
    /// Most requests under way at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = parse_some::<usize>, help_heading = "Network")]
    max_in_flight: usize,
    /// Greatest response.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes, help_heading = "Network")]
    max_response: u64,
    /// Longest time to connect.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = "Network")]
    connect_timeout: Duration,
    /// Longest silence of a server.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration, help_heading = "Network")]
    idle_timeout: Duration,
    /// Longest time of one request.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration, help_heading = "Network")]
    request_timeout: Duration,
    /// Proxy for all requests: http://HOST:PORT, https://… or socks5://… [default: the variables https_proxy, HTTPS_PROXY,
    /// http_proxy, all_proxy and ALL_PROXY].
    #[arg(long, value_name = "URL", help_heading = "Network")]
    proxy: Option<String>,
    /// Hosts that are asked without a proxy, separated by commas; * for all [default: the variables no_proxy, NO_PROXY].
    #[arg(long, value_name = "LIST", help_heading = "Network")]
    no_proxy: Option<String>,
    /// Certificate chain that this client shows to servers, in PEM; goes with --client-key.
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "Network")]
    client_cert: Option<PathBuf>,
    /// Private key of --client-cert, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = "Network")]
    client_key: Option<PathBuf>,
    /// Certificate authorities to trust besides the public ones, in PEM.
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    ca_file: Option<PathBuf>,
}

/// What it may use up.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Memory of one read.
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = parse_bytes, help_heading = "Limits")]
    max_memory: u64,
    /// Computing time between two calls of the host.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = "Limits")]
    max_cpu: Duration,
    /// Time of one read, waits included.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration, help_heading = "Limits")]
    max_read_time: Duration,
    /// Stack of a connector's code.
    #[arg(long, value_name = "BYTES", default_value = "512KiB", value_parser = parse_bytes, help_heading = "Limits")]
    max_stack: u64,
    /// Elements of all its tables.
    #[arg(long, value_name = "N", default_value_t = 100_000, help_heading = "Limits")]
    max_table_elements: usize,
    /// Core instances in its component.
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Limits")]
    max_instances: usize,
    /// Core memories in its component.
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Limits")]
    max_memories: usize,
    /// Tables in its component.
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Limits")]
    max_tables: usize,
    /// Requests that one read may have started and not yet waited for.
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Limits")]
    max_pending: usize,
    /// Responses and started requests that one read may hold at once.
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = parse_bytes, help_heading = "Limits")]
    max_held: u64,
    /// What the connector hands over at once, as a page that it makes itself.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes, help_heading = "Limits")]
    max_page: u64,
    /// One record.
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = parse_bytes, help_heading = "Limits")]
    max_record: u64,
    /// Nesting of JSON.
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Limits")]
    max_json_depth: usize,
    /// Text that one read may write to the log.
    #[arg(long, value_name = "BYTES", default_value = "4MiB", value_parser = parse_bytes, help_heading = "Limits")]
    max_log: u64,
    /// What a connection may store between runs.
    #[arg(long, value_name = "BYTES", default_value = "1MiB", value_parser = parse_bytes, help_heading = "Limits")]
    max_storage: u64,
    /// Records of one reading of a stream that may turn out not to be storable: they are kept aside as dead letters. 0 ends
    /// a read at the first.
    #[arg(long, value_name = "N", default_value_t = 1_000, help_heading = "Limits")]
    max_dead_letters: u64,
}

impl LimitArgs {
    fn limits(&self) -> Limits {
        Limits {
            memory_bytes: size(self.max_memory),
            table_elements: self.max_table_elements,
            instances: self.max_instances,
            memories: self.max_memories,
            tables: self.max_tables,
            stack_bytes: size(self.max_stack),
            cpu: self.max_cpu,
            read_time: self.max_read_time,
            pending_requests: self.max_pending,
            held_bytes: self.max_held,
            page_bytes: size(self.max_page),
            record_bytes: size(self.max_record),
            json_depth: self.max_json_depth,
            log_bytes: self.max_log,
            storage_bytes: self.max_storage,
            dead_letters: self.max_dead_letters,
        }
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn parse_rate(text: &str) -> Result<(Option<String>, Rate), String> {
    // A burst is written with = too, but only behind the rate's own slash.
    let (host, rate) = match text.split_once('=') {
        Some((host, rate)) if !host.contains('/') => (Some(host.to_owned()), rate),
        _ => (None, text),
    };
    Ok((host, rate.parse().map_err(|error: host::http::RateError| error.to_string())?))
}

fn parse_budget_header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((what @ ("limit" | "remaining" | "reset" | "bucket"), name)) if !name.is_empty() => {
            Ok((what.to_owned(), name.to_owned()))
        }
        _ => Err(format!("write limit=NAME, remaining=NAME, reset=NAME or bucket=NAME: {text:?}")),
    }
}

/// The first of these environment variables that is set and not empty.
fn variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, std::env::var(name).ok().filter(|text| !text.is_empty())?)))
}

impl NetworkArgs {
    /// The proxies of the flag, else of the environment, by the names that curl knows. `HTTP_PROXY` is none of them: a web
    /// server sets it from a header of its own client.
    fn proxies(&self) -> Result<Vec<Proxy>, CliError> {
        let read = |of: Of, text: &str, from: &str| {
            let next = format!("mend {from}, or give --no-proxy '*' to use none");
            Proxy::new(of, text).map_err(|error| CliError::usage(format!("{from}: {error}")).next(next))
        };
        if let Some(text) = &self.proxy {
            return Ok(vec![read(Of::All, text, "--proxy")?]);
        }
        if self.no_proxy.as_deref() == Some("*") {
            return Ok(Vec::new());
        }
        let mut proxies = Vec::new();
        for (of, names) in [
            (Of::Https, &["https_proxy", "HTTPS_PROXY"][..]),
            (Of::Http, &["http_proxy"]),
            (Of::All, &["all_proxy", "ALL_PROXY"]),
        ] {
            if let Some((name, text)) = variable(names) {
                proxies.push(read(of, &text, name)?);
            }
        }
        Ok(proxies)
    }

    /// Budgets are shared through a file, also one in the output folder.
    fn pool(&self, out: Option<&Path>) -> Result<Pool, CliError> {
        let Some(path) = self.budgets.clone().or_else(|| Some(out?.join("_budgets.db"))) else {
            return Ok(Pool::default());
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // Where it cannot be made, the run itself says so, or the file below.
            let _ = std::fs::create_dir_all(folder);
        }
        match SqliteBudgets::open(&path) {
            Ok(store) => Ok(Pool::with_store(Arc::new(store))),
            // It only costs the sharing.
            Err(_) if self.budgets.is_none() => Ok(Pool::default()),
            Err(reason) => Err(CliError::usage(format!("cannot share rate limits through {reason}"))
                .next("give --budgets another file")),
        }
    }

    pub(crate) fn network(&self, out: Option<&Path>, store: Store) -> Result<Network, CliError> {
        let mut budget_headers = HeaderNames::default();
        for (what, name) in &self.budget_header {
            let place = match what.as_str() {
                "limit" => &mut budget_headers.limit,
                "remaining" => &mut budget_headers.remaining,
                "reset" => &mut budget_headers.reset,
                _ => &mut budget_headers.bucket,
            };
            *place = Some(name.clone());
        }
        let read = |path: &PathBuf, flag: &str| {
            std::fs::read(path).map_err(|error| {
                CliError::usage(format!("cannot read {}: {error}", path.display()))
                    .next(format!("give {flag} a file of certificates in PEM"))
            })
        };
        let ca_pem = self.ca_file.as_ref().map(|path| read(path, "--ca-file")).transpose()?;
        let client_pem = match (&self.client_cert, &self.client_key) {
            (Some(certificates), Some(key)) => Some(transport::ClientPem {
                certificates: read(certificates, "--client-cert")?,
                key: std::fs::read(key).map_err(|error| {
                    CliError::usage(format!("cannot read {}: {error}", key.display()))
                        .next("give --client-key the certificate's private key in PEM")
                })?,
            }),
            _ => None,
        };
        let mut rates = Rates::default();
        for (host, rate) in &self.rate {
            match host {
                Some(host) => rates.named.push((host.clone(), *rate)),
                None => rates.default = Some(*rate),
            }
        }
        Ok(Network {
            grant: None,
            allow_hosts: self.allow_host.clone(),
            carrier: None,
            transport: transport::Options {
                connect_timeout: self.connect_timeout,
                idle_timeout: self.idle_timeout,
                total_timeout: self.request_timeout,
                ca_pem,
                client_pem,
                proxies: self.proxies()?,
                no_proxy: self.no_proxy.clone().or_else(|| variable(&["no_proxy", "NO_PROXY"]).map(|(_, text)| text)),
                ..transport::Options::default()
            },
            retry: retry::Rules { attempts: self.attempts, base: self.retry_base, cap: self.retry_cap },
            breaker: BreakerRules { failures: self.breaker, ..BreakerRules::default() },
            rates,
            budget_headers,
            pool: self.pool(out)?,
            max_wait: self.max_wait,
            max_in_flight: self.max_in_flight,
            max_body_bytes: self.max_response,
            store: Some(store),
        })
    }
}

impl ConnectorArgs {
    /// Loads the connector and asks it what it is.
    pub(crate) async fn describe(
        &self,
        limits: &LimitArgs,
        observer: Arc<dyn Observer>,
    ) -> Result<Described, CliError> {
        let path = connectors::find(&self.connector)?.path;
        let engine = self.cache.engine(limits)?;
        let described = Described::load(engine, &path, observer, Arc::new(SystemClock::new())).await?;
        Ok(described.called(&self.connector))
    }

    /// Tells whether the connector came along with the host.
    pub(crate) fn came_along(&self) -> Result<bool, CliError> {
        Ok(connectors::find(&self.connector)?.came_along)
    }
}

impl CacheArgs {
    /// Makes an engine.
    pub(crate) fn engine(&self, limits: &LimitArgs) -> Result<Arc<Engine>, CliError> {
        let cache = if self.no_cache { None } else { self.cache_folder().map(Cache::new) };
        let engine = Engine::new(limits.limits(), cache).map_err(|error| {
            CliError::usage(format!("the engine cannot be set up: {error}")).next("look at the values of the limits")
        })?;
        Ok(Arc::new(engine))
    }

    fn cache_folder(&self) -> Option<PathBuf> {
        let from_env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.cache_dir
            .clone()
            .or_else(|| from_env("XDG_CACHE_HOME").map(|folder| folder.join("host")))
            .or_else(|| from_env("HOME").map(|folder| folder.join(".cache").join("host")))
    }
}

/// The world outside of a configuration.
pub(crate) struct Outside<'a>(pub(crate) &'a Store);

impl Source for Outside<'_> {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn secret(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.0.value(name)
    }
}

/// Looks up the keys by which runs of an output folder hashed personal data.
pub(crate) fn keys(out: &Path) -> host::personal::Keys {
    let out = out.to_owned();
    Arc::new(move |connection, reference| {
        let store = Store::new(&out, connection, Arc::new(Keys::new()));
        config::look_up(reference, &Outside(&store)).map_err(|error| match &error {
            LoadError::File { path, source, .. } => format!("its key cannot be read: {path}: {source}"),
            LoadError::Env { name, .. } => format!("its key is not there: the environment variable {name} is not set"),
            LoadError::Secret { name, .. } => {
                format!("its key is not there: no value {name} is stored for the connection")
            }
            _ => format!("its key cannot be had: {error}"),
        })
    })
}

impl ConfigArgs {
    /// Returns the file, where there is one.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.config.as_ref()
    }

    /// Reads the configuration, with values that are stored for the connection.
    pub(crate) fn sources(&self, store: &Store) -> Result<Sources, CliError> {
        let file = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    CliError::config(format!("cannot read the configuration {}: {error}", path.display()))
                        .next("check the path given to --config")
                })?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        Ok(config::load(file, &self.set, &Outside(store))?)
    }
}
