//! Answers that are not as the API gave them: whole ones that tell of something else, and recorded ones with a change.

use bytes::Bytes;
use serde_json::{Value, json};

use super::recording::Answer;

/// The field that is added to records.
const ADDED: &str = "torture_added";

/// A body that tells of an error.
pub(super) fn error_body(random: &mut fastrand::Rng) -> Value {
    let bodies = [
        json!({"error": {"code": 500, "message": "internal error"}}),
        json!({"errors": [{"message": "something went wrong"}], "data": null}),
        json!({"message": "API rate limit exceeded"}),
        json!({"status": "error", "reason": "timeout"}),
        json!("error"),
    ];
    random.choice(&bodies).cloned().unwrap_or_default()
}

/// A page for people.
pub(super) fn html() -> Answer {
    let page = "<!DOCTYPE html><html><head><title>Just a moment</title></head><body>Sign in to go on</body></html>";
    Answer::new(200, "text/html; charset=utf-8", page)
}

/// An answer whose body ends after a part of it, as a proxy leaves it that announces what it has and not what there is.
pub(super) fn truncated(answer: &Answer, random: &mut fastrand::Rng) -> Answer {
    // The first half at most, so that more than white space is missing.
    let end = random.usize(1..=(answer.body.len() / 2).max(1)).min(answer.body.len());
    Answer { body: answer.body.slice(..end), ..answer.clone() }
}

/// Where an answer tells a total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TotalPlace {
    Body(String),
    Header(String),
}

/// Finds where an answer tells a total; none where it cannot be told from other numbers.
pub(super) fn total_of(answer: &Answer, total: u64, list: Option<&str>) -> Option<TotalPlace> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut places = Vec::new();
    numbers(&body, total, String::new(), list, &mut places);
    let named = |place: &str| {
        let name = place.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        name.contains("total") || name.contains("count")
    };
    let mut places: Vec<TotalPlace> = places.into_iter().filter(|place| named(place)).map(TotalPlace::Body).collect();
    let in_headers = answer.headers.iter().filter(|(name, value)| named(name) && value.trim() == total.to_string());
    places.extend(in_headers.map(|(name, _)| TotalPlace::Header(name.clone())));
    if places.len() == 1 { places.pop() } else { None }
}

fn numbers(value: &Value, wanted: u64, place: String, list: Option<&str>, places: &mut Vec<String>) {
    if list == Some(place.as_str()) {
        return;
    }
    match value {
        Value::Number(number) if number.as_u64() == Some(wanted) => places.push(place),
        Value::Object(fields) => {
            for (name, value) in fields {
                let step = name.replace('~', "~0").replace('/', "~1");
                numbers(value, wanted, format!("{place}/{step}"), list, places);
            }
        }
        _ => {}
    }
}

/// Tells another total.
pub(super) fn with_total(answer: &Answer, place: &TotalPlace, total: u64) -> Option<Answer> {
    match place {
        TotalPlace::Body(place) => changed(answer, |body| {
            *body.pointer_mut(place)? = total.into();
            Some(())
        }),
        TotalPlace::Header(name) => {
            let mut answer = answer.clone();
            let header = answer.headers.iter_mut().find(|(own, _)| own == name)?;
            header.1 = total.to_string();
            Some(answer)
        }
    }
}

/// Changes the list of records in an answer.
pub(super) fn with_list(answer: &Answer, list: &str, change: impl FnOnce(&mut Vec<Value>)) -> Option<Answer> {
    changed(answer, |body| {
        change(body.pointer_mut(list)?.as_array_mut()?);
        Some(())
    })
}

fn changed(answer: &Answer, change: impl FnOnce(&mut Value) -> Option<()>) -> Option<Answer> {
    let mut body: Value = serde_json::from_slice(&answer.body).ok()?;
    change(&mut body)?;
    Some(Answer { body: Bytes::from(serde_json::to_vec(&body).ok()?), ..answer.clone() })
}

