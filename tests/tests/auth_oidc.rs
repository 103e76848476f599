//! OAuth 2.0 against oidc-provider: each way for a client to prove itself, signing in, and refresh tokens that are used once.

use std::{
    process::{Child, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{
    clock::Clock,
    connection::Connection,
    servers::oidc::{Oidc, SECRET, key, sign_in},
};

fn config(oidc: &Oidc, auth: &Value) -> Value {
    let stream = |name: &str| json!({"name": name, "path": "items", "records": "/items", "total": "/total", "primary_key": ["id"]});
    json!({"base_url": oidc.url("/api"), "auth": auth, "streams": [stream("a"), stream("b"), stream("c"), stream("d")]})
}

fn start(ttl_s: u64) -> anyhow::Result<(Oidc, String)> {
    let (pem, jwk) = key()?;
    Ok((Oidc::start(ttl_s, &jwk)?, pem))
}

fn app(oidc: &Oidc) -> Value {
    json!({"authorization_code": {"authorize_url": oidc.url("/auth"), "token_url": oidc.url("/token"), "client_id": "app",
                                  "scope": "openid offline_access"}})
}

fn refused(ended: &Output) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(1), "{ended:?}");
    ensure!(!text.contains(SECRET), "{text}");
    Ok(text)
}

/// Waits until the server has done what it was told to hold back.
fn held(oidc: &Oidc) -> anyhow::Result<()> {
    let begun = Instant::now();
    while oidc.admin("held")? != "done" {
        ensure!(begun.elapsed() < Duration::from_secs(30), "nothing was held");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The tokens that the API has seen.
fn known(oidc: &Oidc) -> anyhow::Result<Vec<String>> {
    let known: Vec<String> = serde_json::from_str(&oidc.admin("known")?)?;
    ensure!(!known.is_empty(), "the API has seen no token");
    Ok(known)
}

fn kill(mut child: Child) -> anyhow::Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[test]
fn a_client_proves_itself_in_each_way_and_asks_once_for_all_streams() -> anyhow::Result<()> {
    let (oidc, pem) = start(3600)?;
    let url = oidc.url("/token");
    for (number, client) in [
        json!({"token_url": url, "client_id": "b:asic", "client_secret": SECRET}),
        json!({"token_url": url, "client_id": "post", "client_secret": SECRET, "client_auth": "post"}),
        json!({"token_url": url, "client_id": "jwt", "private_key": pem, "algorithm": "ES256"}),
    ]
    .into_iter()
    .enumerate()
    {
        let connection = Connection::new("rest", &config(&oidc, &json!({"client_credentials": client})))?;
        let run = connection.complete(&["--verbose"])?;
        ensure!(oidc.asked()? == number + 1, "{client}: {} tokens were asked for", oidc.asked()?);
        for text in
            [SECRET, "s3cr%3Aet%2F%2B%25~", "s3cr%3Aet%2F%2B%25%7E", "733363723a65742f2b257e", "czNjcjpldC8rJX4"]
        {
            ensure!(connection.files_with(text)?.is_empty(), "{client}: {text}");
            ensure!(!run.log.contains(text) && !run.report.to_string().contains(text), "{client}: {run:#?}");
        }
    }
    let wrong = json!({"token_url": url, "client_id": "post", "client_secret": "wrong-secret", "client_auth": "post"});
    let connection = Connection::new("rest", &config(&oidc, &json!({"client_credentials": wrong})))?;
    let text = refused(&connection.command(&["check"], &[])?.output()?)?;
    ensure!(
        text == "error[auth]: the API gives no token (invalid_client: client authentication failed)\n\
                 next: check client_id, the secret or key, and client_auth\n",
        "{text}"
    );
    Ok(())
}

#[test]
fn a_token_that_ends_early_is_renewed_once() -> anyhow::Result<()> {
    let (oidc, _) = start(3600)?;
    let connection = Connection::new("rest", &config(&oidc, &app(&oidc)))?;
    let text = refused(&connection.command(&["check"], &[])?.output()?)?;
    ensure!(
        text == format!(
            "error[auth]: nobody has signed in for this connection yet\nnext: sign in with `{}`\n",
            connection.login()
        ),
        "{text}"
    );
    sign_in(&connection, &[], "/auth?")?;
    connection.complete(&[])?;
    ensure!(oidc.asked()? == 1, "the token of the sign-in is used");
    oidc.admin("end")?;
    // All four streams meet a 401, and one of them renews for all.
    connection.complete(&["--full"])?;
    ensure!(oidc.asked()? == 2, "{}", oidc.asked()?);
    let run = connection.complete(&["--full"])?;
    ensure!(oidc.asked()? == 2, "what was renewed is kept: {run:#?}");
    for token in known(&oidc)? {
        ensure!(connection.files_with(&token)?.is_empty() && !run.log.contains(&token), "a token is in a file");
    }
    Ok(())
}

#[test]
fn tokens_are_renewed_before_they_end() -> anyhow::Result<()> {
    // The host renews a tenth of a token's life before its end: 20 seconds, so that it is of no account how long a call takes.
    let (oidc, _) = start(200)?;
    let clock = Clock::new()?;
    let connection = Connection::new("rest", &config(&oidc, &app(&oidc)))?;
    sign_in(&connection, &[], "/auth?")?;
    for ahead in (0..450).step_by(10) {
        clock.ahead(ahead)?;
        oidc.admin(&format!("ahead/{ahead}"))?;
        let mut command = connection.command(&["check"], &[])?;
        clock.give(&mut command);
        let ended = command.output()?;
        ensure!(ended.status.success(), "{ahead} s: {ended:?}");
    }
    ensure!(oidc.admin("refused")? == "0", "{} requests were refused", oidc.admin("refused")?);
    // By the sign-in, after 180 seconds, and after 360.
    ensure!(oidc.asked()? == 3, "{} tokens were asked for", oidc.asked()?);
    Ok(())
}

#[test]
fn how_long_before_its_end_a_token_is_renewed_can_be_set() -> anyhow::Result<()> {
    let (oidc, _) = start(3600)?;
    for (margin, renewed) in [(None, 0), (Some("60"), 0), (Some("3000"), 0), (Some("3700"), 3)] {
        let mut auth = app(&oidc);
        if let Some(margin) = margin {
            auth["authorization_code"]["refresh_margin"] = margin.into();
        }
        let connection = Connection::new("rest", &config(&oidc, &auth))?;
        sign_in(&connection, &[], "/auth?")?;
        let before = oidc.asked()?;
        for _ in 0..3 {
            ensure!(connection.command(&["check"], &[])?.output()?.status.success());
        }
        // A token of an hour ends within 3,700 seconds from its first one on.
        ensure!(oidc.asked()? - before == renewed, "{margin:?}: {}", oidc.asked()? - before);
    }
    let mut auth = app(&oidc);
    auth["authorization_code"]["refresh_margin"] = "soon".into();
    let connection = Connection::new("rest", &config(&oidc, &auth))?;
    let ended = connection.command(&["check"], &[])?.output()?;
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(
        ended.status.code() == Some(2)
            && text == "error[auth]: refresh_margin is a number of seconds: soon\nnext: write 60, for a minute\n",
        "{text}"
    );
    Ok(())
}

#[test]
fn two_processes_that_renew_at_once_use_one_refresh_token_once() -> anyhow::Result<()> {
    let (oidc, _) = start(3600)?;
    let connection = Connection::new("rest", &config(&oidc, &app(&oidc)))?;
    sign_in(&connection, &[], "/auth?")?;
    ensure!(connection.command(&["check"], &[])?.output()?.status.success());
    for round in 1..=3 {
        oidc.admin("end")?;
        let mut children = Vec::new();
        for _ in 0..4 {
            let mut command = connection.command(&["check"], &[])?;
            children.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        }
        for child in children {
            let ended = child.wait_with_output()?;
            // Had two used the same refresh token, the provider would have revoked all of them.
            ensure!(ended.status.success(), "round {round}: {ended:?}");
        }
        ensure!(oidc.asked()? == 1 + round, "round {round}: {}", oidc.asked()?);
    }
    Ok(())
}

#[test]
fn a_run_that_is_killed_after_it_renewed_has_lost_nothing() -> anyhow::Result<()> {
    let (oidc, _) = start(3600)?;
    let connection = Connection::new("rest", &config(&oidc, &app(&oidc)))?;
    sign_in(&connection, &[], "/auth?")?;
    ensure!(connection.command(&["check"], &[])?.output()?.status.success());
    oidc.admin("end")?;
    // The new token is in use, and its answer has not come yet.
    oidc.admin("hold-items")?;
    let child = connection.command(&["check"], &[])?.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
    held(&oidc)?;
    kill(child)?;
    ensure!(oidc.asked()? == 2);
    ensure!(connection.command(&["check"], &[])?.output()?.status.success());
    ensure!(oidc.asked()? == 2, "the token that was stored is used");
    oidc.admin("end")?;
    ensure!(connection.command(&["check"], &[])?.output()?.status.success(), "and so is its refresh token");

    // An answer that never arrived is one that nobody could store: the provider revokes the family, and the host says so.
    oidc.admin("end")?;
    oidc.admin("hold-token")?;
    let child = connection.command(&["check"], &[])?.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
    held(&oidc)?;
    kill(child)?;
    let text = refused(&connection.command(&["check"], &[])?.output()?)?;
    let lost = "the API does not renew the sign-in any more (invalid_grant: grant request is invalid): it has ended, was \
                revoked, or a run was killed while it was renewed";
    let next = format!("sign in with `{}`", connection.login());
    ensure!(text == format!("error[auth]: {lost}\nnext: {next}\n"), "{text}");
    // A run says the same, and why each of its streams got nothing.
    let run = connection.run(&[])?;
    ensure!(run.code == Some(1) && run.reasons().len() == 4, "{run:#?}");
    ensure!(run.reasons().iter().all(|reason| reason.contains(lost) && reason.contains(&next)), "{run:#?}");
    // What it says is what helps.
    sign_in(&connection, &[], "/auth?")?;
    connection.complete(&[])?;
    Ok(())
}

#[test]
fn a_device_is_signed_in_elsewhere() -> anyhow::Result<()> {
    let (oidc, _) = start(3600)?;
    let auth = json!({"device_code": {"device_url": oidc.url("/device/auth"), "token_url": oidc.url("/token"), "client_id": "tv",
                                      "scope": "openid offline_access"}});
    let connection = Connection::new("rest", &config(&oidc, &auth))?;
    sign_in(&connection, &[], "user_code=")?;
    connection.complete(&[])?;
    oidc.admin("end")?;
    connection.complete(&["--full"])?;
    Ok(())
}
