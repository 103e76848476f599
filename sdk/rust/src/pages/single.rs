//! No pagination at all.

use super::{PageError, Paginator, Received, Step};
use crate::Request;

/// Reads one page, for lists that come whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct Single;

impl Paginator for Single {
    fn request(&self, base: &Request) -> Result<Request, PageError> {
        Ok(base.clone())
    }

    fn advance(&mut self, _page: &Received<'_>) -> Result<Step, PageError> {
        Ok(Step::END)
    }

    fn save(&self) -> String {
        "null".into()
    }

    fn restore(&mut self, saved: &str) -> Result<(), PageError> {
        match saved {
            "null" => Ok(()),
            _ => Err(PageError::Checkpoint("expected the end of a single page".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sim::{Sim, reply, things};
    use super::*;
    use crate::json;

    #[test]
    fn one_page_is_all_and_is_not_read_again() {
        let all = things(0..5);
        Sim::new(Single).is_exact(|_| reply(all.clone(), json!({ "next": "x" })), &all);
    }
}
