//! Telling a 200 that is an error in truth, by what stands in its body.

use connector_sdk::pages::Rejection;
use connector_sdk::{ResponseView, Result};
use serde_json::Value;

use crate::config::Reject;

/// Longer reasons of an API are cut off.
const REASON_CHARS: usize = 300;

impl Reject {
    pub(crate) fn validate(&self) -> Result<(), String> {
        match (&self.present, &self.absent) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err("reject needs either `present` or `absent`".into()),
        }
        if self.equals.is_some() && self.present.is_none() {
            return Err("reject.equals goes with reject.present".into());
        }
        let pointers = [&self.present, &self.absent, &self.reason].into_iter().flatten();
        match pointers.into_iter().find(|pointer| !pointer.starts_with('/')) {
            Some(pointer) => Err(format!("reject: not a pointer that starts with a slash: {pointer}")),
            None => Ok(()),
        }
    }

    fn judge(&self, response: &dyn ResponseView) -> Result<Option<Rejection>> {
        let value = |pointer: &Option<String>| -> Result<Option<Value>> {
            let Some(pointer) = pointer else { return Ok(None) };
            Ok(response.json::<Option<Value>>(pointer)?.filter(|value| !value.is_null()))
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let found = match (&self.present, &self.absent) {
            (Some(pointer), _) => match (value(&self.present)?, &self.equals) {
                (Some(found), Some(wanted)) if !wanted.contains(&found) => None,
                (Some(found), _) => Some(format!("{pointer} is {}", text(&found))),
                (None, _) => None,
            },
            (None, Some(pointer)) if value(&self.absent)?.is_none() => Some(format!("there is no {pointer}")),
            _ => None,
        };
        let Some(found) = found else { return Ok(None) };
        let said = value(&self.reason)?.as_ref().map(text);
        let reason = said.unwrap_or(found).chars().take(REASON_CHARS).collect();
        Ok(Some(Rejection { reason, retryable: self.retryable }))
    }
}

/// Judges a response by the rules of a stream, in their order.
pub(crate) fn judge(rules: &[Reject], response: &dyn ResponseView) -> Result<Option<Rejection>> {
    for rule in rules {
        if let Some(rejection) = rule.judge(response)? {
            return Ok(Some(rejection));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use connector_sdk::testing::Reply;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_in_the_body_decides() {
        let rules: Vec<Reject> = serde_json::from_value(json!([
            {"present": "/error/code", "equals": ["busy", 7], "reason": "/error/message", "retryable": true},
            {"present": "/error"},
            {"absent": "/data", "retryable": true},
        ]))
        .unwrap();
        let rejection = |reason: &str, retryable| Some(Rejection { reason: reason.into(), retryable });
        for (body, expected) in [
            (r#"{"data": []}"#, None),
            (r#"{"data": [], "error": null}"#, None),
            (r#"{"error": {"code": "busy", "message": "come back"}}"#, rejection("come back", true)),
            (r#"{"error": {"code": 7}}"#, rejection("/error/code is 7", true)),
            (r#"{"data": [], "error": {"code": 8}}"#, rejection(r#"/error is {"code":8}"#, false)),
            (r#"{"data": null}"#, rejection("there is no /data", true)),
        ] {
            assert_eq!(judge(&rules, &Reply::json(body)).unwrap(), expected, "{body}");
        }
        assert!(judge(&rules, &Reply::json("<html>")).is_err());
    }
}
