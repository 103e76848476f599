//! Makes requests with which other clients can be led to send something else than what their policy looked at: headers that
//! frame the message, line breaks in every place, credentials in URLs, and more of everything than servers take. It writes to
//! the log what became of each.

use guests::prelude::*;

use connector_sdk::{HttpError, log};

struct Case;

/// Headers that are the host's alone: they frame the message, or steer the connection.
const FRAMING: &[(&str, &str)] = &[
    ("Host", "evil.example"),
    ("hOsT", "evil.example"),
    ("Content-Length", "0"),
    ("Transfer-Encoding", "chunked"),
    ("transfer-encoding", "identity, chunked"),
    ("Connection", "keep-alive, x-forged"),
    ("Keep-Alive", "timeout=999"),
    ("TE", "trailers"),
    ("Trailer", "x-forged"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ("Expect", "100-continue"),
    ("Via", "1.1 forged"),
    ("Max-Forwards", "0"),
    ("Accept-Encoding", "br"),
    ("Proxy-Authorization", "Basic Zm9yZ2Vk"),
    ("Proxy-Connection", "keep-alive"),
];

/// Names that are none, by which a header could be hidden in another.
const NAMES: &[&str] = &[
    "",
    "Content-Length ",
    " Transfer-Encoding",
    "Transfer-Encoding:",
    "X-A\r\nTransfer-Encoding",
    "X-A\n",
    "X-A\0",
    "X A",
    ":authority",
    "Tränsfer-Encoding",
];

/// Values that would end their header, or the headers.
const VALUES: &[&str] = &[
    "a\r\nX-Forged: 1",
    "a\nX-Forged: 1",
    "a\rX-Forged: 1",
    "a\r\n\r\nGET /forged-second HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a\r\n folded",
    "a\0",
    "a\u{7f}",
    "a\u{85}",
];

/// What stands behind the API's address in URLs that are none.
const ENDS: &[&str] = &[
    "/forged\r\nX-Forged: 1",
    "/forged HTTP/1.1\r\nX-Forged: 1\r\n\r\n",
    "/forged\n",
    "/forged\t",
    "/forged two",
    "/forged\0",
    "/forged?a=1\r\nb=2",
    "\\@evil.example/forged",
];

impl Guest for Case {
    fn read(config: &Config, _: &Read) -> Result<Option<String>> {
        let forged = || config.get("/forged").header("X-Forged", "1");
        let host = config.url.trim_start_matches("http://");
        let token = config.token.as_ref().map(Secret::placeholder).unwrap_or_default();
        for (name, value) in FRAMING {
            tried(&format!("{name}: {value}"), &forged().header(*name, *value));
        }
        let smuggled = "0\r\n\r\nGET /forged-second HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        let post = Request::post(format!("{}/forged", config.url)).body(smuggled);
        tried("a length of nothing, and a body", &post.clone().header("Content-Length", "0"));
        tried("two framings", &post.header("Content-Length", "5").header("Transfer-Encoding", "chunked"));
        for name in NAMES {
            tried(&format!("a header named {name:?}"), &forged().header(*name, "1"));
        }
        for value in VALUES {
            tried(&format!("a header of {value:?}"), &forged().header("X-A", *value));
        }
        for end in ENDS {
            tried(&format!("URL…{end:?}"), &config.get(end));
        }
        for url in [
            format!("http://user:password@{host}/forged"),
            format!("http://user@{host}/forged"),
            format!("http://:password@{host}/forged"),
            format!("http://evil.example@{host}/forged"),
            format!("http://{host}@evil.example/forged"),
            format!("http://{host}\r\n@evil.example/forged"),
            format!("ftp://{host}/forged"),
            format!("//{host}/forged"),
            "file:///etc/passwd".to_owned(),
            "/forged".to_owned(),
            String::new(),
        ] {
            tried(&format!("{url:?}"), &Request::get(&url));
        }
        let long = "x".repeat(17_000);
        tried("a long path", &config.get(&format!("/forged/{long}")));
        tried("a long query", &config.get("/forged").query("q", &long));
        tried("101 headers", &many(forged(), 100));
        tried("a header of 70 KB", &forged().header("X-A", "x".repeat(70_000)));
        tried(
            "headers of 70 KB together",
            &(0..70).fold(forged(), |all, one| all.header(format!("X-{one}"), "x".repeat(1_000))),
        );
        tried("a body of 2 MiB", &Request::post(format!("{}/forged", config.url)).body(vec![b'x'; 2 << 20]));
        tried("a secret in a path", &config.get(&format!("/forged/{token}")));
        tried("a secret in a header's name", &forged().header(token, "1"));

        // What looks like it and is right goes out, as it is written here.
        let honest = many(config.get("/items?mark=honest&crlf=%0d%0a"), 90).query("q", "a\r\nX-Forged: 1");
        tried("90 headers, and line breaks that are percent-encoded", &honest.header("X-Tab", "a\tb"));
        healthy()
    }
}

fn many(request: Request, count: usize) -> Request {
    (0..count).fold(request, |request, number| request.header(format!("X-{number}"), "1"))
}

fn tried(what: &str, request: &Request) {
    let became = match request.send() {
        Ok(response) => format!("sent, and answered with {}", response.status()),
        Err(HttpError::Denied { rule, .. }) => rule,
        Err(HttpError::Invalid { reason, .. }) => reason,
        Err(other) => other.to_string(),
    };
    log::write(log::Level::Warn, &format!("{what} -> {became}"), &[]);
}

connector_sdk::export!(Connection<Case>);
