//! No secret of any scheme is in the memory of a guest, after whatever call, nor in anything that a run leaves or says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    guest_memory::{Needles, Stopped},
    mock::{Action, Api, Endpoint, Received, Rule, Total, offset::Offset},
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

/// Stands in the configuration of the connectors that come along, and so in their memory from the beginning.
const CONFIGURED: &str = "control-of-the-configuration";
/// Stands in what leads to the next page, which they take into their memory.
const ANSWERED: &str = "control-of-the-answer";
/// Pages of a reading; the last one is empty, so that everything that was answered is looked for by its request.
const PAGES: usize = 4;

/// What was found in the memories at one request.
#[derive(Debug, Default)]
struct Seen {
    memories: usize,
    found: Vec<String>,
}

/// An API that looks, at each request, into the memory of the guest that waits for the answer, and whose answers repeat what
/// it was sent, and the secrets that it knows of, in every form: in records, in what leads on, and in headers.
struct Lookout {
    api: Api,
    pid: Arc<OnceLock<u32>>,
    seen: Arc<Mutex<Vec<Result<Seen, String>>>>,
    /// The secrets, and the tokens that came with requests.
    known: Arc<Mutex<BTreeSet<String>>>,
}

impl Lookout {
    fn start(secrets: &[&str]) -> anyhow::Result<Self> {
        let known = Arc::new(Mutex::new(secrets.iter().map(|secret| (*secret).to_owned()).collect::<BTreeSet<_>>()));
        let (pid, seen) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(Vec::new())));
        let (whose, to, all) = (pid.clone(), seen.clone(), known.clone());
        let api = Api::builder().watched(move |request| {
            let mut known = all.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(bearer(request));
            let echo: Vec<String> = known.iter().flat_map(|secret| forms(secret)).collect();
            drop(known);
            let looked = look(*whose.wait(), &echo).map_err(|error| format!("{error:#}"));
            let mut seen = to.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(looked);
            Some(answer(request, seen.len(), &echo))
        });
        Ok(Self { api: api.start()?, pid, seen, known })
    }

    /// Runs a connection against it, and expects what has to be seen, and nothing else.
    fn finds_nothing(self, connection: &Connection, flags: &[&str]) -> anyhow::Result<()> {
        let mut child = connection.start(flags)?;
        ensure!(self.pid.set(child.id()).is_ok());
        let ended = child.wait()?;
        ensure!(ended.success() || ended.code() == Some(3), "{ended:?}: {:#?}", self.api.requests());
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(seen.len() == PAGES, "{seen:#?}");
        for (number, seen) in seen.iter().enumerate() {
            let Ok(seen) = seen else { anyhow::bail!("request {number}: {seen:?}") };
            let controls: &[&str] = if number == 0 { &[CONFIGURED] } else { &[CONFIGURED, ANSWERED] };
            ensure!(seen.memories > 0 && seen.found == controls, "request {number}: {seen:#?}");
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!known.is_empty() && !connection.files_with(ANSWERED)?.is_empty(), "there was nothing to look for");
        known.iter().try_for_each(|secret| leaves_nothing(connection, secret, ""))
    }
}

/// The token that a request brings.
fn bearer(request: &Received) -> Option<String> {
    request.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned)
}

fn look(pid: u32, forms: &[String]) -> anyhow::Result<Seen> {
    let stopped = Stopped::new(pid)?;
    let controls = [CONFIGURED.to_owned(), ANSWERED.to_owned()];
    let needles = Needles::new(controls.into_iter().chain(forms.iter().cloned()).collect());
    let mut seen = Seen::default();
    for memory in stopped.memories()? {
        seen.memories += 1;
        for found in needles.found(&memory) {
            if !seen.found.iter().any(|known| known == found) {
                seen.found.push(found.to_owned());
            }
        }
    }
    Ok(seen)
}

/// A page for `rest`, and for `github`, where the way on stands in a header.
fn answer(request: &Received, number: usize, echo: &[String]) -> (Vec<(&'static str, String)>, String) {
    let echo = echo.join(" ");
    let last = number >= PAGES;
    let record = json!({"id": number, "full_name": "a/b", "echo": echo});
    let records = if last { json!([]) } else { json!([record]) };
    let on = format!("{number} {ANSWERED} {echo}");
    let mut headers = vec![("x-echo", echo.clone())];
    if request.path.starts_with("/orgs/") {
        let on: String = url::form_urlencoded::byte_serialize(on.as_bytes()).collect();
        let host = request.header("host").unwrap_or_default();
        if !last {
            headers.push(("link", format!("<http://{host}{}?on={on}>; rel=\"next\"; title=\"{echo}\"", request.path)));
        }
        return (headers, records.to_string());
    }
    let next = (!last).then_some(on);
    (headers, json!({"items": records, "next": next}).to_string())
}

fn rest(url: &str, auth: &Value) -> anyhow::Result<Connection> {
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"cursor": {"token": "/next", "param": "cursor"}}});
    let config = json!({"base_url": url, "auth": auth, "headers": {"X-Control": CONFIGURED}, "streams": [stream]});
    Connection::new("rest", &config)
}

