//! Kinto: the next page as a URL in the header `Next-Page`, `_since` with tombstones, ETags.

use std::process::Command;

use serde_json::{Value, json};

use super::{
    ServerError, client, installed,
    process::{Port, Process},
};

/// Most requests of one batch; set in the server's configuration.
const BATCH: usize = 500;

/// `Authorization` of all requests: user `a`, password `b`. Kinto makes an account of any such pair, and
/// gives each its own bucket by the name of `default`.
pub const AUTHORIZATION: &str = "Basic YTpi";

/// The running server, empty at first, everything in memory.
#[derive(Debug)]
pub struct Kinto {
    base: String,
    _process: Process,
}

impl Kinto {
    /// Starts it with pages of `page_size` records at most.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub fn start(page_size: usize) -> Result<Self, ServerError> {
        let program = installed(".venv/bin/kinto")?;
        let folder = tempfile::tempdir()?;
        let claimed = Port::claim()?;
        let port = claimed.number();
        let file = folder.path().join("kinto.ini");
        std::fs::write(&file, configuration(port, page_size))?;
        let mut command = Command::new(program);
        command.arg("start").arg("--ini").arg(&file).args(["--port", &port.to_string()]);
        let process = Process::start("kinto", command, folder, vec![claimed])?;
        Ok(Self { base: format!("http://127.0.0.1:{port}/v1"), _process: process })
    }

    /// Scheme, host, port and `/v1`. A collection's records are at [`records`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Makes a collection of records `{"id": "r-0000000", "n": 0, "group": "g0"}`.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn fill(&self, collection: &str, records: usize) -> Result<(), ServerError> {
        let all: Vec<usize> = (0..records).collect();
        for some in all.chunks(BATCH) {
            let requests: Vec<Value> = some
                .iter()
                .map(|n| {
                    json!({
                        "path": format!("/v1/{}/{}", self::records(collection), record_id(*n)),
                        "body": {"data": {"n": n, "group": format!("g{}", n % 7)}},
                    })
                })
                .collect();
            let body = json!({"defaults": {"method": "PUT"}, "requests": requests});
            let answer = self.send("POST", "/batch", Some(&body))?;
            let refused = answer["responses"].as_array().into_iter().flatten().find(|one| one["status"] != 201);
            if let Some(refused) = refused {
                return Err(ServerError::Answer { name: "kinto", answer: refused.to_string() });
            }
        }
        Ok(())
    }

    /// Changes one record, so that it becomes the newest.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn change(&self, collection: &str, n: usize) -> Result<(), ServerError> {
        let path = format!("/{}/{}", records(collection), record_id(n));
        self.put(&path, &json!({"data": {"n": n, "group": "changed"}}))
    }

    /// Deletes one record, so that a reading `_since` before sees its tombstone.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn delete(&self, collection: &str, n: usize) -> Result<(), ServerError> {
        let path = format!("/{}/{}", records(collection), record_id(n));
        self.send("DELETE", &path, None).map(drop)
    }

    fn put(&self, path: &str, body: &Value) -> Result<(), ServerError> {
        self.send("PUT", path, Some(body)).map(drop)
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ServerError> {
        let wrong = |answer: String| ServerError::Answer { name: "kinto", answer };
        let url = format!("{}{path}", self.base);
        let response = match (method, body) {
            ("DELETE", _) => client().delete(url).header("authorization", AUTHORIZATION).call(),
            ("POST", body) => client().post(url).header("authorization", AUTHORIZATION).send_json(body),
            (_, body) => client().put(url).header("authorization", AUTHORIZATION).send_json(body),
        };
        let mut response = response.map_err(|error| wrong(error.to_string()))?;
        let status = response.status();
        let body: Value = response.body_mut().read_json().map_err(|error| wrong(error.to_string()))?;
        if status.is_success() { Ok(body) } else { Err(wrong(body.to_string())) }
    }
}

/// The path of a collection's records, below [`Kinto::url`].
#[must_use]
pub fn records(collection: &str) -> String {
    format!("buckets/default/collections/{collection}/records")
}

/// The id of a record made by [`Kinto::fill`].
#[must_use]
pub fn record_id(n: usize) -> String {
    format!("r-{n:07}")
}

fn configuration(port: u16, page_size: usize) -> String {
    format!(
        "[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
threads = 4

[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.userid_hmac_secret = for-tests-only
kinto.includes = kinto.plugins.default_bucket
multiauth.policies = basicauth
multiauth.policy.basicauth.use = kinto.core.authentication.BasicAuthAuthenticationPolicy
kinto.paginate_by = {page_size}
kinto.batch_max_requests = {BATCH}
kinto.http_scheme = http
kinto.http_host = 127.0.0.1:{port}

[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = plain
[formatter_plain]
format = %(levelname)s %(message)s
"
    )
}
