//! Signing in: a person proves to the API who they are, and the connection keeps the tokens that come of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::oauth::{TokenError, Tokens};
use super::scheme::Kind;
use super::{Refusal, Session};

/// A browser's request line and headers; whoever sends more is no browser on its way back.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// How long one connection may take to say what it wants, so that none holds the others up.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Polls of a device's sign-in where the server does not say (RFC 8628, section 3.2), and the least between two.
const POLL_S: u64 = 5;
/// What `slow_down` adds (RFC 8628, section 3.5).
const SLOW_DOWN_S: u64 = 5;

/// What the person has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Open a page in a browser on this machine.
    Open(String),
    /// Open a page anywhere, and type a code there.
    Code {
        /// The page.
        url: String,
        /// The code.
        code: String,
        /// The page with the code in it, where the API has one.
        complete: Option<String>,
    },
}

/// Signs a person in. `tell` shows what they have to do; `within` is how long they have.
///
/// # Errors
/// When the scheme has no sign-in, the person says no, or takes too long.
pub async fn login(session: &Session, within: Duration, tell: impl FnOnce(Prompt)) -> Result<(), Refusal> {
    let no_sign_in = || Refusal::new("the scheme has no sign-in", "give its values in the configuration's auth");
    let tokens = session.tokens().ok_or_else(no_sign_in)?;
    let signing = async {
        match tokens.choice().kind {
            Kind::AuthorizationCode => code(tokens, tell).await,
            Kind::DeviceCode => device(tokens, tell).await,
            _ => Err(no_sign_in()),
        }
    };
    let late = |_| Refusal::new(format!("nobody signed in within {} s", within.as_secs()), "run it again");
    tokio::time::timeout(within, signing).await.map_err(late)?
}

