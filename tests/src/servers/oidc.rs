//! oidc-provider, a certified authorization server, with an API behind its tokens; and oauth2-mock-server, which fails.
//!
//! What the provider is like is in `servers/oidc.mjs`: no tolerance for clocks, refresh tokens that are used once, and a family
//! of tokens that is revoked as soon as one of them comes again.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use regex::Regex;
use serde_json::Value;

use super::{
    ServerError, client, installed,
    process::{Port, Process},
};
use crate::connection::Connection;

/// The secret of the clients that have one: with all that has to be encoded.
pub const SECRET: &str = "s3cr:et/+%~";

/// The running provider.
#[derive(Debug)]
pub struct Oidc {
    base: String,
    _process: Process,
}

impl Oidc {
    /// Starts it with access tokens that live `ttl_s` seconds, and a client whose public key is `jwk`.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub fn start(ttl_s: u64, jwk: &Value) -> Result<Self, ServerError> {
        installed("node_modules/oidc-provider/package.json")?;
        let script = installed("oidc.mjs")?;
        let claimed = Port::claim()?;
        let port = claimed.number();
        let mut command = Command::new("node");
        command.arg(script).arg(port.to_string());
        command.env("CLIENT_JWK", jwk.to_string()).env("ACCESS_TTL", ttl_s.to_string()).env("NODE_NO_WARNINGS", "1");
        let process = Process::start("oidc-provider", command, tempfile::tempdir()?, vec![claimed])?;
        Ok(Self { base: format!("http://127.0.0.1:{port}"), _process: process })
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// How often a token was asked for.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn asked(&self) -> Result<usize, ServerError> {
        let text = self.admin("asked")?;
        let asked: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(asked.as_array().map_or(0, Vec::len))
    }

    /// All tokens that were given out so far, and what renews them.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn issued(&self) -> Result<Vec<String>, ServerError> {
        serde_json::from_str(&self.admin("issued")?).map_err(|error| wrong(error.to_string()))
    }

    /// Does something that only a test may: `end` the tokens that the API has seen, `hold-token` or `hold-items` for the next
    /// answer, put the clock `ahead/SECONDS`, and say what is `held`.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub fn admin(&self, what: &str) -> Result<String, ServerError> {
        Browser::default().get(&self.url(&format!("/admin/{what}"))).map(|page| page.body)
    }
}

/// A private key for ES256, PEM, and its public half as a JWK.
///
/// # Errors
/// Where node makes none.
pub fn key() -> anyhow::Result<(String, Value)> {
    let script = "const k = require('crypto').generateKeyPairSync('ec', {namedCurve: 'P-256'}); \
        console.log(JSON.stringify({pem: k.privateKey.export({type: 'pkcs8', format: 'pem'}), \
        jwk: {...k.publicKey.export({format: 'jwk'}), alg: 'ES256', use: 'sig'}}))";
    let made = Command::new("node").args(["-e", script]).output()?;
    let made: Value = serde_json::from_slice(&made.stdout)?;
    Ok((made["pem"].as_str().context("a key")?.to_owned(), made["jwk"].clone()))
}

/// Signs in as a person would: what the command prints is opened in a browser.
///
/// # Errors
/// Where the command ends without success, or never names a `page`.
pub fn sign_in(connection: &Connection, flags: &[&str], page: &str) -> anyhow::Result<()> {
    let mut command = connection.command(&["auth", "login"], &[&["--no-browser"], flags].concat())?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().context("its errors")?);
    let url = loop {
        let mut line = String::new();
        ensure!(lines.read_line(&mut line)? > 0, "it ended: {said}");
        said.push_str(&line);
        if let Some(at) = line.find("http").filter(|at| line[*at..].contains(page)) {
            break line[at..].trim().to_owned();
        }
    };
    Browser::default().sign_in(&url)?;
    let ended = child.wait_with_output()?;
    lines.read_to_string(&mut said)?;
    ensure!(ended.status.success(), "{ended:?} {said}");
    Ok(())
}

/// oauth2-mock-server, whose token endpoint answers every third time with 503.
#[derive(Debug)]
pub struct Flaky {
    base: String,
    _process: Process,
}

impl Flaky {
    /// Starts it.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub fn start() -> Result<Self, ServerError> {
        installed("node_modules/oauth2-mock-server/package.json")?;
        let script = installed("oauth2-mock.mjs")?;
        let claimed = Port::claim()?;
        let port = claimed.number();
        let mut command = Command::new("node");
        command.arg(script).arg(port.to_string());
        let process = Process::start("oauth2-mock-server", command, tempfile::tempdir()?, vec![claimed])?;
        Ok(Self { base: format!("http://127.0.0.1:{port}"), _process: process })
    }

    /// Where tokens are given out.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/token", self.base)
    }
}

fn wrong(answer: String) -> ServerError {
    ServerError::Answer { name: "oidc-provider", answer }
}

/// A person with a browser, who agrees to everything: follows redirects, keeps cookies, and sends forms.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: Vec<(String, String)>,
}

struct Page {
    body: String,
    url: url::Url,
}

impl Browser {
    /// Opens a page, and goes wherever it leads, sending each form that is met.
    ///
    /// # Errors
    /// Where a server does not answer, or goes in a circle.
    pub fn sign_in(&mut self, url: &str) -> Result<(), ServerError> {
        let mut page = self.get(url)?;
        let field = Regex::new(r#"name="([^"]+)"[^>]*value="([^"]*)""#).map_err(|error| wrong(error.to_string()))?;
        let action = Regex::new(r#"action="([^"]+)""#).map_err(|error| wrong(error.to_string()))?;
        for _ in 0..5 {
            let Some(form) =
                page.body.split("<form").nth(1).and_then(|rest| rest.split("</form").next()).map(str::to_owned)
            else {
                return Ok(());
            };
            let fields: Vec<(String, String)> =
                field.captures_iter(&form).map(|found| (found[1].to_owned(), found[2].to_owned())).collect();
            let target = action.captures(&form).map_or_else(String::new, |found| found[1].to_owned());
            let target = page.url.join(&target).map_err(|error| wrong(error.to_string()))?;
            page = self.go(target, Some(fields))?;
        }
        Err(wrong("forms without end".to_owned()))
    }

    fn get(&mut self, url: &str) -> Result<Page, ServerError> {
        self.go(url::Url::parse(url).map_err(|error| wrong(error.to_string()))?, None)
    }

    fn go(&mut self, mut url: url::Url, mut form: Option<Vec<(String, String)>>) -> Result<Page, ServerError> {
        for _ in 0..12 {
            let cookies =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
            let answer = match form.take() {
                None => client().get(url.as_str()).config().max_redirects(0).build().header("cookie", &cookies).call(),
                Some(fields) => client()
                    .post(url.as_str())
                    .config()
                    .max_redirects(0)
                    .build()
                    .header("cookie", &cookies)
                    .send_form(fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            };
            let mut answer = answer.map_err(|error| wrong(error.to_string()))?;
            for cookie in answer.headers().get_all("set-cookie") {
                let pair = cookie.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
                if let Some((name, value)) = pair.split_once('=') {
                    self.cookies.retain(|(own, _)| own != name);
                    self.cookies.push((name.to_owned(), value.to_owned()));
                }
            }
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
            match location.filter(|_| answer.status().is_redirection()) {
                Some(location) => url = url.join(&location).map_err(|error| wrong(error.to_string()))?,
                None => {
                    let body = answer.body_mut().read_to_string().map_err(|error| wrong(error.to_string()))?;
                    return Ok(Page { body, url });
                }
            }
        }
        Err(wrong("redirects without end".to_owned()))
    }
}
