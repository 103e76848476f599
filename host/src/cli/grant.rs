//! Grants: what a connector may do is shown and asked once, and kept in `connectors.lock`.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use host::config::Config;
use host::grant::{Decision, Grant, Lock};
use host::run::Described;

use super::CliError;
use super::print;

/// Name of the file, beside the configuration or in the current folder.
const FILE: &str = "connectors.lock";

/// What the user says about grants.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// Grant the connector what it asks for, without asking on the terminal.
    #[arg(long, help_heading = "Grants")]
    grant: bool,
    /// File of grants [default: connectors.lock beside the configuration file, else in the current folder].
    #[arg(long, value_name = "FILE", help_heading = "Grants")]
    lock: Option<PathBuf>,
}

impl GrantArgs {
    /// The file of grants, where the user names one.
    pub(crate) fn lock(&self) -> Option<&PathBuf> {
        self.lock.as_ref()
    }

    /// Decides whether a connector may run, asking where it must. None: it came along with the host, and may do what its
    /// description asks for.
    pub(crate) fn decide(
        &self,
        described: &Described,
        config: &Config,
        config_file: Option<&PathBuf>,
        came_along: bool,
    ) -> Result<Option<Grant>, CliError> {
        if came_along {
            return Ok(None);
        }
        let path = self.lock.clone().unwrap_or_else(|| match config_file {
            Some(file) => file.with_file_name(FILE),
            None => PathBuf::from(FILE),
        });
        let wants = described.wants()?;
        let lock = Lock::read(&path)?;
        let file = path.display().to_string();
        let named = format!("{} {}", wants.name, wants.version);
        let (title, lines) = match lock.decide(&wants) {
            Decision::Granted(grant) => return Ok(Some(grant)),
            Decision::NoMore(grant) => {
                Lock::grant(&path, grant.clone())?;
                print::stderr(&format!("{named} asks for no more than {file} grants; its digest is written there"));
                return Ok(Some(grant));
            }
            Decision::New => {
                let lines = wants.lines(|host| described.show_host(host, config));
                let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
                (format!("{named} has not run here before, and asks for:"), lines.join("\n"))
            }
            Decision::More(more) => (format!("{named} asks for more than {file} grants:"), more.to_string()),
        };
        if !self.grant {
            if !(io::stdin().is_terminal() && print::is_watched()) {
                let next = format!("if you grant it, run again with --grant; it is kept in {file}");
                return Err(CliError::grant(format!("{title}\n{lines}")).next(next));
            }
            print::stderr(&format!("{title}\n{lines}\nGrant it, and keep that in {file}? [y/N]"));
            let mut answer = String::new();
            let read = io::stdin().lock().read_line(&mut answer);
            if read.is_err() || !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
                return Err(CliError::grant(format!("{named} was not granted what it asks for"))
                    .next("look at what it is with `host inspect CONNECTOR`"));
            }
        }
        Lock::grant(&path, wants.clone())?;
        Ok(Some(wants))
    }
}