#[test]
fn no_secret_is_in_the_memory_of_rest_as_seen_from_outside() -> anyhow::Result<()> {
    let server = Flaky::start()?;
    let url = server.token_url();
    let pem = include_str!("../src/servers/rsa.pem");
    for auth in [
        json!({"bearer": SECRET}),
        json!({"header": {"name": "X-Key", "value": SECRET}}),
        json!({"query": {"name": "key", "value": SECRET}}),
        json!({"cookie": {"name": "key", "value": SECRET}}),
        json!({"basic": {"username": "user", "password": SECRET}}),
        json!({"client_credentials": {"token_url": url, "client_id": "c", "client_secret": SECRET}}),
        json!({"refresh_token": {"token_url": url, "client_id": "c", "refresh_token": SECRET}}),
        json!({"jwt_bearer": {"token_url": url, "issuer": "i", "client_secret": SECRET, "private_key": pem}}),
        json!({"hmac": {"secret": SECRET}}),
        json!({"aws": {"access_key_id": "A", "secret_access_key": SECRET, "region": "r", "service": "s"}}),
    ] {
        let lookout = Lookout::start(&[SECRET])?;
        let connection = rest(&lookout.api.url(""), &auth)?;
        lookout.finds_nothing(&connection, &[]).with_context(|| auth.to_string())?;
    }
    Ok(())
}

#[test]
fn no_token_of_a_sign_in_is_in_the_memory_of_the_connectors_that_come_along() -> anyhow::Result<()> {
    let oidc = Oidc::start(3600, &key()?.1)?;
    let (authorize, token, device) = (oidc.url("/auth"), oidc.url("/token"), oidc.url("/device/auth"));
    let scope = "openid offline_access";
    let code = json!({"authorization_code": {"authorize_url": authorize, "token_url": token, "client_id": "app", "scope": scope}});
    let of_device = json!({"device_url": device, "token_url": token, "client_id": "tv", "scope": scope});
    for (connector, auth, page) in [
        ("rest", code, "/auth?"),
        ("rest", json!({"device_code": of_device}), "user_code="),
        ("github", json!({"device": of_device}), "user_code="),
    ] {
        let lookout = Lookout::start(&[])?;
        let url = lookout.api.url("");
        let (connection, flags) = match connector {
            "rest" => (rest(&url, &auth)?, &[][..]),
            _ => (github(&url, &json!({"auth": auth}))?, GITHUB),
        };
        sign_in(&connection, &[], page)?;
        lookout.finds_nothing(&connection, flags)?;
    }
    Ok(())
}

const GITHUB: &[&str] = &["--stream", "repos"];

fn github(url: &str, more: &Value) -> anyhow::Result<Connection> {
    let mut config = json!({"base_url": url, "org": CONFIGURED});
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    Connection::new("github", &config)
}

#[test]
fn no_secret_is_in_the_memory_of_github_as_seen_from_outside() -> anyhow::Result<()> {
    for secret in [json!({"token": SECRET}), json!({"auth": {"token": SECRET}})] {
        let lookout = Lookout::start(&[SECRET])?;
        let connection = github(&lookout.api.url(""), &secret)?;
        lookout.finds_nothing(&connection, GITHUB).with_context(|| secret.to_string())?;
    }
    Ok(())
}

/// The same look finds a secret that a guest holds: one that its user wrote where no secret belongs.
#[test]
fn what_a_guest_does_hold_is_seen_from_outside() -> anyhow::Result<()> {
    let lookout = Lookout::start(&[SECRET])?;
    let stream = json!({"name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
                        "pagination": {"cursor": {"token": "/next", "param": "cursor"}}});
    let headers = json!({"X-Control": CONFIGURED, "X-Key": SECRET});
    let config = json!({"base_url": lookout.api.url(""), "headers": headers, "streams": [stream]});
    let error = lookout.finds_nothing(&Connection::new("rest", &config)?, &[]).err().context("it was not seen")?;
    ensure!(format!("{error:#}").contains(SECRET), "{error:#}");
    Ok(())
}
