//! GitHub: the repositories of an organisation or a user, and what happens in them.
//!
//! The stream `repos` is read by source (organisation, user, single repository), every other stream
//! by repository. Facts about the API are from its documentation, <https://docs.github.com/rest>.

mod api;
mod config;
mod streams;
mod time;

use connector_sdk::prelude::*;

use config::Github;

impl Connector for Github {
    fn describe() -> Description {
        description!("Repositories of GitHub organisations and users, and what happens in them")
            .docs_url("https://docs.github.com/rest")
            .host("{base_url}")
            .auth(Auth::new("token", AuthKind::Bearer).parameter("prefix", "token"))
            .auth(
                // docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps#device-flow
                Auth::new("device", AuthKind::OAuth2DeviceCode)
                    .parameter("device_url", "https://github.com/login/device/code")
                    .parameter("token_url", "https://github.com/login/oauth/access_token"),
            )
            .config_schema(config::schema())
    }

    fn check(&self) -> Result<()> {
        self.validate()?;
        for source in self.sources() {
            self.get(&source.own_path()).send().map_err(|error| api::explain(error, &source.name()))?;
        }
        Ok(())
    }

    fn streams(&self) -> Result<Vec<Stream>> {
        self.validate()?;
        Ok(streams::all(self))
    }

    fn partitions(&self, stream: &str, _since: Option<&str>) -> Result<Vec<Partition>> {
        self.validate()?;
        streams::partitions(self, stream)
    }

    fn read(&self, read: &Read) -> Result<Option<String>> {
        self.validate()?;
        streams::read(self, read)
    }
}

connector_sdk::export!(Github);
