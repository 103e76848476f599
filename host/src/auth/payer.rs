//! Who pays for requests: a name for each key, by which budgets are kept, and found again by other processes.

use sha2::{Digest as _, Sha256};

use super::choice::Choice;
use super::scheme::Kind;
use super::store::Store;

/// Bytes of a digest that are kept: enough to tell a connection's 100 keys apart, and too few to find out a password by.
const KEPT: usize = 4;

/// Names a key, by what it is made of: the same in every process, and nothing of it can be read from the name.
pub fn payer<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    digest.update("host: who pays");
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    crate::engine::cache::hex(digest.finalize().get(..KEPT).unwrap_or_default())
}

/// Names whoever a connection with one account is. Where somebody signs in, the sign-in is told apart by where it is kept.
pub(super) fn of_choice(choice: &Choice, store: Option<&Store>) -> String {
    const ACCOUNT: [&str; 7] = ["token_url", "client_id", "username", "access_key_id", "key_id", "issuer", "subject"];
    let mut parts: Vec<String> = ACCOUNT.iter().map(|name| choice.value(name).to_owned()).collect();
    for (name, values) in &choice.secrets {
        parts.push((*name).to_owned());
        parts.extend(values.iter().map(|value| value.expose().to_owned()));
    }
    if matches!(choice.kind, Kind::AuthorizationCode | Kind::DeviceCode) {
        let place = store.map(Store::path);
        let place = place.map(|path| std::path::absolute(&path).unwrap_or(path));
        parts.extend(place.map(|path| path.display().to_string()));
    }
    payer(parts.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::auth::store::tests::Fixed;
    use crate::auth::{Scheme, Secrets};

    fn choice(kind: Kind, auth: serde_json::Value) -> Choice {
        let schemes = [Scheme { name: "a".to_owned(), kind, fixed: std::collections::BTreeMap::default() }];
        Choice::read(&schemes, &json!({ "a": auth }), &Secrets::default()).unwrap().unwrap()
    }

    #[test]
    fn a_name_is_the_same_everywhere_and_short() {
        assert_eq!(payer(["key-number-1"]), payer(["key-number-1"]));
        assert_eq!(payer(["key-number-1"]).len(), 8);
        let others = [payer(["ab", "c"]), payer(["a", "bc"]), payer(["abc"]), payer(["abc", ""])];
        assert!((1..others.len()).all(|at| !others[..at].contains(&others[at])), "{others:?}");
    }

    #[test]
    fn accounts_are_told_apart_and_what_only_asks_for_more_is_not() {
        let basic = |user: &str, password: &str| {
            of_choice(&choice(Kind::Basic, json!({"username": user, "password": password})), None)
        };
        assert_eq!(basic("a", "b"), basic("a", "b"));
        assert_ne!(basic("a", "b"), basic("a", "c"));
        assert_ne!(basic("a", "b"), basic("c", "b"));
        let client = |scope: &str, margin: u32| {
            let auth = json!({"token_url": "https://a/t", "client_id": "c", "client_secret": "s", "scope": scope,
                              "refresh_margin": margin});
            of_choice(&choice(Kind::ClientCredentials, auth), None)
        };
        assert_eq!(client("read", 1), client("write", 2));
    }

    #[test]
    fn sign_ins_are_told_apart_by_where_they_are_kept() {
        let auth = json!({"authorize_url": "https://a/a", "token_url": "https://a/t", "client_id": "c"});
        let name = |connection: &str| {
            let store = Store::new(Path::new("out"), connection, Arc::new(Fixed(1)));
            of_choice(&choice(Kind::AuthorizationCode, auth.clone()), Some(&store))
        };
        assert_eq!(name("one"), name("one"));
        assert_ne!(name("one"), name("two"));
    }
}
