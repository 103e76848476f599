//! `host check`.

use std::sync::Arc;

use clap::Args;
use host::http::Archive;

use super::args::{ConfigArgs, ConnectorArgs, LimitArgs, NetworkArgs, PlaceArgs};
use super::grant::GrantArgs;
use super::print::Out;
use super::progress::{Progress, Style};
use super::{CliError, Exit};

/// Arguments of `host check` and of others that ask a configured connector something.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    connector: ConnectorArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    grant: GrantArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl CheckArgs {
    /// Returns the connector as the user named it.
    pub(crate) fn name(&self) -> &str {
        &self.connector.connector
    }

    /// Opens the connector as a run would, but keeps nothing of what it does.
    pub(crate) async fn open(&self) -> Result<host::run::Opened, CliError> {
        let observer = Arc::new(Progress::new(Style::Lines { verbose: false }));
        let described = self.connector.describe(&self.limits, observer.clone()).await?;
        let described = self.place.signing_in(described, &self.connector, &self.config, &self.grant);
        let name = &self.connector.connector;
        let store = self.place.store(&described)?;
        let sources = self.config.sources(&store)?;
        let config = described.configure(sources).map_err(|error| CliError::from(error).about(name))?;
        let came_along = self.connector.came_along()?;
        let grant = self.grant.decide(&described, &config, self.config.file(), came_along);
        let grant = grant.map_err(|error| error.about(name))?;
        let network = host::run::Network { grant, ..self.network.network(None, store)? };
        let opened = described.open(config, &network, Archive::disabled(), "check", observer);
        opened.map_err(|error| CliError::from(error).about(name))
    }
}

/// Asks a connector whether its configuration works.
pub(crate) async fn check(args: CheckArgs, out: &mut Out) -> Result<Exit, CliError> {
    let opened = args.open().await?;
    let checked = opened.check().await;
    checked.map_err(|error| CliError::from(error).about(&args.connector.connector).failed())?;
    out.line(format!("{} accepts the configuration and reaches its API", opened.description().name))?;
    Ok(Exit::Complete)
}
