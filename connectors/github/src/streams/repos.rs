//! `repos`: the repositories of an organisation or user, and single ones.

use connector_sdk::prelude::*;

use crate::{
    api,
    config::{Github, Source},
};

pub(super) const NAME: &str = "repos";

/// One partition a source.
pub(super) fn partitions(github: &Github) -> Result<Vec<Partition>> {
    github.sources().iter().map(|source| Partition::new(source.name()).context(source)).collect()
}

/// Reads one source.
pub(super) fn read(github: &Github, read: &Read) -> Result<Option<String>> {
    let source: Source = read.context()?;
    match github.repositories(&source) {
        Some(request) => {
            let request = api::GONE.iter().fold(request, |request, status| request.accept(*status));
            let name = source.name();
            read.pages(request, "", LinkHeader::new())
                .each(|response| match response.status() {
                    status if api::GONE.contains(&status) => Err(api::gone(status, &name)),
                    _ => Ok(()),
                })
                .run()?;
        }
        // A checkpoint says that the one record was committed.
        None if read.resume.is_some() => {}
        None => {
            let response =
                github.get(&source.own_path()).send().map_err(|error| api::explain(error, &source.name()))?;
            // Whether the host wants more or not, there is no more.
            let _ = Page::select(response, "").checkpoint("read").emit();
        }
    }
    Ok(None)
}
