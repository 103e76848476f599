//! Values that are stored by hand: asked for without an echo, sealed with a key of the keyring or of a file.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::json;
use tests::{
    connection::Connection,
    mock::{Api, Endpoint, Total, offset::Offset},
    program::{self, Ended},
    servers::keyring::{Keyring, stands_in},
};

const SECRET: &str = "s3cret-typed-0123456789";

fn api() -> anyhow::Result<Api> {
    let items = Endpoint::new("/items", Offset::default()).records(3).total(Total::Body);
    Ok(Api::builder().endpoint(items).token(SECRET).start()?)
}

fn connection(api: &Api) -> anyhow::Result<Connection> {
    let config = json!({"base_url": api.url(""), "auth": {"bearer": "${secret:token}"}, "streams": [{
        "name": "items", "path": "items", "records": "/items", "total": "/total", "primary_key": ["id"],
        "pagination": {"offset": {"offset_param": "offset", "limit_param": "limit", "limit": 100}},
    }]});
    Connection::new("rest", &config)
}

/// `script` makes a terminal. What is typed comes only after the question, as a person types it.
#[test]
fn a_value_is_asked_for_on_a_terminal_without_an_echo() -> anyhow::Result<()> {
    let api = api()?;
    let connection = connection(&api)?;
    let out = connection.out().display().to_string();
    let host = program::host(&["auth", "set", "rest", "token", "--out", &out])?;
    let words = std::iter::once(host.get_program()).chain(host.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut command = Command::new("script");
    command
        .args(["-qec", &format!("tty; {}", line.join(" ")), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (name, value) in host.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child = command.spawn().context("script, of util-linux, makes the terminal")?;
    let mut stdout = child.stdout.take().context("no output")?;
    let (mut said, mut chunk) = (String::new(), [0; 256]);
    while !said.contains("token of rest: ") {
        let bytes = stdout.read(&mut chunk)?;
        ensure!(bytes > 0, "it did not ask: {said}");
        said.push_str(&String::from_utf8_lossy(chunk.get(..bytes).unwrap_or_default()));
    }
    // The question stands there a moment before the terminal is told to be still.
    let terminal = said.lines().next().context("no terminal")?.trim().to_owned();
    let begun = Instant::now();
    while !String::from_utf8_lossy(&Command::new("stty").args(["-a", "-F", &terminal]).output()?.stdout)
        .contains(" -echo ")
    {
        ensure!(begun.elapsed() < Duration::from_secs(30), "{terminal} shows what is typed");
    }
    let mut stdin = child.stdin.take().context("no input")?;
    stdin.write_all(format!("{SECRET}\n").as_bytes())?;
    stdin.flush()?;
    stdout.read_to_string(&mut said)?;
    drop(stdin);
    ensure!(child.wait()?.success(), "{said}");
    ensure!(!said.contains(SECRET), "what was typed is to be seen: {said}");
    let shown = said.replace('\r', "").replacen(&format!("{terminal}\n"), "", 1);
    let stored = "stored token for rest; ${secret:token} stands for it in its configuration\n";
    ensure!(shown.starts_with("token of rest: ") && shown.ends_with(stored), "{shown:?}");
    connection.complete(&[])?;
    ensure!(connection.files_with(SECRET)?.is_empty());
    Ok(())
}

/// A `secret-tool` as libsecret's, which keeps what it is given in a file.
fn fake_keyring(folder: &Path) -> anyhow::Result<()> {
    let program = folder.join("secret-tool");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\nlookup) cat '{0}/kept' 2>/dev/null ;;\nstore) cat > '{0}/kept' ;;\n*) exit 1 ;;\nesac\n",
        folder.display()
    );
    fs::write(&program, script)?;
    Ok(fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?)
}

/// Stores the value as a user of a desktop does, whose programs are in `folder`.
fn set(connection: &Connection, folder: &Path, desktop: bool) -> anyhow::Result<Ended> {
    set_with(connection, |command| on(command, folder, desktop))
}

fn set_with(connection: &Connection, at: impl Fn(&mut Command)) -> anyhow::Result<Ended> {
    let out = connection.out().display().to_string();
    let mut command = program::host(&["auth", "set", "rest", "token", "--out", &out])?;
    at(&mut command);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(SECRET.as_bytes())?;
    Ok(child.wait_with_output()?.into())
}

fn on(command: &mut Command, folder: &Path, desktop: bool) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display())).env("XDG_CONFIG_HOME", folder.join("config"));
    if desktop {
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
    }
}

#[test]
fn the_key_is_kept_in_the_keyring_of_a_desktop() -> anyhow::Result<()> {
    let (api, folder) = (api()?, tempfile::tempdir()?);
    let connection = connection(&api)?;
    fake_keyring(folder.path())?;
    let ended = set(&connection, folder.path(), true)?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let kept = fs::read_to_string(folder.path().join("kept"))?;
    ensure!(kept.trim().len() == 64 && !kept.contains(SECRET), "{kept}");
    ensure!(!folder.path().join("config/host/key").exists(), "there is a key file as well");
    ensure!(connection.files_with(kept.trim())?.is_empty() && connection.files_with(SECRET)?.is_empty());
    let check = |desktop| -> anyhow::Result<Ended> {
        let mut command = connection.command(&["check"], &[])?;
        on(&mut command, folder.path(), desktop);
        Ok(command.output()?.into())
    };
    let ended = check(true)?;
    ensure!(ended.code == Some(0), "{ended:?}");
    // Another key opens nothing, and the user is told so.
    fs::write(folder.path().join("kept"), "00".repeat(32))?;
    let ended = check(true)?;
    let sealed = connection.out().join("_auth/rest").display().to_string();
    let text = format!(
        "error[auth]: {sealed} is damaged, or was sealed with another key\nnext: give it the key that it had, or remove \
         {sealed} and store its values again\n"
    );
    ensure!(ended.code == Some(2) && ended.stderr == text, "{ended:?}");
    fs::write(folder.path().join("kept"), "no key")?;
    let ended = check(true)?;
    let text = "error[auth]: there is no key for stored credentials: what the keyring keeps is no key\nnext: mend the key \
                file, or its permissions\n";
    ensure!(ended.code == Some(2) && ended.stderr == text, "{ended:?}");
    Ok(())
}

