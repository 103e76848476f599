//! Cutting the secrets out of a configuration.

use serde_json::Value;

use crate::auth::{Secret, Secrets};

/// Replaces the texts at `places` (JSON pointers, also of whole objects or arrays) by placeholders, and adds them to `secrets`.
pub(super) fn split(mut value: Value, places: &[String], secrets: Secrets) -> Result<(Value, Secrets), String> {
    for place in places {
        if let Some(secret) = value.pointer_mut(place) {
            take(secret, place, &secrets)?;
        }
    }
    Ok((value, secrets))
}

fn take(value: &mut Value, place: &str, secrets: &Secrets) -> Result<(), String> {
    match value {
        Value::Null => Ok(()),
        Value::String(text) => {
            *text = secrets.insert(&name(place), Secret::new(std::mem::take(text)));
            Ok(())
        }
        Value::Array(items) => {
            items.iter_mut().enumerate().try_for_each(|(index, item)| take(item, &format!("{place}/{index}"), secrets))
        }
        Value::Object(members) => {
            members.iter_mut().try_for_each(|(name, member)| take(member, &format!("{place}/{name}"), secrets))
        }
        Value::Bool(_) | Value::Number(_) => Err(format!("{place}: a secret is a text; write it in quotes")),
    }
}

/// Names a secret by its place: `/auth/token` is `auth.token`.
fn name(place: &str) -> String {
    place.trim_start_matches('/').replace('/', ".")
}
