//! `host auth`: signing in, and values that are stored for a connection.

use std::io::{IsTerminal, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, Subcommand};
use host::auth::Store;
use host::auth::login::Prompt;

use super::args::{OUT, Outside, store};
use super::check::CheckArgs;
use super::print::{self, Out};
use super::units::parse_duration;
use super::{CliError, Exit};

/// What can be done with credentials.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Signs in with a browser or a code, as the connection's configuration says, and keeps the tokens.
    Login(Box<LoginArgs>),
    /// Stores a value, which ${secret:NAME} in the configuration stands for. Asks for it, or reads standard input.
    Set(SetArgs),
    /// Lists what is stored, without the values.
    List(ListArgs),
    /// Removes a value, or the tokens of a scheme.
    Remove(RemoveArgs),
}

/// Arguments of `host auth login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    check: CheckArgs,
    /// Open no browser; the address is printed.
    #[arg(long)]
    no_browser: bool,
    /// Longest wait for somebody to sign in.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    within: Duration,
}

/// Which connection.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The connection: its connector's name, or what --connection names it.
    connection: String,
    /// Its output folder.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    out: PathBuf,
}

/// Which value.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    place: ListArgs,
    /// The value's name, or the scheme's.
    name: String,
}

/// What is stored.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    place: ListArgs,
    /// The value's name.
    name: String,
    /// Take the value from ${env:NAME} or ${file:PATH}.
    #[arg(long, value_name = "REFERENCE")]
    from: Option<String>,
}

impl ListArgs {
    fn store(&self) -> Result<Store, CliError> {
        store(&self.out, &self.connection)
    }
}

/// Does it.
pub(crate) async fn auth(command: AuthCommand, out: &mut Out) -> Result<Exit, CliError> {
    match command {
        AuthCommand::Login(args) => login(&args, out).await?,
        AuthCommand::Set(args) => set(&args, out)?,
        AuthCommand::List(args) => list(&args, out)?,
        AuthCommand::Remove(args) => remove(&args, out)?,
    }
    Ok(Exit::Complete)
}

async fn login(args: &LoginArgs, out: &mut Out) -> Result<(), CliError> {
    let opened = args.check.open().await?;
    let tell = |prompt: Prompt| match prompt {
        Prompt::Open(url) => {
            print::stderr(&format!("open this page to sign in:\n{url}"));
            if !args.no_browser {
                browse(&url);
            }
        }
        Prompt::Code { url, code, complete } => {
            print::stderr(&format!("open {url} and type the code {code}"));
            if let Some(complete) = complete {
                print::stderr(&format!("or open {complete}"));
            }
        }
    };
    let signed = opened.login(args.within, tell).await;
    signed.map_err(|error| CliError::from(error).about(args.check.name()).failed())?;
    out.line(format!("signed in; {} has its tokens", opened.description().name))
}

/// Opens a page where a person is looking.
fn browse(url: &str) {
    if !print::is_watched() {
        return;
    }
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // The address stands on the terminal, whether or not this works.
    let _ = Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

fn set(args: &SetArgs, out: &mut Out) -> Result<(), CliError> {
    let store = args.place.store()?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if args.name.is_empty() || args.name.len() > 100 || !args.name.bytes().all(letter) {
        return Err(CliError::usage(format!(
            "a value's name is made of letters, digits, -, _ and dots: {}",
            args.name
        ))
        .next("give it another name"));
    }
    let value = match &args.from {
        Some(reference) => {
            if !reference.starts_with("${") || !reference.ends_with('}') {
                return Err(CliError::usage(
                    "--from takes a reference, for a value on the command line is seen by others",
                )
                .next("write --from '${env:NAME}' or '${file:PATH}', or give the value on standard input"));
            }
            let setting = format!("value={reference}");
            let sources = host::config::load(None, &[setting], &Outside(&store))?;
            sources.settings.into_iter().next().map(|(_, value)| value).unwrap_or_default()
        }
        None if std::io::stdin().is_terminal() => {
            let prompt = format!("{} of {}: ", args.name, args.place.connection);
            rpassword::prompt_password(prompt).map_err(|error| unreadable(&error))?
        }
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(&error))?;
            text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).unwrap_or(&text).to_owned()
        }
    };
    if value.is_empty() {
        return Err(CliError::usage("the value is empty").next("type it, or give it on standard input"));
    }
    let replaced = store.set(&args.name, Some(value)).map_err(|error| CliError::store(&error))?;
    let verb = if replaced { "replaced" } else { "stored" };
    let name = &args.name;
    out.line(format!(
        "{verb} {name} for {}; ${{secret:{name}}} stands for it in its configuration",
        args.place.connection
    ))
}

fn unreadable(error: &std::io::Error) -> CliError {
    CliError::usage(format!("cannot read the value: {error}")).next("type it, or give it on standard input")
}

fn list(args: &ListArgs, out: &mut Out) -> Result<(), CliError> {
    let entries = args.store()?.list().map_err(|error| CliError::store(&error))?;
    if entries.is_empty() {
        return out.line(format!("nothing is stored for {}", args.connection));
    }
    let rows: Vec<Vec<String>> = entries
        .into_iter()
        .map(|entry| {
            let ends = entry.expires_at_ms.map(host::http::http_date).unwrap_or_default();
            let kind = match (entry.token, entry.renewable) {
                (false, _) => "value",
                (true, true) => "token, renewed",
                (true, false) => "token",
            };
            vec![entry.name, kind.to_owned(), ends]
        })
        .collect();
    out.table(&["name", "kind", "ends"], &rows)
}

fn remove(args: &RemoveArgs, out: &mut Out) -> Result<(), CliError> {
    let store = args.place.store()?;
    let failed = |error| CliError::store(&error);
    let value = store.set(&args.name, None).map_err(failed)?;
    let tokens = store.forget(&args.name).map_err(failed)?;
    if !value && !tokens {
        let (name, connection) = (&args.name, &args.place.connection);
        return Err(CliError::auth(format!("nothing named {name} is stored for {connection}"))
            .next(format!("see what is there with `host auth list {connection}`, and the same --out")));
    }
    out.line(format!("removed {} of {}", args.name, args.place.connection))
}