#[test]
fn without_a_keyring_the_key_is_in_a_file_of_its_owner() -> anyhow::Result<()> {
    let (api, folder) = (api()?, tempfile::tempdir()?);
    let connection = connection(&api)?;
    fake_keyring(folder.path())?;
    let ended = set(&connection, folder.path(), false)?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let key = folder.path().join("config/host/key");
    ensure!(fs::metadata(&key)?.permissions().mode() & 0o777 == 0o600, "{:?}", fs::metadata(&key)?.permissions());
    let mut command = connection.command(&["check"], &[])?;
    on(&mut command, folder.path(), false);
    ensure!(command.output()?.status.success());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let mut command = connection.command(&["check"], &[])?;
    on(&mut command, folder.path(), false);
    let ended: Ended = command.output()?.into();
    let text = format!(
        "error[auth]: there is no key for stored credentials: {0} can be read by others; run `chmod 600 {0}`\nnext: mend the \
         key file, or its permissions\n",
        key.display()
    );
    ensure!(ended.code == Some(2) && ended.stderr == text, "{ended:?}");
    Ok(())
}

/// GNOME's own keyring, over D-Bus, by way of libsecret: what desktops have.
#[test]
fn a_real_keyring_keeps_the_key_and_whoever_cannot_reach_it_makes_none_in_its_place() -> anyhow::Result<()> {
    if !Keyring::is_installed() {
        #[expect(clippy::print_stderr, reason = "a test that was not made must not look like one that passed")]
        {
            eprintln!("skipped, since there is no gnome-keyring with D-Bus and secret-tool on this machine");
        }
        return Ok(());
    }
    let (api, mut keyring) = (api()?, Keyring::start()?);
    let connection = connection(&api)?;
    let ended = set_with(&connection, |command| keyring.at_desktop(command))?;
    ensure!(ended.code == Some(0) && ended.stderr.is_empty(), "{ended:?}");
    let kept = keyring.lookup(&["application", "connector-host", "use", "seal"])?;
    ensure!(kept.len() == 64 && kept.bytes().all(|byte| byte.is_ascii_hexdigit()), "{kept:?}");
    let key_file = keyring.home().join("config/host/key");
    ensure!(!key_file.exists(), "there is a key file as well");
    ensure!(connection.files_with(&kept)?.is_empty() && connection.files_with(SECRET)?.is_empty());
    ensure!(!stands_in(&keyring.files(), &kept)? && !stands_in(&keyring.files(), SECRET)?);

    let check = |keyring: &Keyring, desktop: bool| -> anyhow::Result<Ended> {
        let mut command = connection.command(&["check"], &[])?;
        keyring.at_desktop(&mut command);
        if !desktop {
            command.env_remove("DBUS_SESSION_BUS_ADDRESS");
        }
        Ok(command.output()?.into())
    };
    let opened = |ended: &Ended| ended.code == Some(0) && ended.stderr.is_empty();
    let ended = check(&keyring, true)?;
    ensure!(opened(&ended), "{ended:?}");

    // Locked, ended, or asked for from where there is no desktop: it is said, and no other key is made.
    let sealed = connection.out().join("_auth/rest").display().to_string();
    let text = format!(
        "error[auth]: {sealed} cannot be opened: there is no key file, and the keyring has no key for it, is locked, or is \
         out of reach\nnext: run it where the keyring that keeps its key is unlocked, or remove {sealed} and store its \
         values again\n"
    );
    let refused = |ended: &Ended| ended.code == Some(2) && ended.stderr == text && !key_file.exists();
    let ended = check(&keyring, false)?;
    ensure!(refused(&ended), "without a desktop: {ended:?}");
    keyring.open(None)?;
    let ended = check(&keyring, true)?;
    ensure!(refused(&ended), "locked: {ended:?}");
    let ended = set_with(&connection, |command| keyring.at_desktop(command))?;
    ensure!(refused(&ended), "set while it is locked: {ended:?}");
    keyring.close()?;
    let ended = check(&keyring, true)?;
    ensure!(refused(&ended), "ended: {ended:?}");

    // After the next login it is as before.
    keyring.open(Some("password"))?;
    let ended = check(&keyring, true)?;
    ensure!(opened(&ended), "{ended:?}");
    // And also where a key file came meanwhile, for another connection.
    let other = self::connection(&api)?;
    let ended = set_with(&other, |command| {
        keyring.at_desktop(command);
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
    })?;
    ensure!(ended.code == Some(0) && key_file.exists(), "{ended:?}");
    let ended = check(&keyring, true)?;
    ensure!(opened(&ended), "beside a key file: {ended:?}");
    let ended = check(&keyring, false)?;
    ensure!(ended.code == Some(2) && ended.stderr.contains("was sealed with another key"), "{ended:?}");
    Ok(())
}
