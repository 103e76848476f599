//! OAuth 2.0 tokens: asked for, renewed before they end, once for everybody who needs them.
//!
//! Invariant: a refresh token that the server gave in exchange for another is durable in the [`Store`] before the token that
//! came with it is used, and both are replaced in one step; the store is held from reading the old one to writing the new one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use url::form_urlencoded;

use super::choice::Choice;
use super::jwt::Signer;
use super::scheme::Kind;
use super::session::Parts;
use super::store::{Held, Store, StoreError, StoredToken};
use super::{Refusal, Secret, Secrets};
use crate::event::{Event, Level, Observer};
use crate::http::{self, Client, Request};
use crate::time::Time;

/// The most that a token is renewed before its end.
const MARGIN_MAX_MS: u64 = 300_000;
/// Old tokens that are still redacted: more than are in use at once, and few enough to search for.
const REMEMBERED: u64 = 16;
/// A lifetime beyond this is no lifetime: 100 years.
const LIFETIME_MAX_S: u64 = 3_153_600_000;

/// Asks one server for tokens.
pub(crate) struct Tokens {
    choice: Choice,
    proof: Proof,
    client: Client,
    store: Option<Store>,
    time: Arc<dyn Time>,
    observer: Arc<dyn Observer>,
    secrets: Secrets,
    margin_ms: Option<u64>,
    login: String,
    /// Held while a token is asked for: whoever comes meanwhile waits, and then finds it.
    state: Mutex<State>,
}

/// How the client proves itself to the server.
enum Proof {
    Basic(Secret),
    Post(Secret),
    Assertion(Box<Signer>),
    None,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Counts the tokens, so that a 401 can be told to be of one that is gone already.
    generation: u64,
}

#[derive(Clone)]
struct Token {
    access: Secret,
    refresh: Option<Secret>,
    expires_at_ms: Option<u64>,
    lifetime_ms: Option<u64>,
    /// The API has refused it, though it should live.
    ended: bool,
}

/// Why a server gives no token.
pub(super) enum TokenError {
    /// It said no, with a code of RFC 6749, section 5.2, or RFC 8628, section 3.5.
    Code { code: String, text: String },
    /// There was no answer that could be used.
    Other(String),
}

