//! No secret of any scheme is in the memory of a guest, after whatever call, nor in anything that a run leaves or says.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Action, Api, Endpoint, Rule, Total, offset::Offset},
    program::built,
    secrets::{forms, leaves_nothing, masked},
    servers::oidc::{self, Flaky, Oidc, key, sign_in},
};

const SECRET: &str = "s3cr:et/+%~-0123456789";
/// What the guest calls, and is called by, in a run; after each it searches.
const CALLS: &str = "streams partitions read send start wait status header headers length json body refused reject acquire \
                     observe budget now sleep set get delete log emit select end";

/// The guest that searches, with a configuration in which it finds what to look for.
struct Search {
    connection: Connection,
    url: String,
    auth: Value,
}

impl Search {
    fn new(url: &str, auth: Value) -> anyhow::Result<Self> {
        let guest = built()?.with_file_name("wasm32-wasip2/release/examples/secret_in_memory.wasm");
        let url = url.trim_end_matches('/').to_owned();
        let connection = Connection::new(&guest.display().to_string(), &json!({"url": url, "auth": auth}))?;
        Ok(Self { connection, url, auth })
    }

    /// Checks and runs, and expects that nothing of the secrets is found.
    fn finds_nothing(&self, secrets: &[&str]) -> anyhow::Result<()> {
        let mut needles: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        // What is there is found: these stand in the configuration, and in what the API answers.
        let controls = [needles.len(), needles.len() + 1];
        needles.extend(["masked".to_owned(), "\"echo\"".to_owned()]);
        let masked: Vec<String> = needles.iter().map(|text| masked(text)).collect();
        self.connection.configure(&json!({"url": self.url, "auth": self.auth, "masked": masked}))?;

        let ended = self.connection.command(&["check"], &["--grant"])?.output()?;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.success(), "{}: {said}", self.auth);
        let found = searches(&said)?;
        ensure!(found.keys().eq(["check", "check-request"]), "{}: {said}", self.auth);
        self.only_controls(&found, &controls, &needles)?;

        let run = self.connection.run(&["--verbose", "--grant", "--full"])?;
        let found = searches(&run.log)?;
        let mut calls: Vec<&str> = CALLS.split_whitespace().collect();
        calls.sort_unstable();
        ensure!(found.keys().eq(calls), "{}: {run:#?}", self.auth);
        self.only_controls(&found, &controls, &needles)?;
        ensure!(found["end"] == controls, "the body was not looked at: {run:#?}");
        ensure!(self.connection.records("items")?.len() == 2, "{run:#?}");
        for secret in secrets {
            leaves_nothing(&self.connection, secret, &format!("{said}{}{}", run.log, run.report))?;
        }
        Ok(())
    }

    fn only_controls(&self, found: &Searches, controls: &[usize], needles: &[String]) -> anyhow::Result<()> {
        for (call, found) in found {
            ensure!(found.contains(&controls[0]), "{}: after {call} memory was not looked at", self.auth);
            let leaked: Vec<&String> =
                found.iter().filter(|one| !controls.contains(one)).map(|one| &needles[*one]).collect();
            ensure!(leaked.is_empty(), "{}: after {call} there are {leaked:?}", self.auth);
        }
        Ok(())
    }
}

/// The numbers of what was found, by the call after which it was.
type Searches = BTreeMap<String, Vec<usize>>;

fn searches(log: &str) -> anyhow::Result<Searches> {
    let lines = log.lines().filter_map(|line| line.split_once("after ")?.1.split_once(": ["));
    let lines = lines.map(|(call, found)| {
        let found = found.trim_end_matches(']').split(", ").filter(|number| !number.is_empty());
        let found = found.map(|number| number.parse().context(number.to_owned())).collect::<anyhow::Result<_>>()?;
        Ok((call.to_owned(), found))
    });
    lines.collect()
}

