//! Against nginx: limits by token, connections that end, HTTP/2 and certificates, as a user meets them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    program::host,
    servers::nginx::{Nginx, PAGE, REQUESTS, Seen},
    transcript::{Scene, compare, play, transcript},
};

fn config(base_url: &str, path: &str, more: &Value) -> Value {
    let mut config = json!({"base_url": base_url, "streams": [{
        "name": "items", "path": path, "records": "/items", "total": "/total", "primary_key": ["id"],
        "pagination": {"page": {"page_param": "page", "first": 0, "size_param": "size", "size": PAGE}},
        "never_shifts": true,
    }]});
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    config
}

fn all(pages: usize) -> Vec<u64> {
    (0..(pages * PAGE) as u64).collect()
}

fn connections(seen: &[Seen]) -> BTreeMap<u64, usize> {
    let mut connections = BTreeMap::new();
    seen.iter().for_each(|one| *connections.entry(one.connection).or_default() += 1);
    connections
}

#[test]
fn a_token_that_was_told_to_wait_waits_so_long_and_the_other_goes_on() -> anyhow::Result<()> {
    // Six pages for each token: no machine is so slow that the two beyond the first four pass as well.
    let nginx = Nginx::start(12)?;
    let auth = json!({"auth": {"bearer": ["key-number-one", "key-number-two"]}});
    let connection = Connection::new("rest", &config(&nginx.limited(), "items", &auth))?;
    connection.complete(&[])?;
    ensure!(connection.ids("items", "id")? == all(12));
    let seen = nginx.seen()?;
    for token in ["Bearer key-number-one", "Bearer key-number-two"] {
        let of_token: Vec<&Seen> = seen.iter().filter(|one| one.authorization == token).collect();
        let refused = of_token.iter().filter(|one| one.status == 429).count();
        ensure!(refused > 0 && of_token.len() > refused, "{token} was never limited, or never used: {seen:#?}");
        // The log has milliseconds. In the order of their answers: those that were under way with the one that was refused come back at about its time.
        for one in of_token.iter().filter(|one| one.status == 429) {
            let early = of_token.iter().filter(|next| (0.5..0.999).contains(&(next.at_s - one.at_s))).count();
            ensure!(early == 0, "{token} did not rest for a second after {one:?}: {seen:#?}");
        }
    }
    Ok(())
}

#[test]
fn connections_that_end_after_seven_requests_lose_nothing() -> anyhow::Result<()> {
    let nginx = Nginx::start(60)?;
    let ca = nginx.file("server.pem");
    for (base, protocol) in [(nginx.plain(), "HTTP/1.1"), (nginx.secure(), "HTTP/2.0")] {
        for in_flight in [1, 8] {
            let before = nginx.seen()?.len();
            let mut config = config(&base, "items", &json!({}));
            config["streams"][0]["in_flight"] = in_flight.into();
            let connection = Connection::new("rest", &config)?;
            let run = connection.complete(&["--ca-file", &ca])?;
            ensure!(connection.ids("items", "id")? == all(60));
            ensure!(run.report["traffic"]["retries"] == 0, "{protocol}, {in_flight}: {:#}", run.report);
            let seen = nginx.seen()?.split_off(before);
            ensure!(seen.iter().all(|one| one.protocol == protocol && one.status == 200), "{seen:#?}");
            // No page was asked for twice, though connections ended under way.
            let targets: BTreeSet<&str> = seen.iter().map(|one| one.target.as_str()).collect();
            ensure!(targets.len() == seen.len(), "{protocol}, {in_flight}: {seen:#?}");
            let connections = connections(&seen);
            ensure!(connections.values().all(|requests| *requests <= REQUESTS), "{connections:?}");
            if in_flight == 1 {
                ensure!(connections.len() == seen.len().div_ceil(REQUESTS), "{protocol}: {connections:?}");
            }
        }
    }
    Ok(())
}

/// What the host says, whole.
fn says(
    nginx: &Nginx,
    name: &str,
    base: &str,
    path: &str,
    flags: &[(&str, Option<String>)],
    code: i32,
) -> anyhow::Result<()> {
    let mut scene = Scene::new()?;
    scene.call(nginx.file(""), "");
    scene.call(base, "https://localhost:PORT");
    scene.call(base.trim_start_matches("https://"), "localhost:PORT");
    let file = scene.file("api.json", config(base, path, &json!({})).to_string())?;
    let out = scene.path("out").display().to_string();
    let mut arguments = vec!["run", "rest", "--config", &file, "--out", &out, "--retry-base", "1ms", "--attempts", "2"];
    for (flag, value) in flags {
        arguments.push(flag);
        arguments.extend(value.as_deref());
    }
    let ended = play(&host(&arguments)?)?;
    compare(&format!("nginx/{name}"), &transcript(&scene, &arguments.join(" "), &ended))?;
    ensure!(ended.code == Some(code), "{ended:?}");
    Ok(())
}

#[test]
fn a_redirect_from_https_to_http_is_refused_though_both_are_allowed() -> anyhow::Result<()> {
    let nginx = Nginx::start(1)?;
    let plain = nginx.plain();
    let flags = [("--ca-file", Some(nginx.file("server.pem"))), ("--allow-host", Some(plain))];
    says(&nginx, "https_to_http", &nginx.secure(), "down", &flags, 1)?;
    ensure!(nginx.seen()?.iter().all(|one| one.target.starts_with("/down")), "{:#?}", nginx.seen()?);
    Ok(())
}

#[test]
fn certificates_decide_who_is_spoken_to() -> anyhow::Result<()> {
    let nginx = Nginx::start(2)?;
    let (secure, old) = (nginx.secure(), nginx.old());
    let flag = |name: &'static str, file: &str| (name, Some(nginx.file(file)));
    let ca = || flag("--ca-file", "server.pem");
    says(&nginx, "unknown_authority", &secure, "items", &[], 1)?;
    says(&nginx, "tls_1_1", &old, "items", &[ca()], 1)?;
    ensure!(nginx.seen()?.is_empty(), "{:#?}", nginx.seen()?);
    says(&nginx, "no_client_certificate", &secure, "private/items", &[ca()], 1)?;
    let certificate = || flag("--client-cert", "client.pem");
    says(
        &nginx,
        "client_certificate",
        &secure,
        "private/items",
        &[ca(), certificate(), flag("--client-key", "client.key")],
        0,
    )?;
    let last = nginx.seen()?.pop();
    ensure!(last.as_ref().is_some_and(|one| one.client.contains("CN=") && one.status == 200), "{last:?}");
    // A key of another certificate, and files that are none.
    says(
        &nginx,
        "client_key_of_another",
        &secure,
        "private/items",
        &[ca(), certificate(), flag("--client-key", "server.key")],
        2,
    )?;
    says(
        &nginx,
        "client_key_missing",
        &secure,
        "private/items",
        &[ca(), certificate(), flag("--client-key", "no.key")],
        2,
    )?;
    says(&nginx, "client_certificate_alone", &secure, "private/items", &[ca(), certificate()], 2)?;
    says(&nginx, "ca_file_of_no_certificate", &secure, "items", &[flag("--ca-file", "server.key")], 2)
}
