//! Against httpbin: every encoding, redirects that lead where nobody may go, drips, and what a user is told of them.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    program::host,
    servers::httpbin::Httpbin,
    transcript::{Scene, compare, play, transcript},
};

fn stream(name: &str, path: &str) -> Value {
    json!({"name": name, "path": path, "one_object": true, "primary_key": ["url"]})
}

/// One stream for one path; its answer is one object.
fn config(httpbin: &Httpbin, path: &str) -> Value {
    json!({"base_url": httpbin.url(), "streams": [stream("answer", path)]})
}

#[test]
fn bodies_in_every_encoding_are_read() -> anyhow::Result<()> {
    let httpbin = Httpbin::start()?;
    for (path, field) in
        [("gzip", Some("gzipped")), ("deflate", Some("deflated")), ("brotli", Some("brotli")), ("get", None)]
    {
        let connection = Connection::new("rest", &config(&httpbin, path))?;
        let run = connection.run(&["--format", "jsonl"])?;
        let records = connection.records("answer")?;
        ensure!(records.len() == 1, "{path}: {run:#?}");
        ensure!(field.is_none_or(|field| records[0][field] == true), "{path}: {records:?}");
        // What the host itself says it takes.
        ensure!(records[0]["headers"]["Accept-Encoding"] == "gzip, br, zstd, deflate", "{path}: {records:?}");
        ensure!(connection.command(&["check"], &[])?.output()?.status.success());
    }
    Ok(())
}

#[test]
fn credentials_reach_the_server_and_its_echo_of_them_goes_no_further() -> anyhow::Result<()> {
    let httpbin = Httpbin::start()?;
    let secret = "s3cret-value-0123456789";
    for (auth, path) in [
        (json!({"bearer": secret}), "bearer".to_owned()),
        (json!({"basic": {"username": "user", "password": secret}}), format!("hidden-basic-auth/user/{secret}")),
        (json!({"cookie": {"name": "sid", "value": secret}}), "cookies".to_owned()),
        (json!({"query": {"name": "key", "value": secret}}), "get".to_owned()),
        (json!({"header": {"name": "X-Key", "value": secret}}), "headers".to_owned()),
    ] {
        let mut config = config(&httpbin, &path);
        config["auth"] = auth;
        // The path that httpbin compares with holds the password itself; it is of the user's own configuration.
        let own = path.contains(secret);
        let connection = Connection::new("rest", &config)?;
        let run = connection.run(&["--format", "jsonl", "--verbose"])?;
        ensure!(connection.records("answer")?.len() == 1, "{path}: {run:#?}");
        if !own {
            ensure!(connection.files_with(secret)?.is_empty(), "{path}: {:?}", connection.files_with(secret)?);
            ensure!(!run.log.contains(secret) && !run.report.to_string().contains(secret), "{path}: {run:#?}");
        }
    }
    Ok(())
}

#[test]
fn redirects_are_followed_as_far_as_they_may_be() -> anyhow::Result<()> {
    let httpbin = Httpbin::start()?;
    for path in ["redirect/4", "relative-redirect/4", "absolute-redirect/4", "redirect-to?url=/get&status_code=307"] {
        let connection = Connection::new("rest", &config(&httpbin, path))?;
        let run = connection.run(&["--format", "jsonl"])?;
        let records = connection.records("answer")?;
        ensure!(records.len() == 1, "{path}: {run:#?}");
        ensure!(records[0]["url"].as_str().is_some_and(|url| url.ends_with("/get")), "{path}: {records:?}");
    }
    Ok(())
}

#[test]
fn an_api_may_tell_its_limit_in_headers_of_its_own_names() -> anyhow::Result<()> {
    let httpbin = Httpbin::start()?;
    let mut scene = Scene::new()?;
    scene.call(httpbin.url().trim_start_matches("http://"), "127.0.0.1:PORT");
    // The first answer says that nothing is left for an hour.
    let mut config = config(&httpbin, "response-headers?X-Quota=100&X-Quota-Left=0&X-Quota-Until=3600");
    config["streams"][0]["primary_key"] = json!(["X-Quota"]);
    config["streams"].as_array_mut().into_iter().for_each(|streams| streams.push(stream("second", "get")));
    let file = scene.file("api.json", config.to_string())?;
    let out = scene.path("out").display().to_string();
    let names = ["limit=X-Quota", "remaining=X-Quota-Left", "reset=X-Quota-Until"];
    let mut arguments = vec!["run", "rest", "--config", &file, "--out", &out, "--max-wait", "1m", "--concurrency", "1"];
    names.iter().for_each(|name| arguments.extend(["--budget-header", name]));
    let ended = play(&host(&arguments)?)?;
    compare("httpbin/own_budget_headers", &transcript(&scene, &arguments.join(" "), &ended))?;
    ensure!(ended.code == Some(1), "{ended:?}");
    Ok(())
}

#[test]
fn what_is_refused_is_told_with_the_rule_and_the_next_step() -> anyhow::Result<()> {
    let httpbin = Httpbin::start()?;
    for (name, path, flags) in [
        ("redirect_to_metadata", "redirect-to?url=http%3A%2F%2F169.254.169.254%2Flatest%2Fmeta-data%2F", &[][..]),
        // The user may name what they like; a connector's server may not.
        (
            "redirect_to_metadata_by_name",
            "redirect-to?url=http%3A%2F%2F%5B%3A%3Affff%3Aa9fe%3Aa9fe%5D%2Flatest",
            &["--allow-host", "http://169.254.169.254"],
        ),
        ("redirect_to_file", "redirect-to?url=file%3A%2F%2F%2Fetc%2Fpasswd", &[]),
        ("redirects_without_end", "redirect/30", &[]),
        ("drip_too_slow", "drip?duration=30&numbytes=30&delay=0", &["--request-timeout", "500ms"]),
        ("silent_too_long", "delay/5", &["--idle-timeout", "500ms", "--connect-timeout", "1s"]),
        ("large", "bytes/100000", &["--max-response", "64KiB"]),
        ("status_418", "status/418", &[]),
        ("status_503", "status/503", &[]),
        ("not_json", "drip?duration=0.2&numbytes=10&delay=0", &[]),
    ] {
        let mut scene = Scene::new()?;
        scene.call(httpbin.url().trim_start_matches("http://"), "127.0.0.1:PORT");
        let file = scene.file("api.json", config(&httpbin, path).to_string())?;
        let out = scene.path("out").display().to_string();
        let mut arguments =
            vec!["run", "rest", "--config", &file, "--out", &out, "--retry-base", "1ms", "--attempts", "2"];
        arguments.extend(flags);
        let ended = play(&host(&arguments)?)?;
        compare(&format!("httpbin/{name}"), &transcript(&scene, &arguments.join(" "), &ended))?;
        ensure!(ended.code == Some(1), "{name}: {ended:?}");
    }
    Ok(())
}
