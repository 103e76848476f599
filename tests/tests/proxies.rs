//! Proxies as a user configures them: HTTP with CONNECT, HTTPS and SOCKS5, by flags and by the environment, and what is said
//! where one does not work.

use std::fs;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Api, Endpoint, Total, offset::Offset},
    program::{self, Ended},
    servers::{
        ClosedPort,
        nginx::{Nginx, PAGE},
        proxy::{Proxy, Speaks},
    },
    transcript::{Scene, compare, play, transcript},
};

const LOGIN: &str = "proxy-user:s3cret-of-the-proxy@";

fn plain(api: &Api) -> Value {
    json!({"base_url": api.url(""), "streams": [{
        "name": "items", "path": "items", "records": "/items", "total": "/total", "primary_key": ["id"],
        "pagination": {"offset": {"offset_param": "offset", "limit_param": "limit", "limit": 100}},
    }]})
}

fn api() -> anyhow::Result<Api> {
    Ok(Api::builder().endpoint(Endpoint::new("/items", Offset::default()).records(250).total(Total::Body)).start()?)
}

fn secure(nginx: &Nginx) -> Value {
    json!({"base_url": nginx.secure(), "streams": [{
        "name": "items", "path": "items", "records": "/items", "total": "/total", "primary_key": ["id"],
        "pagination": {"page": {"page_param": "page", "first": 0, "size_param": "size", "size": PAGE}},
        "never_shifts": true,
    }]})
}

/// What came with the credentials of the proxy's URL: in a header, or as SOCKS has it.
fn named(asked: &[String]) -> bool {
    let basic = "proxy-authorization: basic chjvehktdxnlcjpzm2nyzxqtb2ytdghllxbyb3h5";
    asked.iter().all(|one| one.to_lowercase().ends_with(basic) || one.ends_with(" proxy-user:s3cret-of-the-proxy"))
}

#[test]
fn each_kind_of_proxy_carries_plain_and_secure_requests() -> anyhow::Result<()> {
    let (api, nginx) = (api()?, Nginx::start(4)?);
    let ports =
        (api.url("").trim_end_matches('/').to_owned(), nginx.secure().replace("https://localhost", "127.0.0.1"));
    let (plain_host, secure_host) = (ports.0.replace("http://", ""), ports.1);
    for speaks in [Speaks::Http, Speaks::Https, Speaks::Socks5] {
        let proxy = Proxy::start(speaks)?;
        // Both the server and the proxy have certificates of their own.
        let trusted = format!("{}{}", fs::read_to_string(nginx.file("server.pem"))?, proxy.certificate());
        let folder = tempfile::tempdir()?;
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, trusted)?;
        let url = proxy.url(LOGIN);
        let flags = ["--proxy", url.as_str(), "--ca-file", &ca.display().to_string(), "--verbose"];
        for (config, ids, secure) in [(plain(&api), 250, false), (secure(&nginx), 4 * PAGE, true)] {
            let connection = Connection::new("rest", &config)?;
            let run = connection.complete(&flags)?;
            ensure!(connection.records("items")?.len() == ids, "{run:#?}");
            let asked = proxy.asked();
            let by = |start: &str| asked.iter().all(|one| one.starts_with(start)) && !asked.is_empty();
            let right = match (speaks, secure) {
                (Speaks::Socks5, false) => by(&format!("SOCKS5 {plain_host}")),
                (Speaks::Socks5, true) => by(&format!("SOCKS5 {secure_host}")),
                (_, false) => by(&format!("GET http://{plain_host}/items?")),
                (_, true) => by(&format!("CONNECT {}", nginx.secure().replace("https://", ""))),
            };
            ensure!(right && named(&asked), "{speaks:?}: {asked:?}");
            for text in ["s3cret-of-the-proxy", "chJveHktdXNlcjpzM2NyZXQt"] {
                ensure!(connection.files_with(text)?.is_empty(), "{speaks:?}: {:?}", connection.files_with(text)?);
                ensure!(!run.log.contains(text) && !run.report.to_string().contains(text), "{run:#?}");
            }
        }
    }
    ensure!(nginx.seen()?.iter().all(|one| one.protocol == "HTTP/2.0"), "{:#?}", nginx.seen()?);
    Ok(())
}

