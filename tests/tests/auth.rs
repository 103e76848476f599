//! Every way of being let in, against the mock API: what it receives, and that nothing of it is to be found anywhere else.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{
    connection::Connection,
    mock::{Action, Api, Budget, Endpoint, Received, Rule, Total, offset::Offset},
    secrets::{base64, forms, leaves_nothing},
    servers::oidc::Flaky,
};

const SECRET: &str = "s3cr:et/+%~-0123456789";

fn endpoint() -> Endpoint {
    Endpoint::new("/items", Offset::default()).records(250).total(Total::Body)
}

fn connection(api: &Api, auth: &Value) -> anyhow::Result<Connection> {
    Connection::new("rest", &config(&api.url(""), auth))
}

fn config(base_url: &str, auth: &Value) -> Value {
    json!({"base_url": base_url, "auth": auth, "streams": [{
        "name": "items", "path": "items", "records": "/items", "primary_key": ["id"],
        "pagination": {"offset": {"offset_param": "offset", "limit_param": "limit", "limit": 100}},
    }]})
}

#[test]
fn every_scheme_reaches_the_api_and_leaves_nothing_behind() -> anyhow::Result<()> {
    type Sent = fn(&Received) -> Option<String>;
    let header = |received: &Received| received.header("authorization").map(str::to_owned);
    let cases: Vec<(Value, Sent, &str)> = vec![
        (json!({"bearer": SECRET}), header, "Bearer s3cr:et/+%~-0123456789"),
        (json!({"bearer": {"token": SECRET, "prefix": "token"}}), header, "token s3cr:et/+%~-0123456789"),
        (
            json!({"header": {"name": "X-Api-Key", "value": SECRET}}),
            |one| one.header("x-api-key").map(str::to_owned),
            SECRET,
        ),
        (json!({"query": {"name": "key", "value": SECRET}}), |one| one.query("key").map(str::to_owned), SECRET),
        (
            json!({"cookie": {"name": "sid", "value": SECRET}}),
            |one| one.header("cookie").map(str::to_owned),
            "sid=s3cr:et/+%~-0123456789",
        ),
        (
            json!({"basic": {"username": "user", "password": SECRET}}),
            header,
            "Basic dXNlcjpzM2NyOmV0LyslfC0wMTIzNDU2Nzg5",
        ),
        (
            json!({"hmac": {"secret": SECRET, "key_id": "k1", "template": "{method} {path_and_query}",
                            "header": "Authorization", "header_template": "HMAC {key_id}", "timestamp_header": ""}}),
            header,
            "HMAC k1",
        ),
        (
            json!({"aws": {"access_key_id": "AKID", "secret_access_key": SECRET, "region": "eu-west-1", "service": "x"}}),
            |one| one.header("authorization")?.split('/').next().map(str::to_owned),
            "AWS4-HMAC-SHA256 Credential=AKID",
        ),
    ];
    for (auth, sent, expected) in cases {
        let expected = if auth["basic"].is_object() {
            format!("Basic {}", base64(format!("user:{SECRET}").as_bytes()))
        } else {
            expected.to_owned()
        };
        let api = Api::builder().endpoint(endpoint()).start()?;
        let connection = connection(&api, &auth)?;
        let run = connection.complete(&["--verbose"])?;
        let received = api.requests();
        ensure!(received.len() >= 3, "{auth}: {received:#?}");
        ensure!(received.iter().all(|one| sent(one).as_ref() == Some(&expected)), "{auth}: {received:#?}");
        leaves_nothing(&connection, SECRET, &format!("{}{}", run.log, run.report))?;
        // The search does find what is there.
        ensure!(!connection.files_with("item-0000077")?.is_empty());
    }
    Ok(())
}

