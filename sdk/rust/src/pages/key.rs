//! Values of single records, looked up in a response.

use super::{PageError, Received};

/// Turns a field's name into a pointer; a text that starts with a slash is one already.
pub(super) fn field_pointer(field: &str) -> String {
    if field.starts_with('/') { field.to_owned() } else { format!("/{}", field.replace('~', "~0").replace('/', "~1")) }
}

/// Returns the JSON text of a record's field; none where it is absent or `null`.
pub(super) fn optional(page: &Received<'_>, index: u64, pointer: &str) -> Result<Option<String>, PageError> {
    let text = page.response.json_text(&format!("{}/{index}{pointer}", page.records))?;
    Ok(text.filter(|t| t != "null"))
}

/// Returns the JSON text of a record's field, which must be there.
pub(super) fn required(page: &Received<'_>, index: u64, pointer: &str) -> Result<String, PageError> {
    optional(page, index, pointer)?.ok_or_else(|| PageError::Missing {
        what: format!("value at {:?}", format!("{}/{index}{pointer}", page.records)),
        request: page.request.to_string(),
    })
}

/// Returns the JSON text of a record's field, which must be there; none for an element that is no record.
pub(super) fn of_record(page: &Received<'_>, index: u64, pointer: &str) -> Result<Option<String>, PageError> {
    if let Some(text) = optional(page, index, pointer)? {
        return Ok(Some(text));
    }
    // Of an element that is no JSON, a text is shown.
    let element = page.response.json_text(&format!("{}/{index}", page.records))?;
    match element.is_some_and(|text| text.trim_start().starts_with('{')) {
        true => required(page, index, pointer).map(Some),
        false => Ok(None),
    }
}