impl Tokens {
    pub(crate) fn new(choice: &Choice, parts: Parts) -> Result<Self, Refusal> {
        let secret = || {
            choice.secret("client_secret").cloned().ok_or_else(|| {
                Refusal::new(
                    format!("client_auth {} needs a client_secret", choice.value("client_auth")),
                    "set client_secret in the configuration's auth",
                )
            })
        };
        let key = choice.secret("private_key").is_some();
        let proof = match (choice.value("client_auth"), choice.secret("client_secret"), choice.kind) {
            ("basic", _, _) => Proof::Basic(secret()?),
            ("post", _, _) => Proof::Post(secret()?),
            ("private_key_jwt", _, _) => Proof::Assertion(Signer::new(choice, false)?.into()),
            ("client_secret_jwt", _, _) => Proof::Assertion(Signer::new(choice, true)?.into()),
            ("none", _, _) | (_, _, Kind::JwtBearer) => Proof::None,
            (_, Some(secret), _) => Proof::Basic(secret.clone()),
            (_, None, _) if key => Proof::Assertion(Signer::new(choice, false)?.into()),
            _ => Proof::None,
        };
        if let Proof::Basic(secret) = &proof {
            // What stands in the header is the secret in another form, which a server might repeat.
            let credentials = basic(choice.value("client_id"), secret.expose());
            parts.secrets.insert(&format!("auth.{}.encoded", choice.scheme), Secret::new(credentials));
        }
        if choice.kind == Kind::JwtBearer {
            Signer::new(choice, false)?;
        }
        let margin_ms = match choice.option("refresh_margin") {
            None => None,
            Some(text) => {
                Some(text.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1000)).ok_or_else(|| {
                    Refusal::new(format!("refresh_margin is a number of seconds: {text}"), "write 60, for a minute")
                })?)
            }
        };
        let Parts { secrets, client, store, time, observer, login, .. } = parts;
        let choice = choice.clone();
        Ok(Self { choice, proof, client, store, time, observer, secrets, margin_ms, login, state: Mutex::default() })
    }

    /// Returns a token that is good for a while yet, with its number.
    pub(crate) async fn get(&self) -> Result<(Secret, u64), Refusal> {
        let mut state = self.state.lock().await;
        let now_ms = self.time.now_ms();
        if let Some(token) = state.token.as_ref().filter(|token| self.is_fresh(token, now_ms)) {
            return Ok((token.access.clone(), state.generation));
        }
        match self.renew(state.token.as_ref()).await {
            Ok(token) => {
                state.generation += 1;
                let access = token.access.clone();
                state.token = Some(token);
                Ok((access, state.generation))
            }
            Err(refusal) => {
                // It is early to renew: what there is may do until the next request tries again.
                let usable = |token: &&Token| !token.ended && token.expires_at_ms.is_none_or(|end| end > now_ms);
                let Some(token) = state.token.as_ref().filter(usable) else { return Err(refusal) };
                self.warn(format!("the token could not be renewed yet: {}", refusal.message));
                Ok((token.access.clone(), state.generation))
            }
        }
    }

    /// Takes the news that the API refuses a token. Another one that has come meanwhile stays.
    pub(crate) async fn refused(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation
            && let Some(token) = &mut state.token
        {
            token.ended = true;
        }
    }

    /// Puts a token that a user has signed in for into the store.
    pub(super) async fn keep(&self, answer: &Value, asked_ms: u64) -> Result<(), Refusal> {
        let token = self.read(answer, None, asked_ms)?;
        let held = self.hold().await?;
        self.put(&token, held.as_ref())
    }

    pub(super) fn choice(&self) -> &Choice {
        &self.choice
    }

    fn is_fresh(&self, token: &Token, now_ms: u64) -> bool {
        let margin = self.margin_ms.unwrap_or_else(|| token.lifetime_ms.map_or(0, |all| (all / 10).min(MARGIN_MAX_MS)));
        !token.ended && token.expires_at_ms.is_none_or(|end| now_ms.saturating_add(margin) < end)
    }

    /// Gets a new token: from the store, where another process has put one, else from the server.
    async fn renew(&self, known: Option<&Token>) -> Result<Token, Refusal> {
        match self.choice.kind {
            Kind::ClientCredentials => {
                let mut form = vec![("grant_type", "client_credentials".to_owned())];
                self.add(&mut form, &["scope", "audience", "resource"]);
                self.granted(form, None).await
            }
            Kind::JwtBearer => {
                let choice = &self.choice;
                let issuer = choice.value("issuer");
                let assertion = Signer::new(choice, false)?.sign(
                    issuer,
                    choice.option("subject").unwrap_or(issuer),
                    choice.option("assertion_audience").unwrap_or(choice.value("token_url")),
                    choice.option("scope"),
                    self.time.now_ms(),
                )?;
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let mut form = vec![("grant_type", grant.to_owned()), ("assertion", assertion.expose().to_owned())];
                self.add(&mut form, &["scope"]);
                self.granted(form, None).await
            }
            _ => self.refresh(known).await,
        }
    }

    /// Renews by a refresh token. The store is held meanwhile, so that no other process uses the same one.
    async fn refresh(&self, known: Option<&Token>) -> Result<Token, Refusal> {
        let held = self.hold().await?;
        let now_ms = self.time.now_ms();
        let stored = match &self.store {
            Some(store) => {
                store.read().map_err(|error| store_refusal(&error))?.tokens.remove(&self.digest()).map(Token::from)
            }
            None => known.cloned(),
        };
        if let Some(token) = &stored {
            self.remember(token);
            let refused = known.is_some_and(|known| known.ended && known.access == token.access);
            if !refused && self.is_fresh(token, now_ms) {
                return Ok(token.clone());
            }
        }
        let refresh = match &stored {
            Some(token) => token.refresh.clone(),
            None => self.choice.secret("refresh_token").cloned(),
        };
        let Some(refresh) = refresh else {
            let message = match &stored {
                Some(_) => "the sign-in has ended, and the API gave nothing to renew it with",
                None => "nobody has signed in for this connection yet",
            };
            return Err(Refusal::new(message, self.sign_in()));
        };
        let mut form = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", refresh.expose().to_owned())];
        // Without a scope it is the one that was granted, which may be less than what a sign-in asked for.
        if self.choice.kind == Kind::RefreshToken {
            self.add(&mut form, &["scope"]);
        }
        let token = self.granted(form, Some(refresh)).await?;
        // Nothing is done with the new token before it is durable.
        self.put(&token, held.as_ref())?;
        Ok(token)
    }

    async fn granted(&self, form: Vec<(&'static str, String)>, refresh: Option<Secret>) -> Result<Token, Refusal> {
        let by_refresh = refresh.is_some();
        let asked_ms = self.time.now_ms();
        let answer =
            self.ask(self.choice.value("token_url"), form).await.map_err(|error| self.refusal(error, by_refresh))?;
        self.read(&answer, refresh, asked_ms)
    }

    /// Reads an answer of RFC 6749, section 5.1. A refresh token that it does not replace stays.
    /// Servers count in whole seconds, from the one in which they were asked: a token ends that much before its life is over.
    fn read(&self, answer: &Value, refresh: Option<Secret>, asked_ms: u64) -> Result<Token, Refusal> {
        let bad = |what: &str| {
            Refusal::new(
                format!("{} answered without {what}", self.choice.value("token_url")),
                "check token_url; the answer is not one of RFC 6749",
            )
        };
        let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let access = Secret::new(text("access_token").ok_or_else(|| bad("an access token"))?);
        if let Some(kind) = text("token_type").filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            let kind: String = kind.chars().take(40).collect();
            return Err(Refusal::new(
                format!("the API gives tokens of the type {kind}, and the host can use bearer tokens only"),
                "ask the API for bearer tokens",
            ));
        }
        // A number, though some servers write it as a text.
        let expires_in =
            answer.get("expires_in").and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let lifetime_ms = expires_in.map(|seconds| seconds.min(LIFETIME_MAX_S) * 1000);
        let expires_at_ms = lifetime_ms.map(|lifetime| (asked_ms / 1000 * 1000).saturating_add(lifetime));
        let refresh = text("refresh_token").map(Secret::new).or(refresh);
        let token = Token { access, refresh, expires_at_ms, lifetime_ms, ended: false };
        self.remember(&token);
        Ok(token)
    }

    /// Redacts a token from now on.
    fn remember(&self, token: &Token) {
        let scheme = &self.choice.scheme;
        for (kind, value) in [("access_token", Some(&token.access)), ("refresh_token", token.refresh.as_ref())] {
            if let Some(value) = value {
                self.secrets.remember(&format!("auth.{scheme}.{kind}"), value.clone(), REMEMBERED);
            }
        }
    }

    fn put(&self, token: &Token, held: Option<&Held>) -> Result<(), Refusal> {
        let (Some(store), Some(_held)) = (&self.store, held) else { return Ok(()) };
        let mut content = store.read().map_err(|error| store_refusal(&error))?;
        let stored = StoredToken {
            access: token.access.expose().to_owned(),
            refresh: token.refresh.as_ref().map(|refresh| refresh.expose().to_owned()),
            expires_at_ms: token.expires_at_ms,
            lifetime_ms: token.lifetime_ms,
            scheme: self.choice.scheme.clone(),
        };
        content.tokens.insert(self.digest(), stored);
        store.write(&content).map_err(|error| store_refusal(&error))
    }

    async fn hold(&self) -> Result<Option<Held>, Refusal> {
        let Some(store) = self.store.clone() else { return Ok(None) };
        // It waits for another process, on a thread that may.
        let held = tokio::task::spawn_blocking(move || store.hold()).await;
        let held = held.map_err(|error| Refusal::new(format!("the store cannot be held: {error}"), "run again"))?;
        held.map(Some).map_err(|error| store_refusal(&error))
    }

    /// Tells tokens apart: what they are for, and what they began with. A new first refresh token begins anew.
    fn digest(&self) -> String {
        let choice = &self.choice;
        let mut parts: BTreeMap<&str, &str> = BTreeMap::new();
        for name in ["token_url", "client_id", "scope", "audience", "resource"] {
            parts.insert(name, choice.value(name));
        }
        parts.insert("scheme", &choice.scheme);
        parts.insert("refresh_token", choice.secret("refresh_token").map(Secret::expose).unwrap_or_default());
        crate::engine::cache::hex(Sha256::digest(serde_json::json!(parts).to_string()).as_slice())
    }

    fn add(&self, form: &mut Vec<(&'static str, String)>, names: &[&'static str]) {
        form.extend(names.iter().filter_map(|name| Some((*name, self.choice.option(name)?.to_owned()))));
    }

    /// Sends a form with the client's proof, and returns what is answered. The client of tokens has no session itself, which
    /// the compiler does not know: it would see a circle of futures.
    pub(super) fn ask<'a>(
        &'a self,
        url: &'a str,
        form: Vec<(&'static str, String)>,
    ) -> Pin<Box<dyn Future<Output = Result<Value, TokenError>> + Send + 'a>> {
        Box::pin(self.ask_now(url, form))
    }

    async fn ask_now(&self, url: &str, mut form: Vec<(&'static str, String)>) -> Result<Value, TokenError> {
        let id = self.choice.value("client_id").to_owned();
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("accept".to_owned(), "application/json".to_owned()),
        ];
        match &self.proof {
            Proof::Basic(secret) => {
                headers.push(("authorization".to_owned(), format!("Basic {}", basic(&id, secret.expose()))));
            }
            Proof::Post(secret) => {
                form.push(("client_id", id));
                form.push(("client_secret", secret.expose().to_owned()));
            }
            Proof::Assertion(signer) => {
                let audience = self.choice.option("assertion_audience").unwrap_or(self.choice.value("token_url"));
                let assertion = signer
                    .sign(&id, &id, audience, None, self.time.now_ms())
                    .map_err(|refusal| TokenError::Other(refusal.message))?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_id", id));
                form.push(("client_assertion_type", kind.to_owned()));
                form.push(("client_assertion", assertion.expose().to_owned()));
            }
            Proof::None if id.is_empty() => {}
            Proof::None => form.push(("client_id", id)),
        }
        // A code or a refresh token may be good for one use: sent a second time where only the answer was lost, it can cost
        // the user the whole sign-in (RFC 9700, section 4.14.2). Other requests change nothing that counts.
        let once = |value: &str| matches!(value, "authorization_code" | "refresh_token");
        let single_use = form.iter().any(|(name, value)| *name == "grant_type" && once(value));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
        let request = Request {
            method: Method::POST,
            reads: !single_use,
            single_use,
            headers,
            body: Some(Bytes::from(body)),
            // Answers that say why; a redirect would carry the credentials elsewhere, and is not followed.
            accept: vec![301, 302, 303, 307, 308, 400, 401, 403],
            ..Request::get(url)
        };
        let response = self.client.send("auth", request).await.map_err(|error| match error {
            http::Error::Status { status, attempts, .. } => {
                TokenError::Other(format!("{url} answered with status {status}, {attempts} times"))
            }
            error => TokenError::Other(error.to_string()),
        })?;
        if (300..400).contains(&response.status) {
            return Err(TokenError::Other(format!("{url} answered with a redirect, and no token is given out by one")));
        }
        let answer = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
        // GitHub says no with 200.
        let code = answer.get("error").and_then(Value::as_str);
        match code {
            Some(code) => {
                let text = answer.get("error_description").and_then(Value::as_str).unwrap_or_default();
                let text = text.chars().take(300).collect();
                Err(TokenError::Code { code: code.chars().take(100).collect(), text })
            }
            None if response.status == 200 && answer.is_object() => Ok(answer),
            None => {
                let status = response.status;
                Err(TokenError::Other(format!("{url} answered with status {status} and no JSON that says more")))
            }
        }
    }

    /// Says what a server's refusal means for a user.
    pub(super) fn refusal(&self, error: TokenError, by_refresh: bool) -> Refusal {
        match error {
            TokenError::Code { code, text } => {
                let text = if text.is_empty() { code.clone() } else { format!("{code}: {text}") };
                let next = match code.as_str() {
                    "invalid_grant" if by_refresh => {
                        return Refusal::new(
                            format!(
                                "the API does not renew the sign-in any more ({text}): it has ended, was revoked, or a run was \
                                 killed while it was renewed"
                            ),
                            self.sign_in(),
                        );
                    }
                    "invalid_client" | "unauthorized_client" => "check client_id, the secret or key, and client_auth",
                    "invalid_scope" => "check scope",
                    "invalid_grant" => "check the values in the configuration's auth",
                    _ => "check the values in the configuration's auth, and what the API's documentation asks for",
                };
                Refusal::new(format!("the API gives no token ({text})"), next)
            }
            TokenError::Other(text) => Refusal::new(
                format!("no token could be had: {text}"),
                "check token_url and the network, then run again",
            ),
        }
    }

    fn sign_in(&self) -> String {
        match self.choice.kind {
            Kind::RefreshToken => "get a new refresh_token where this one came from, and put it in its place in the \
                                   configuration, or where that takes it from"
                .to_owned(),
            _ => format!("sign in with `{}`", self.login),
        }
    }

    fn warn(&self, message: String) {
        let message = self.secrets.redact(&message).into_owned();
        let target = "host".to_owned();
        self.observer.observe(Event::Log { target, level: Level::Warn, message, fields: Vec::new() });
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }

    /// Waits, for a poll.
    pub(super) async fn pause(&self, duration: Duration) {
        self.time.sleep(duration).await;
    }
}

impl From<StoredToken> for Token {
    fn from(stored: StoredToken) -> Self {
        Self {
            access: Secret::new(stored.access),
            refresh: stored.refresh.map(Secret::new),
            expires_at_ms: stored.expires_at_ms,
            lifetime_ms: stored.lifetime_ms,
            ended: false,
        }
    }
}

/// The client's name and secret for a header. Both are encoded as form fields first (RFC 6749, section 2.3.1), so that a
/// colon in one is not the colon between them.
fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    STANDARD.encode(format!("{}:{}", encode(id), encode(secret)))
}

fn store_refusal(error: &StoreError) -> Refusal {
    let next = match error {
        StoreError::Key(_) => "give it the key that it had".to_owned(),
        StoreError::NoKey(path) => format!(
            "run it where the keyring that keeps its key is unlocked, or remove {} and sign in again",
            path.display()
        ),
        StoreError::Io { .. } => "check that the folder can be written and the disk has room".to_owned(),
        StoreError::Sealed(path) => {
            format!("give it the key that it had, or remove {} and sign in again", path.display())
        }
    };
    Refusal::new(crate::engine::with_sources(error), next)
}
