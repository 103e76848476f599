//! What was found at a page besides its records, as the page log keeps it.

use serde::{Deserialize, Serialize};

/// How a page was found to hang together with the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeamFound {
    /// It goes on behind the last record, by a key or token.
    Anchored,
    /// Its place was counted.
    Counted,
    /// It began with the last record of the page before, which was left out.
    Met,
    /// It should have begun with the last record of the page before, and did not.
    Missed,
}

/// What was found at a page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageChecks {
    /// How it hangs together with the page before; none for the first with records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seam: Option<SeamFound>,
    /// What tells its last record from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<u64>,
    /// Records that were left out, since an earlier read brought them as they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub known: u64,
    /// Records that stand on the wrong side of the one before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub out_of_order: u64,
    /// The last value of the field that orders the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
