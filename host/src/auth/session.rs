//! One connection's way of being let in, while it runs: what is put into each request, and what follows from a 401.

use std::sync::Arc;

use ::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::api_key::Place;
use super::aws::Aws;
use super::choice::Choice;
use super::hmac::Hmac;
use super::keys::{Key, Keys};
use super::oauth::Tokens;
use super::place::put_header;
use super::scheme::Kind;
use super::store::Store;
use super::{Refusal, Secret, Secrets};
use crate::event::Observer;
use crate::http::transport::Outgoing;
use crate::http::{self, HostPattern, Policy};
use crate::time::Time;

/// What a session is made of, besides the choice.
pub struct Parts {
    /// Hosts whose requests get credentials.
    pub hosts: Vec<HostPattern>,
    /// What is redacted; tokens are added as they come.
    pub secrets: Secrets,
    /// Sends requests to the server that gives out tokens, and nowhere else.
    pub client: http::Client,
    /// Where tokens are kept between runs; without one they are kept in memory.
    pub store: Option<Store>,
    /// What time it is.
    pub time: Arc<dyn Time>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// How a user signs in, for errors: a command.
    pub login: String,
}

/// A connection's way of being let in.
pub struct Session {
    policy: Policy,
    secrets: Secrets,
    time: Arc<dyn Time>,
    way: Way,
    /// What its budgets are called where it has one key alone.
    payer: String,
}

enum Way {
    Key { keys: Keys, place: Place, prefix: String },
    Basic(Secret),
    Hmac(Hmac),
    Aws(Aws),
    Token(Box<Tokens>),
}

/// What a request was let in by, so that it can be told when it was not.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stamp {
    Fixed,
    Key(usize),
    Token(u64),
}

impl Session {
    /// Makes a session.
    ///
    /// # Errors
    /// When values do not go together, or a key is none.
    pub fn new(choice: &Choice, parts: Parts) -> Result<Self, Refusal> {
        let missing =
            |name: &str| Refusal::new(format!("{name} is missing"), format!("set {name} in the configuration's auth"));
        let secret = |name: &str| choice.secret(name).cloned().ok_or_else(|| missing(name));
        let policy = parts.hosts.iter().cloned().fold(Policy::default(), Policy::named);
        let (secrets, time) = (parts.secrets.clone(), parts.time.clone());
        let payer = super::payer::of_choice(choice, parts.store.as_ref());
        let way = match choice.kind {
            Kind::ApiKey => Way::Key {
                keys: Keys::new(choice.keys("value"), parts.observer),
                place: Place::new(choice.value("in"), choice.value("name"))?,
                prefix: String::new(),
            },
            Kind::Bearer => Way::Key {
                keys: Keys::new(choice.keys("token"), parts.observer),
                place: Place::Header(AUTHORIZATION),
                prefix: Some(choice.value("prefix"))
                    .filter(|prefix| !prefix.is_empty())
                    .map_or_else(String::new, |prefix| format!("{prefix} ")),
            },
            Kind::Basic => {
                let username = choice.value("username");
                if username.contains(':') {
                    // RFC 7617, section 2: the first colon ends the name.
                    return Err(Refusal::new("a user's name for basic authentication has no colon", "mend username"));
                }
                let value = STANDARD.encode(format!("{username}:{}", secret("password")?.expose()));
                secrets.insert(&format!("auth.{}.encoded", choice.scheme), Secret::new(value.as_str()));
                Way::Basic(Secret::new(format!("Basic {value}")))
            }
            Kind::Hmac => Way::Hmac(Hmac::new(choice)?),
            Kind::AwsSigV4 => Way::Aws(Aws {
                access_key_id: choice.value("access_key_id").to_owned(),
                secret_access_key: secret("secret_access_key")?,
                session_token: choice.secret("session_token").cloned(),
                region: choice.value("region").to_owned(),
                service: choice.value("service").to_owned(),
            }),
            Kind::ClientCredentials
            | Kind::RefreshToken
            | Kind::AuthorizationCode
            | Kind::DeviceCode
            | Kind::JwtBearer => Way::Token(Tokens::new(choice, parts)?.into()),
        };
        Ok(Self { policy, secrets, time, way, payer })
    }

    /// Tells whether requests to a URL get credentials.
    pub(crate) fn covers(&self, url: &Url) -> bool {
        self.policy.allows(url).is_ok()
    }

    /// The keys that a request to a host may use.
    pub(crate) fn keys(&self, host: &str) -> Result<Vec<Key>, Refusal> {
        match &self.way {
            Way::Key { keys, .. } => keys.usable(host),
            _ => Ok(vec![Key { index: 0, name: Some(self.payer.clone()) }]),
        }
    }

    /// What the budgets of its keys are called, in the order in which they were written down.
    pub(crate) fn payers(&self) -> Vec<String> {
        match &self.way {
            Way::Key { keys, .. } => keys.names().to_vec(),
            _ => vec![self.payer.clone()],
        }
    }

    /// Puts the credentials in: the last step before the transport.
    pub(crate) async fn put(&self, outgoing: &mut Outgoing, key: usize) -> Result<Stamp, Refusal> {
        match &self.way {
            Way::Key { keys, place, prefix } => {
                place.put(outgoing, &format!("{prefix}{}", keys.value(key)))?;
                Ok(Stamp::Key(key))
            }
            Way::Basic(value) => put_header(outgoing, AUTHORIZATION, value.expose()).map(|()| Stamp::Fixed),
            Way::Hmac(hmac) => hmac.sign(outgoing, self.time.now_ms()).map(|()| Stamp::Fixed),
            Way::Aws(aws) => aws.sign(outgoing, self.time.now_ms()).map(|()| Stamp::Fixed),
            Way::Token(tokens) => {
                let (token, generation) = tokens.get().await.map_err(|refusal| self.redacted(refusal))?;
                put_header(outgoing, AUTHORIZATION, &format!("Bearer {}", token.expose()))?;
                Ok(Stamp::Token(generation))
            }
        }
    }

    /// Takes the news of a 401. Tells whether to try the request again: with another key, or with a new token, once.
    pub(crate) async fn refused(&self, host: &str, stamp: Stamp, renewed: &mut bool) -> bool {
        match (&self.way, stamp) {
            (Way::Key { keys, .. }, Stamp::Key(key)) => keys.refuse(host, key),
            (Way::Token(tokens), Stamp::Token(generation)) if !*renewed => {
                *renewed = true;
                tokens.refused(generation).await;
                true
            }
            _ => false,
        }
    }

    /// The tokens, where the scheme has some.
    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        match &self.way {
            Way::Token(tokens) => Some(tokens),
            _ => None,
        }
    }

    fn redacted(&self, refusal: Refusal) -> Refusal {
        Refusal { message: self.secrets.redact(&refusal.message).into_owned(), ..refusal }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
