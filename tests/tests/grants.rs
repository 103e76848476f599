//! Grants: a connector that was never granted anything does not run, one that was runs without asking, and a new version
//! that asks for more stops with the difference.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use tests::{
    mock::{Api, Endpoint, Total, offset::Offset},
    program::{self, Ended},
    transcript::{Scene, compare, play, transcript},
};

/// A folder with a configuration, and a server for it.
struct Stage {
    scene: Scene,
    api: Api,
    component: String,
}

impl Stage {
    fn new() -> anyhow::Result<Self> {
        Self::of("reads_by_cursor")
    }

    fn of(guest: &str) -> anyhow::Result<Self> {
        let api = Api::builder()
            .endpoint(Endpoint::new("/items", Offset::default()).records(3).total(Total::Body))
            .start()?;
        let mut scene = Scene::new()?;
        let url = api.url("");
        scene.file("items.yaml", format!("url: {}\ntoken: s3cr3t-0123456789\n", url.trim_end_matches('/')))?;
        let built = program::built()?;
        let target = built.parent().context("no target folder")?;
        let component = target.join(format!("wasm32-wasip2/release/examples/{guest}.wasm"));
        ensure!(component.exists(), "{} is missing: run `make guests` first", component.display());
        let folder = component.parent().map(Path::to_owned).unwrap_or_default();
        scene.call(format!("{}/", folder.display()), "");
        scene.call(digest(&component)?, "DIGEST");
        Ok(Self { scene, api, component: component.display().to_string() })
    }

    fn run(&self, more: &[&str]) -> anyhow::Result<Ended> {
        let (config, out) = (self.path("items.yaml"), self.path("out"));
        let mut arguments = vec!["run", &self.component, "--config", &config, "--out", &out, "-q"];
        arguments.extend(more);
        play(&program::host(&arguments)?)
    }

    fn path(&self, name: &str) -> String {
        self.scene.path(name).display().to_string()
    }

    fn lock(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.scene.path("connectors.lock"))?)
    }

    fn change(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let lock = self.lock()?;
        ensure!(lock.contains(from), "no {from} in {lock}");
        Ok(fs::write(self.scene.path("connectors.lock"), lock.replace(from, to))?)
    }

    fn compare(&self, name: &str, typed: &str, ended: &Ended) -> anyhow::Result<()> {
        compare(&format!("grants/{name}"), &transcript(&self.scene, typed, ended))
    }
}

fn digest(component: &Path) -> anyhow::Result<String> {
    let ended = program::call(&["inspect", &component.display().to_string(), "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&ended.stdout)?;
    Ok(told["digest"].as_str().context("no digest")?.to_owned())
}

#[test]
fn what_was_not_granted_does_not_run_and_what_was_runs_without_asking() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let ended = stage.run(&[])?;
    stage.compare("first_run", "run items.wasm", &ended)?;
    ensure!(ended.code == Some(2) && stage.api.requests().is_empty(), "{ended:?}");
    ensure!(!stage.scene.path("connectors.lock").exists(), "something was granted");

    let ended = stage.run(&["--grant"])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    compare("grants/lock", &stage.scene.plain(&stage.lock()?))?;
    let ended = stage.run(&["--full"])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    Ok(())
}

#[test]
fn a_new_version_that_asks_for_more_stops_with_the_difference() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    stage.run(&["--grant"])?;
    // What was granted was another component, of another version, and less.
    let before = digest(Path::new(&stage.component))?;
    let narrowed = |stage: &Stage| -> anyhow::Result<()> {
        stage.change(&before, "00ff")?;
        stage.change("\"token\"", "")?;
        stage.change("\"{url=https://api.example.com}\"", "\"cdn.example.com\"")?;
        stage.change("limits = []", "limits = [\"10/s\"]")
    };
    narrowed(&stage)?;
    let lock = stage.lock()?;
    let requests = stage.api.requests().len();
    let ended = stage.run(&["--full"])?;
    stage.compare("more", "run items.wasm --full", &ended)?;
    ensure!(ended.code == Some(2) && stage.api.requests().len() == requests, "{ended:?}");
    ensure!(stage.lock()? == lock, "the grant changed");
    let ended = stage.run(&["--full", "--grant"])?;
    ensure!(ended.code == Some(0), "{ended:?}");

    // Another component that asks for no more than was granted runs, and is what is granted from then on.
    stage.change(&before, "00ff")?;
    let ended = stage.run(&["--full"])?;
    stage.compare("no_more", "run items.wasm --full", &ended)?;
    ensure!(ended.code == Some(0) && stage.lock()?.contains(&before), "{ended:?}");
    Ok(())
}

#[test]
fn what_the_user_takes_out_of_a_grant_is_refused() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    stage.run(&["--grant"])?;
    let whole = stage.lock()?;
    stage.change("\"{url=https://api.example.com}\"", "")?;
    let requests = stage.api.requests().len();
    let ended = stage.run(&["--full"])?;
    ensure!(ended.code == Some(1) && ended.stderr.contains("(rule host)"), "{ended:?}");
    ensure!(stage.api.requests().len() == requests, "a request went out");
    fs::write(stage.scene.path("connectors.lock"), whole)?;
    stage.change("\"token\"", "")?;
    let ended = stage.run(&["--full"])?;
    stage.compare("secret_taken_out", "run items.wasm --full", &ended)?;
    ensure!(ended.code == Some(2), "{ended:?}");
    Ok(())
}

