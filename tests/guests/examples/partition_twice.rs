//! Names two partitions alike.

use guests::prelude::*;

struct Case;

impl Guest for Case {
    fn partitions(_: &Config, _: &str) -> Result<Vec<Partition>> {
        Ok(["twice", "twice"].map(Partition::new).into())
    }

    fn read(_: &Config, read: &Read) -> Result<Option<String>> {
        let id = read.partition.as_ref().map(|partition| &partition.id);
        let _ = Page::json(json!([{"id": id}]).to_string()).emit();
        Ok(None)
    }
}

connector_sdk::export!(Connection<Case>);