/// Authorization code with PKCE, the browser coming back to a port of this machine (RFC 8252, section 7.3).
async fn code(tokens: &Tokens, tell: impl FnOnce(Prompt)) -> Result<(), Refusal> {
    let choice = tokens.choice();
    let port: u16 = match choice.option("redirect_port") {
        None => 0,
        Some(port) => port
            .parse()
            .map_err(|_| Refusal::new(format!("redirect_port is no port: {port}"), "write a number up to 65535"))?,
    };
    let busy = |error: std::io::Error| {
        Refusal::new(
            format!("cannot listen on port {port} of 127.0.0.1: {error}"),
            "give another redirect_port, or none",
        )
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(busy)?;
    let port = listener.local_addr().map_err(busy)?.port();
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let (state, verifier) = (random()?, random()?);
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let mut url = Url::parse(choice.value("authorize_url")).map_err(|error| {
        Refusal::new(format!("authorize_url is malformed: {error}"), "mend it in the configuration's auth")
    })?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", choice.value("client_id"))
        .append_pair("redirect_uri", &redirect)
        .append_pair("state", &state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    for name in ["scope", "audience", "resource"] {
        if let Some(value) = choice.option(name) {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    tell(Prompt::Open(url.into()));
    let code = come_back(&listener, &state).await?;
    let mut form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code),
        ("redirect_uri", redirect),
        ("code_verifier", verifier),
    ];
    if let Some(resource) = choice.option("resource") {
        form.push(("resource", resource.to_owned()));
    }
    let asked_ms = tokens.now_ms();
    let answer = tokens.ask(choice.value("token_url"), form).await.map_err(|error| tokens.refusal(error, false))?;
    tokens.keep(&answer, asked_ms).await
}

/// Waits for the browser. Requests that do not carry the state are answered and ignored: anybody can send those.
async fn come_back(listener: &TcpListener, state: &str) -> Result<String, Refusal> {
    loop {
        let accepted = listener.accept().await;
        let (mut stream, _) = accepted
            .map_err(|error| Refusal::new(format!("cannot listen for the browser: {error}"), "run it again"))?;
        let Ok(Some(target)) = tokio::time::timeout(REQUEST_TIME, request_target(&mut stream)).await else { continue };
        let Ok(url) = Url::parse("http://127.0.0.1").and_then(|base| base.join(&target)) else { continue };
        let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        if url.path() != "/callback" {
            answer(&mut stream, "404 Not Found", "There is nothing here.").await;
            continue;
        }
        let same = value("state").is_some_and(|given| {
            // Digests take the same time to compare wherever they differ.
            Sha256::digest(given.as_bytes()) == Sha256::digest(state.as_bytes())
        });
        if !same {
            answer(&mut stream, "400 Bad Request", "This is not the sign-in that was begun.").await;
            continue;
        }
        if let Some(error) = value("error") {
            answer(&mut stream, "200 OK", "The sign-in was refused. You can close this page.").await;
            let text: String = value("error_description").unwrap_or(error).chars().take(300).collect();
            return Err(Refusal::new(format!("the API refused the sign-in: {text}"), "run it again"));
        }
        if let Some(code) = value("code") {
            answer(&mut stream, "200 OK", "You are signed in. You can close this page.").await;
            return Ok(code);
        }
        answer(&mut stream, "400 Bad Request", "The code is missing.").await;
    }
}

/// Reads the first line of a request: `GET /callback?… HTTP/1.1`.
async fn request_target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let bytes = stream.read(&mut chunk).await.ok()?;
        if bytes == 0 || head.len() + bytes > MAX_REQUEST_BYTES {
            return None;
        }
        head.extend_from_slice(chunk.get(..bytes)?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut words = head.lines().next()?.split(' ');
    (words.next()? == "GET").then(|| words.next().map(str::to_owned)).flatten()
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let body = format!("<!doctype html><meta charset=utf-8><title>{text}</title><p>{text}\n");
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A browser that has gone away has nothing to be told.
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Device authorization, RFC 8628.
async fn device(tokens: &Tokens, tell: impl FnOnce(Prompt)) -> Result<(), Refusal> {
    let choice = tokens.choice();
    let mut form = Vec::new();
    for name in ["scope", "audience"] {
        form.extend(choice.option(name).map(|value| (name, value.to_owned())));
    }
    let url = choice.value("device_url");
    let given = tokens.ask(url, form).await.map_err(|error| tokens.refusal(error, false))?;
    let text = |name: &str| given.get(name).and_then(Value::as_str).map(str::to_owned);
    // `verification_url` is how Google wrote it before there was an RFC.
    let page = text("verification_uri").or_else(|| text("verification_url"));
    let (Some(device_code), Some(code), Some(page)) = (text("device_code"), text("user_code"), page) else {
        return Err(Refusal::new(format!("{url} gave no code"), "check device_url; the answer is not one of RFC 8628"));
    };
    let number = |name: &str| given.get(name).and_then(Value::as_u64);
    let mut interval = number("interval").unwrap_or(POLL_S).clamp(1, 60);
    let end_ms = number("expires_in").map(|seconds| tokens.now_ms().saturating_add(seconds.saturating_mul(1000)));
    tell(Prompt::Code { url: page, code, complete: text("verification_uri_complete") });
    loop {
        tokens.pause(Duration::from_secs(interval)).await;
        let form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code".to_owned()),
            ("device_code", device_code.clone()),
        ];
        let asked_ms = tokens.now_ms();
        match tokens.ask(choice.value("token_url"), form).await {
            Ok(answer) => return tokens.keep(&answer, asked_ms).await,
            Err(TokenError::Code { code, .. }) if code == "authorization_pending" => {}
            Err(TokenError::Code { code, .. }) if code == "slow_down" => interval += SLOW_DOWN_S,
            Err(TokenError::Code { code, .. }) if code == "access_denied" => {
                return Err(Refusal::new("the sign-in was refused", "run it again"));
            }
            Err(TokenError::Code { code, .. }) if code == "expired_token" => {
                return Err(Refusal::new("the code has expired", "run it again"));
            }
            Err(error) => return Err(tokens.refusal(error, false)),
        }
        if end_ms.is_some_and(|end| tokens.now_ms() >= end) {
            return Err(Refusal::new("the code has expired", "run it again"));
        }
    }
}

/// 256 random bits, as RFC 7636, section 4.1, recommends.
fn random() -> Result<String, Refusal> {
    let mut bytes = [0; 32];
    let none = |_| Refusal::new("the system has no random numbers", "run it again");
    SystemRandom::new().fill(&mut bytes).map_err(none)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(port: u16, target: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said.lines().next().unwrap_or_default().to_owned()
    }

    /// Whoever knows the port can send a code of their own, and would have the person read another's account.
    #[tokio::test]
    async fn a_code_without_the_state_of_this_sign_in_is_ignored() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let browser = async {
            for target in [
                "/callback?code=stolen",
                "/callback?code=stolen&state=",
                "/callback?code=stolen&state=other",
                "/callback?code=stolen&state=stat",
                "/callback?code=stolen&state=states",
                "/callback?error=access_denied&state=other",
                "/callback?state=state",
            ] {
                assert_eq!(get(port, target).await, "HTTP/1.1 400 Bad Request", "{target}");
            }
            assert_eq!(get(port, "/favicon.ico").await, "HTTP/1.1 404 Not Found");
            // What is no request ends its connection and nothing else.
            drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
            assert_eq!(get(port, "/callback?code=mine&state=state").await, "HTTP/1.1 200 OK");
        };
        let (code, ()) = tokio::join!(come_back(&listener, "state"), browser);
        assert_eq!(code.unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_sign_in_that_is_refused_says_so() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = "/callback?error=access_denied&error_description=not%20today&state=state";
        let (code, said) = tokio::join!(come_back(&listener, "state"), get(port, target));
        assert_eq!(code.unwrap_err().message, "the API refused the sign-in: not today");
        assert_eq!(said, "HTTP/1.1 200 OK");
    }
}