#[test]
fn an_address_for_tokens_is_granted_like_a_host() -> anyhow::Result<()> {
    let stage = Stage::of("asks_for_tokens")?;
    let url = stage.api.url("");
    let auth = "auth: { app: { client_id: c, client_secret: s3cr3t-0123456789 } }";
    stage.scene.file("items.yaml", format!("url: {}\n{auth}\n", url.trim_end_matches('/')))?;
    let ended = stage.run(&[])?;
    stage.compare("tokens_first_run", "run asks_for_tokens.wasm", &ended)?;
    ensure!(ended.code == Some(2), "{ended:?}");
    let ended = stage.run(&["--grant"])?;
    ensure!(ended.code == Some(0), "{ended:?}");
    compare("grants/tokens_lock", &stage.scene.plain(&stage.lock()?))?;
    let whole = stage.lock()?;
    stage.change("\"https://login.example.com/token\"", "")?;
    let ended = stage.run(&["--full"])?;
    stage.compare("tokens_taken_out", "run asks_for_tokens.wasm --full", &ended)?;
    ensure!(ended.code == Some(2), "{ended:?}");
    // A new version that has them asked for elsewhere asks for more.
    fs::write(stage.scene.path("connectors.lock"), whole)?;
    stage.change("login.example.com/token", "other.example.com/token")?;
    stage.change(&digest(Path::new(&stage.component))?, "00ff")?;
    let ended = stage.run(&["--full"])?;
    stage.compare("tokens_elsewhere", "run asks_for_tokens.wasm --full", &ended)?;
    ensure!(ended.code == Some(2), "{ended:?}");
    Ok(())
}

#[test]
fn two_connectors_that_are_granted_at_once_are_both_granted() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let rest = program::built()?.join("connectors/rest.wasm");
    ensure!(rest.exists(), "{} is missing: run `make connectors` first", rest.display());
    let url = stage.api.url("");
    let text =
        format!("base_url: {url}\nstreams: [{{ name: items, path: items, records: /items, primary_key: [id] }}]\n");
    let other = stage.scene.file("rest.yaml", text)?;
    let (own, rest, lock) = (stage.path("items.yaml"), rest.display().to_string(), stage.path("connectors.lock"));
    for round in 0..5 {
        let mut children = Vec::new();
        for (name, component, config) in [("own", &stage.component, &own), ("rest", &rest, &other)] {
            let out = stage.path(&format!("{name}-{round}"));
            children
                .push(program::host(&["run", component, "--config", config, "--out", &out, "--grant", "-q"])?.spawn()?);
        }
        for mut child in children {
            ensure!(child.wait()?.success(), "round {round}");
        }
        let granted = stage.lock()?;
        ensure!(granted.matches("[[connector]]").count() == 2, "round {round}: {granted}");
        fs::remove_file(&lock)?;
    }
    Ok(())
}

#[test]
fn a_file_of_grants_that_is_none_is_refused() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    for (name, text) in [
        ("lock_malformed", "form = 1\n\n[[connector]]\nname = \"items\"\nhost = [\"a.example\"]\n"),
        ("lock_newer", "form = 7\n"),
    ] {
        stage.scene.file("connectors.lock", text)?;
        let ended = stage.run(&["--grant"])?;
        stage.compare(name, "run items.wasm --grant", &ended)?;
        ensure!(ended.code == Some(2), "{ended:?}");
        ensure!(stage.lock()? == text, "the file was written over");
    }
    fs::remove_file(stage.scene.path("connectors.lock"))?;
    let lock = stage.path("nowhere/connectors.lock");
    let ended = stage.run(&["--grant", "--lock", &lock])?;
    stage.compare("lock_unwritable", "run items.wasm --grant --lock TMP/nowhere/connectors.lock", &ended)?;
    ensure!(ended.code == Some(2), "{ended:?}");
    Ok(())
}

/// `script` makes a terminal, into which the answer is typed.
#[test]
fn on_a_terminal_the_user_is_asked() -> anyhow::Result<()> {
    use std::io::Write;
    use std::process::{Command, Stdio};

    for (answer, code, granted) in [("n\n", 2, false), ("y\n", 0, true)] {
        let stage = Stage::new()?;
        let (config, out) = (stage.path("items.yaml"), stage.path("out"));
        let host = program::host(&["run", &stage.component, "--config", &config, "--out", &out, "-q"])?;
        let words = std::iter::once(host.get_program()).chain(host.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let mut command = Command::new("script");
        command.args(["-qec", &line.join(" "), "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in host.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut child = command.spawn().context("script, of util-linux, makes the terminal")?;
        child.stdin.take().context("no input")?.write_all(answer.as_bytes())?;
        let ended = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        ensure!(said.contains("Grant it, and keep that in"), "{said}");
        ensure!(ended.status.code() == Some(code), "{said}");
        ensure!(stage.scene.path("connectors.lock").exists() == granted, "{said}");
        ensure!(stage.api.requests().is_empty() != granted, "{said}");
    }
    Ok(())
}