#[test]
fn no_scheme_with_given_values_leaves_one_in_the_memory_of_the_guest() -> anyhow::Result<()> {
    let server = Flaky::start()?;
    let url = server.token_url();
    let pem = include_str!("../src/servers/rsa.pem");
    // Each answer, of 200 as of 400, repeats the secret in every form.
    let echo = forms(SECRET).join(" ");
    let body = json!({"echo": echo, "records": [{"id": 2, "echo": echo}]}).to_string();
    let api = Api::builder()
        .endpoint(Endpoint::new("/items", Offset::default()).records(3).total(Total::Body))
        .fault(Rule::always(Action::Body(400, "text/plain", echo.clone())).path("/refused"))
        .fault(Rule::always(Action::Body(200, "application/json", body)).path("/items"))
        .start()?;
    for auth in [
        json!({"bearer": SECRET}),
        json!({"key": {"in": "header", "name": "X-Key", "value": SECRET}}),
        json!({"key": {"in": "query", "name": "key", "value": SECRET}}),
        json!({"key": {"in": "cookie", "name": "key", "value": SECRET}}),
        json!({"basic": {"username": "user", "password": SECRET}}),
        json!({"client": {"token_url": url, "client_id": "c", "client_secret": SECRET}}),
        json!({"client": {"token_url": url, "client_id": "c", "client_secret": SECRET, "client_auth": "post"}}),
        json!({"client": {"token_url": url, "client_id": "c", "client_secret": SECRET, "client_auth": "client_secret_jwt"}}),
        json!({"refresh": {"token_url": url, "client_id": "c", "refresh_token": SECRET}}),
        json!({"jwt": {"token_url": url, "issuer": "i", "client_secret": SECRET, "private_key": pem}}),
        json!({"hmac": {"secret": SECRET}}),
        json!({"aws": {"access_key_id": "A", "secret_access_key": SECRET, "region": "r", "service": "s"}}),
    ] {
        Search::new(&api.url(""), auth)?.finds_nothing(&[SECRET])?;
    }
    Ok(())
}

/// Tokens are the server's, and so are what renews them: an API that repeats its token in every form is run three times, with
/// the tokens of the sign-in, with those renewed, and with all of both known.
fn tokens_are_nowhere(oidc: &Oidc, auth: Value, page: Option<&str>) -> anyhow::Result<()> {
    let before = oidc.issued()?.len();
    let search = Search::new(&oidc.url("/api"), auth)?;
    if let Some(page) = page {
        sign_in(&search.connection, &["--grant"], page)?;
    } else {
        search.finds_nothing(&[oidc::SECRET])?;
    }
    for round in 0..3 {
        let issued = oidc.issued()?.split_off(before);
        ensure!(!issued.is_empty(), "round {round}: no token was given out");
        let known: Vec<&str> = issued.iter().map(String::as_str).chain([oidc::SECRET]).collect();
        search.finds_nothing(&known)?;
        for token in oidc.issued()?.split_off(before) {
            leaves_nothing(&search.connection, &token, "")?;
        }
        if round == 0 {
            oidc.admin("end")?;
        }
    }
    Ok(())
}

#[test]
fn no_token_is_left_in_the_memory_of_the_guest() -> anyhow::Result<()> {
    let (pem, jwk) = key()?;
    let oidc = Oidc::start(3600, &jwk)?;
    let (auth, token) = (oidc.url("/auth"), oidc.url("/token"));
    let scope = "openid offline_access";
    let person = json!({"person": {"authorize_url": auth, "token_url": token, "client_id": "app", "scope": scope}});
    tokens_are_nowhere(&oidc, person, Some("/auth?"))?;
    let device = json!({"device": {"device_url": oidc.url("/device/auth"), "token_url": token, "client_id": "tv", "scope": scope}});
    tokens_are_nowhere(&oidc, device, Some("user_code="))?;
    let jwt = json!({"client": {"token_url": token, "client_id": "jwt", "private_key": pem, "algorithm": "ES256"}});
    tokens_are_nowhere(&oidc, jwt, None)?;
    let basic = json!({"client": {"token_url": token, "client_id": "b:asic", "client_secret": oidc::SECRET}});
    tokens_are_nowhere(&oidc, basic, None)
}