/// A change of a record's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drift {
    Type,
    /// An object, or a list.
    Shape(bool),
    Null,
    Remove,
    Add,
}

impl Drift {
    /// The fields of a record that it can change.
    pub(super) fn fields(self, record: &Value) -> Vec<String> {
        let Value::Object(fields) = record else { return Vec::new() };
        let fits = |value: &Value| match self {
            Self::Type | Self::Shape(_) => !value.is_null() && !value.is_object() && !value.is_array(),
            Self::Null => !value.is_null(),
            Self::Remove => true,
            Self::Add => false,
        };
        match self {
            Self::Add => vec![ADDED.to_owned()],
            _ => fields.iter().filter(|(_, value)| fits(value)).map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Changes a field of a record.
    pub(super) fn apply(self, record: &mut Value, field: &str) {
        let Value::Object(fields) = record else { return };
        let changed = match (self, fields.get(field)) {
            (Self::Remove, _) => {
                fields.shift_remove(field);
                return;
            }
            (Self::Add, _) => json!({"since": 7, "texts": ["a", "ü"]}),
            (_, None) => return,
            (Self::Null, _) => Value::Null,
            (Self::Type, Some(Value::String(text))) => (text.len() as u64).into(),
            (Self::Type, Some(value)) => value.to_string().into(),
            (Self::Shape(true), Some(value)) => json!({ "value": value }),
            (Self::Shape(false), Some(value)) => json!([value]),
        };
        fields.insert(field.to_owned(), changed);
    }

    /// What it does, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Type => "has another type",
            Self::Shape(true) => "is an object",
            Self::Shape(false) => "is a list",
            Self::Null => "is null",
            Self::Remove => "is gone",
            Self::Add => "is new",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &Value) -> Answer {
        Answer::new(200, "application/json", body.to_string())
    }

    #[test]
    fn a_total_is_found_where_it_is_named_so() {
        let body = json!({"limit": 2, "meta": {"total_count": 2}, "items": [{"count": 2}, {"count": 2}]});
        let place = total_of(&answer(&body), 2, Some("/items")).unwrap();
        assert_eq!(place, TotalPlace::Body("/meta/total_count".to_owned()));
        let other = with_total(&answer(&body), &place, 5).unwrap();
        let other: Value = serde_json::from_slice(&other.body).unwrap();
        assert_eq!(other.pointer("/meta/total_count"), Some(&json!(5)));
        // Nobody can tell which of the two is meant.
        let twice = json!({"total": 2, "count": 2, "items": []});
        assert_eq!(total_of(&answer(&twice), 2, Some("/items")), None);
        let mut in_header = answer(&json!([1, 2]));
        in_header.headers.push(("x-total-count".to_owned(), "2".to_owned()));
        assert_eq!(total_of(&in_header, 2, Some("")), Some(TotalPlace::Header("x-total-count".to_owned())));
    }

    #[test]
    fn fields_change_as_they_say() {
        let record = json!({"id": 7, "name": "x", "owner": {"id": 1}, "gone": null});
        for (drift, field, after) in [
            (Drift::Type, "id", json!("7")),
            (Drift::Type, "name", json!(1)),
            (Drift::Shape(true), "name", json!({"value": "x"})),
            (Drift::Shape(false), "id", json!([7])),
            (Drift::Null, "owner", Value::Null),
        ] {
            assert!(drift.fields(&record).contains(&field.to_owned()), "{drift:?}");
            let mut changed = record.clone();
            drift.apply(&mut changed, field);
            assert_eq!(changed[field], after);
        }
        assert_eq!(Drift::Type.fields(&record), ["id", "name"]);
        assert_eq!(Drift::Null.fields(&record), ["id", "name", "owner"]);
        let mut removed = record.clone();
        Drift::Remove.apply(&mut removed, "name");
        assert_eq!(removed, json!({"id": 7, "owner": {"id": 1}, "gone": null}));
    }
}