/// Runs with these variables in the environment.
fn with(connection: &Connection, flags: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<Ended> {
    let mut command = connection.command(&["run"], &[&["--full", "-q"], flags].concat())?;
    for name in
        ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"]
    {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    Ok(command.output()?.into())
}

#[test]
fn a_proxy_of_the_environment_is_used_where_no_flag_says_otherwise() -> anyhow::Result<()> {
    let (api, proxy) = (api()?, Proxy::start(Speaks::Http)?);
    let url = proxy.url("");
    let connection = Connection::new("rest", &plain(&api))?;
    for (flags, variables, used) in [
        (&[][..], &[][..], false),
        (&[], &[("http_proxy", url.as_str())], true),
        (&[], &[("all_proxy", &url)], true),
        (&[], &[("ALL_PROXY", &url)], true),
        // It is not for http, and this one a web server sets from a header of its client.
        (&[], &[("HTTPS_PROXY", &url)], false),
        (&[], &[("HTTP_PROXY", &url)], false),
        (&[], &[("http_proxy", &url), ("NO_PROXY", "127.0.0.1")], false),
        (&[], &[("http_proxy", &url), ("no_proxy", "example.com,127.0.0.0/8")], false),
        (&[], &[("http_proxy", &url), ("no_proxy", "example.com")], true),
        (&["--no-proxy", "127.0.0.1"], &[("http_proxy", &url)], false),
        (&["--no-proxy", "*"], &[("http_proxy", "no proxy at all")], false),
        // A flag counts more than the environment.
        (&["--proxy", &url], &[("http_proxy", "http://127.0.0.1:1")], true),
        (&["--proxy", &url, "--no-proxy", "127.0.0.1"], &[], false),
    ] {
        let ended = with(&connection, flags, variables)?;
        ensure!(ended.code == Some(0), "{flags:?} {variables:?}: {ended:?}");
        ensure!(proxy.asked().is_empty() != used, "{flags:?} {variables:?}: {ended:?}");
    }
    Ok(())
}

#[test]
fn a_proxy_that_does_not_work_is_named_with_the_next_step() -> anyhow::Result<()> {
    let (api, nginx, refusing) = (api()?, Nginx::start(1)?, Proxy::start(Speaks::Refusing)?);
    let tls = Proxy::start(Speaks::Https)?;
    let nobody = ClosedPort::take()?;
    let secret = "s3cret-of-the-proxy";
    let login = format!("http://user:{secret}@");
    let url = |port: String| format!("{login}127.0.0.1:{port}");
    let closed = url(nobody.number().to_string());
    let refused = refusing.url(&format!("user:{secret}@"));
    for (name, config, proxy, code) in [
        ("closed_plain", plain(&api), closed.clone(), 1),
        ("closed_secure", secure(&nginx), closed.clone(), 1),
        ("closed_socks5", plain(&api), closed.replace("http://", "socks5://"), 1),
        ("refused_plain", plain(&api), refused.clone(), 1),
        ("refused_secure", secure(&nginx), refused, 1),
        ("unknown_authority", plain(&api), tls.url(&format!("user:{secret}@")), 1),
        ("unknown_scheme", plain(&api), format!("ftp://user:{secret}@proxy.example"), 2),
    ] {
        let mut scene = Scene::new()?;
        scene.call(nginx.secure().replace("https://", ""), "localhost:PORT");
        scene.call(format!("user:{secret}@"), "");
        let file = scene.file("api.json", config.to_string())?;
        let out = scene.path("out").display().to_string();
        scene.call(tls.url("").replace("https://", ""), "localhost:PORT");
        let ca = nginx.file("server.pem");
        scene.call(nginx.file(""), "");
        let mut arguments = vec!["run", "rest", "--config", &file, "--out", &out, "--attempts", "1", "--proxy", &proxy];
        if proxy != tls.url(&format!("user:{secret}@")) {
            arguments.extend(["--ca-file", &ca]);
        }
        let ended = play(&program::host(&arguments)?)?;
        ensure!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret), "{ended:?}");
        compare(&format!("proxies/{name}"), &transcript(&scene, &arguments.join(" "), &ended))?;
        ensure!(ended.code == Some(code), "{name}: {ended:?}");
    }
    // One of the environment is named by its variable.
    let connection = Connection::new("rest", &plain(&api))?;
    let ended = with(&connection, &[], &[("all_proxy", "gopher://user:s3cret-of-the-proxy@proxy.example")])?;
    let text = "error[usage]: all_proxy: not a proxy; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, with \
                USER:PASSWORD@ before HOST if it asks for them\nnext: mend all_proxy, or give --no-proxy '*' to use none\n";
    ensure!(ended.code == Some(2) && ended.stderr == text, "{ended:?}");
    Ok(())
}