#[test]
fn an_answer_that_repeats_a_secret_is_redacted_in_every_text() -> anyhow::Result<()> {
    for auth in [
        json!({"bearer": SECRET}),
        json!({"query": {"name": "key", "value": SECRET}}),
        json!({"basic": {"username": "user", "password": SECRET}}),
        json!({"aws": {"access_key_id": "AKID", "secret_access_key": SECRET, "region": "r", "service": "x"}}),
    ] {
        let echo = forms(SECRET).join(" ");
        let body = json!({"total": 1, "items": [{"id": 1, "echo": echo}]}).to_string();
        let rule = Rule::always(Action::Body(200, "application/json", body));
        let api = Api::builder().endpoint(endpoint()).fault(rule).start()?;
        let connection = connection(&api, &auth)?;
        let run = connection.run(&["--verbose"])?;
        ensure!(connection.records("items")?.len() == 1, "{run:#?}");
        leaves_nothing(&connection, SECRET, &format!("{}{}", run.log, run.report))?;

        let api =
            Api::builder().endpoint(endpoint()).fault(Rule::always(Action::Body(400, "text/plain", echo))).start()?;
        let connection = self::connection(&api, &auth)?;
        let run = connection.run(&["--verbose"])?;
        ensure!(run.code == Some(1), "{run:#?}");
        leaves_nothing(&connection, SECRET, &format!("{}{}", run.log, run.report))?;
    }
    Ok(())
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_origin() -> anyhow::Result<()> {
    let other = Api::builder().endpoint(endpoint()).start()?;
    for auth in [
        json!({"bearer": SECRET}),
        json!({"query": {"name": "key", "value": SECRET}}),
        json!({"cookie": {"name": "sid", "value": SECRET}}),
        json!({"hmac": {"secret": SECRET}}),
    ] {
        other.forget_requests();
        let leads = Rule::always(Action::Headers(307, vec![("location", other.url("/items?limit=100&offset=0"))]));
        let api = Api::builder().endpoint(endpoint()).fault(leads).start()?;
        let connection = connection(&api, &auth)?;
        let run = connection.run(&["--allow-host", &other.url("")])?;
        let received = other.requests();
        ensure!(!received.is_empty(), "{run:#?}");
        for one in received {
            let names: BTreeSet<&str> = one.headers.iter().map(|(name, _)| name.as_str()).collect();
            let own = ["authorization", "cookie", "x-signature", "x-timestamp"];
            ensure!(own.iter().all(|name| !names.contains(name)) && one.query("key").is_none(), "{auth}: {one:#?}");
        }
    }
    Ok(())
}

#[test]
fn a_key_that_is_refused_is_taken_out_and_the_others_go_on() -> anyhow::Result<()> {
    let api = Api::builder().endpoint(endpoint()).token("good-key-1").token("good-key-2").start()?;
    let auth = json!({"bearer": ["bad-key-0", "good-key-1", "good-key-2"]});
    let connection = connection(&api, &auth)?;
    let run = connection.complete(&[])?;
    ensure!(run.log.matches("refuses key 1 of 3 with 401").count() == 1, "{}", run.log);
    let host = api.url("").replace("http://", "");
    let refused = "refuses key 1 of 3 with 401; it is not used any more, 2 are left";
    let expected = json!([format!("{} {refused}", host.trim_end_matches('/'))]);
    ensure!(run.report["warnings"] == expected, "{:#}", run.report);
    let bad = api.requests().iter().filter(|one| one.header("authorization") == Some("Bearer bad-key-0")).count();
    ensure!(bad == 1, "{bad}");
    ensure!(!run.log.contains("bad-key-0") && !run.report.to_string().contains("bad-key-0"), "{}", run.log);

    let api = Api::builder().endpoint(endpoint()).token("other").start()?;
    let connection = self::connection(&api, &auth)?;
    let run = connection.run(&[])?;
    ensure!(run.code == Some(1) && api.requests().len() == 3, "{run:#?}");
    ensure!(run.log.contains("refuses key 3 of 3 with 401; it is not used any more, 0 are left"), "{}", run.log);
    Ok(())
}

#[test]
fn keys_share_the_work_and_one_that_is_spent_rests() -> anyhow::Result<()> {
    // Each token may make two requests an hour, and there are five pages: both are used up, no request is refused, and the run
    // says until when it would have to wait.
    let budget = Budget { per_token: true, ..Budget::new(2, std::time::Duration::from_secs(3600)) };
    let api = Api::builder().endpoint(endpoint().records(450)).budget(budget).start()?;
    let mut config = config(&api.url(""), &json!({"bearer": ["key-number-1", "key-number-2"]}));
    config["streams"][0]["in_flight"] = 1.into();
    let connection = Connection::new("rest", &config)?;
    let run = connection.run(&["--max-wait", "1m"])?;
    ensure!(run.code == Some(1), "{run:#?}");
    ensure!(run.reasons().iter().any(|reason| reason.contains("come back at")), "{run:#?}");
    let received = api.requests();
    ensure!(received.len() == 4 && received.iter().all(|one| one.status == Some(200)), "{received:#?}");
    for key in ["Bearer key-number-1", "Bearer key-number-2"] {
        ensure!(received.iter().filter(|one| one.header("authorization") == Some(key)).count() == 2, "{received:#?}");
    }
    Ok(())
}

#[test]
fn a_token_endpoint_that_fails_every_third_time_is_asked_again() -> anyhow::Result<()> {
    let server = Flaky::start()?;
    let api = Api::builder().endpoint(endpoint()).start()?;
    let (url, client) = (server.token_url(), "c");
    for auth in [
        json!({"client_credentials": {"token_url": url, "client_id": client, "client_secret": SECRET}}),
        json!({"refresh_token": {"token_url": url, "client_id": client, "refresh_token": SECRET}}),
    ] {
        for _ in 0..4 {
            // Each has a store of its own, so that each asks.
            let connection = connection(&api, &auth)?;
            let ended = connection.command(&["check"], &[])?.output()?;
            ensure!(ended.status.success(), "{ended:?}");
        }
    }
    ensure!(api.requests().iter().all(|one| one.header("authorization").is_some_and(|it| it.starts_with("Bearer ey"))));
    Ok(())
}
