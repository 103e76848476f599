//! Every error that a user can meet, with its whole text: what failed, and the next step. See `transcripts/errors/`.
//!
//! What is no connector at all, and what a connector does wrong, is in `hostile.rs`.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use anyhow::{Context, ensure};
use tests::{
    mock::{Action, Api, Endpoint, RetryAfter, Rule, Shape, Total, offset::Offset},
    program::{self, Ended},
    servers::ClosedPort,
    transcript::{Scene, compare, play, transcript, updating, written},
};

/// Makes a test of each case, and a list of their names.
macro_rules! cases {
    ($($name:ident($stage:ident) $body:block)*) => {
        const CASES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() -> anyhow::Result<()> {
                perform(stringify!($name), |$stage| $body)
            }
        )*
    };
}

fn perform(name: &'static str, case: impl FnOnce(&mut Stage) -> anyhow::Result<()>) -> anyhow::Result<()> {
    case(&mut Stage { name, scene: Scene::new()?, text: String::new() })
}

/// One case: its folder, and the calls made in it so far.
struct Stage {
    name: &'static str,
    scene: Scene,
    text: String,
}

impl Stage {
    fn out(&self) -> String {
        self.scene.path("out").display().to_string()
    }

    /// Writes a configuration of `rest` with one stream, `items`.
    fn config(&self, base_url: &str) -> anyhow::Result<String> {
        self.scene.file("api.yaml", configuration(base_url))
    }

    /// Makes a call that is not shown, to prepare the one that is.
    fn before(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let ended = play(&program::host(arguments)?)?;
        ensure!(ended.code == Some(0), "{ended:?}");
        Ok(())
    }

    /// Makes a call and takes it into the transcript.
    fn call(&mut self, arguments: &[&str]) -> anyhow::Result<Ended> {
        self.call_as(arguments, program::host(arguments)?)
    }

    /// The same, with a command that wraps the call.
    fn call_as(&mut self, arguments: &[&str], command: Command) -> anyhow::Result<Ended> {
        let ended = play(&command)?;
        self.text.push_str(&transcript(&self.scene, &arguments.join(" "), &ended));
        Ok(ended)
    }

    /// Compares the transcript.
    fn expect(&self, ended: &Ended, code: i32) -> anyhow::Result<()> {
        compare(&format!("errors/{}", self.name), &self.text)?;
        ensure!(ended.code == Some(code), "exit code {:?}, not {code}\n{}", ended.code, self.text);
        ensure!(!self.text.contains(SECRET), "the secret is to be seen\n{}", self.text);
        Ok(())
    }

    /// Makes one call that cannot start, and compares.
    fn refused(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let ended = self.call(arguments)?;
        self.expect(&ended, 2)
    }

    /// Runs a configuration that says this of personal data, which cannot start.
    fn personal(&mut self, data: &str, more: &str, flags: &[&str]) -> anyhow::Result<()> {
        let text = format!("{}{more}personal_data: {data}\n", configuration("https://api.example.com"));
        let (config, out) = (self.scene.file("api.yaml", text)?, self.out());
        let mut arguments = vec!["run", "rest", "--config", &config, "--out", &out];
        arguments.extend(flags);
        self.refused(&arguments)
    }

    /// Reads `items` of a server, and compares what is said of its failure.
    fn fails(&mut self, base_url: &str, flags: &[&str]) -> anyhow::Result<()> {
        let (config, out) = (self.config(base_url)?, self.out());
        let mut arguments = vec!["run", "rest", "--config", &config, "--out", &out, "--retry-base", "1ms"];
        arguments.extend(flags);
        let ended = self.call(&arguments)?;
        self.expect(&ended, 1)
    }
}

const SECRET: &str = "s3cr3t-0123456789";

/// What makes the stream of [`configuration`] an incremental one.
const INCREMENTAL: &str = "\x20   incremental: { cursor_field: updated_at, param: since }\n";

fn configuration(base_url: &str) -> String {
    format!(
        "base_url: {base_url}\n\
         streams:\n\
         \x20 - name: items\n\
         \x20   path: items\n\
         \x20   records: /items\n\
         \x20   primary_key: [id]\n\
         \x20   pagination: {{ offset: {{ offset_param: offset, limit_param: limit, limit: 100 }} }}\n"
    )
}

fn api(rules: Vec<Rule>) -> anyhow::Result<Api> {
    let items = Endpoint::new("/items", Offset::default()).records(3).total(Total::Body);
    Ok(rules.into_iter().fold(Api::builder().endpoint(items), |api, rule| api.fault(rule)).start()?)
}

fn answers(status: u16) -> anyhow::Result<Api> {
    api(vec![Rule::always(Action::Status(status, RetryAfter::None))])
}

fn base(api: &Api) -> String {
    api.url("").trim_end_matches('/').to_owned()
}

/// Wraps a call of `host` in a line of shell, where `"$@"` is the call.
fn shell(line: &str, arguments: &[&str]) -> anyhow::Result<Command> {
    let host = program::host(arguments)?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).arg("sh").arg(host.get_program()).args(host.get_args());
    for (name, value) in host.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    Ok(command)
}

/// Wraps a call of `host` so that it sees a mount that nobody else sees; none, and a word of it, where this user may not
/// mount even so.
fn mounted(mount: &str, arguments: &[&str]) -> anyhow::Result<Option<Command>> {
    let unshared =
        |line: &str| format!("exec unshare --mount --map-root-user sh -c '{}' sh \"$@\"", line.replace('\'', "'\\''"));
    let tried = shell(&unshared(mount), &[])?.output()?;
    if !tried.status.success() {
        #[expect(clippy::print_stderr, reason = "a test that was not made must not look like one that passed")]
        {
            eprintln!("skipped, since this user may not mount: {}", String::from_utf8_lossy(&tried.stderr));
        }
        return Ok(None);
    }
    Ok(Some(shell(&unshared(&format!("{mount} && exec \"$@\"")), arguments)?))
}

cases! {
    // The connector.
    connector_missing(stage) {
        stage.refused(&["run", "./nowhere.wasm"])
    }
    connector_unknown(stage) {
        stage.refused(&["run", "githbu"])
    }
    connector_unknown_and_unlike(stage) {
        stage.refused(&["run", "zebra"])
    }
    connector_no_wasm(stage) {
        let file = stage.scene.file("text.wasm", "hello")?;
        stage.refused(&["inspect", &file])
    }
    connector_empty(stage) {
        let file = stage.scene.file("empty.wasm", "")?;
        stage.refused(&["inspect", &file])
    }
    connector_folder(stage) {
        let folder = stage.scene.path("").display().to_string();
        stage.refused(&["inspect", &folder])
    }
    connector_cut_off(stage) {
        let whole = wat::parse_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/wat/table_grown.wat"))?;
        let file = stage.scene.file("cut.wasm", whole.get(..whole.len() / 2).unwrap_or_default())?;
        stage.refused(&["inspect", &file])
    }

    // The command line.
    flag_unknown(stage) {
        stage.refused(&["run", "rest", "--max-memroy", "1GiB"])
    }
    flag_without_unit(stage) {
        stage.refused(&["run", "rest", "--max-cpu", "10 parsecs"])
    }
    flag_bytes(stage) {
        stage.refused(&["run", "rest", "--max-memory", "much"])
    }
    flag_rate(stage) {
        stage.refused(&["run", "rest", "--rate", "fast"])
    }
    flag_allow_host(stage) {
        stage.refused(&["run", "rest", "--allow-host", "https://"])
    }
    flag_ca_file_missing(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--ca-file", "/nowhere/ca.pem"])
    }
    flag_ca_file_damaged(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        let file = stage.scene.file("ca.pem", "no certificate")?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--ca-file", &file])
    }
    flag_budget_header(stage) {
        stage.refused(&["run", "rest", "--budget-header", "left=X-Left"])
    }
    flags_of_nothing(stage) {
        let mut ended = None;
        for flag in ["--attempts", "--concurrency", "--max-in-flight", "--limit", "--part-rows", "--part-bytes"] {
            ended = Some(stage.call(&["run", "rest", flag, "0"])?);
        }
        stage.expect(&ended.context("no call")?, 2)
    }
    flag_budgets_unusable(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        let file = stage.scene.file("budgets.db", "not a database, and long enough to be looked at as one")?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--budgets", &file])
    }
    flag_stack_of_nothing(stage) {
        stage.refused(&["inspect", "rest", "--max-stack", "0"])
    }
    connection_name(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--connection", "../x"])
    }

    // The configuration.
    config_missing(stage) {
        stage.refused(&["check", "rest", "--config", "/nowhere/api.yaml"])
    }
    config_none(stage) {
        stage.refused(&["check", "rest"])
    }
    config_form(stage) {
        let file = stage.scene.file("api.ini", "[api]")?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_yaml(stage) {
        let file = stage.scene.file("api.yaml", "base_url: https://api.example.com\nstreams: [\n  - name: x\n")?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_toml(stage) {
        let file = stage.scene.file("api.toml", "base_url = \"https://api.example.com\nstreams = 1\n")?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_json(stage) {
        let file = stage.scene.file("api.json", "{\"base_url\": \"https://api.example.com\",\n \"streams\": ,}")?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_list(stage) {
        let file = stage.scene.file("api.yaml", "- one\n- two\n")?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_type(stage) {
        let file = stage.scene.file("api.yaml", "base_url: 7\nstreams: all\n")?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_pattern(stage) {
        let file = stage.config("api.example.com")?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_key_unknown(stage) {
        let text = configuration("https://api.example.com").replace("primary_key", "primary_kye");
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_key_twice(stage) {
        let text = format!("{}base_url: https://other.example.com\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_secret_of_wrong_type(stage) {
        let text = format!("{}auth: {{ bearer: {{ token: {{ value: {SECRET} }} }} }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_secret_in_damaged_yaml(stage) {
        let file = stage.scene.file("api.yaml", format!("auth: {{ bearer: {SECRET}, bearer: {SECRET} }}\n"))?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_secret_in_damaged_toml(stage) {
        let file = stage.scene.file("api.toml", format!("auth.bearer = \"{SECRET}\nstreams = 1\n"))?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_secret_in_damaged_json(stage) {
        let file = stage.scene.file("api.json", format!("{{\"auth\": {{\"bearer\": \"{SECRET}\", }}}}"))?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_env_missing(stage) {
        let text = format!("{}auth: {{ bearer: \"${{env:NO_SUCH_TOKEN}}\" }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_file_missing(stage) {
        let text = format!("{}auth: {{ bearer: \"${{file:/nowhere/token}}\" }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_reference_unknown(stage) {
        let text = format!("{}auth: {{ bearer: \"${{vault:token}}\" }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_secret_not_stored(stage) {
        let text = format!("{}auth: {{ bearer: \"${{secret:token}}\" }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        let out = stage.out();
        stage.refused(&["check", "rest", "--config", &file, "--out", &out])
    }

    // Drift.
    config_on_drift(stage) {
        let text = format!("{}on_drift: {{ items: warm }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    config_on_drift_of_unknown_stream(stage) {
        let text = format!("{}on_drift: {{ itmes: warn }}\n", configuration("https://api.example.com"));
        let (file, out) = (stage.scene.file("api.yaml", text)?, stage.out());
        stage.refused(&["run", "rest", "--config", &file, "--out", &out])
    }
    flag_on_drift(stage) {
        stage.refused(&["run", "rest", "--on-drift", "items=stop"])
    }
    schema_of_no_folder(stage) {
        let out = stage.out();
        stage.refused(&["schema", "items", "--out", &out])
    }

    // Credentials.
    auth_scheme_unknown(stage) {
        let text = format!("{}auth: {{ baerer: {SECRET} }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    auth_two_schemes(stage) {
        let text = format!(
            "{}auth: {{ bearer: {SECRET}, basic: {{ username: u, password: {SECRET} }} }}\n",
            configuration("https://api.example.com")
        );
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    auth_value_missing(stage) {
        let text = format!("{}auth: {{ basic: {{ password: {SECRET} }} }}\n", configuration("https://api.example.com"));
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    auth_key_of_wrong_kind(stage) {
        let text = format!(
            "{}auth: {{ jwt_bearer: {{ token_url: \"https://a.example/\", issuer: i, private_key: {SECRET} }} }}\n",
            configuration("https://api.example.com")
        );
        let file = stage.scene.file("api.yaml", text)?;
        stage.refused(&["check", "rest", "--config", &file])
    }
    auth_login_without_scheme(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        let ended = stage.call(&["auth", "login", "rest", "--config", &config, "--out", &out])?;
        stage.expect(&ended, 1)
    }
    auth_login_of_a_scheme_without(stage) {
        let text = format!("{}auth: {{ bearer: {SECRET} }}\n", configuration("https://api.example.com"));
        let (file, out) = (stage.scene.file("api.yaml", text)?, stage.out());
        let ended = stage.call(&["auth", "login", "rest", "--config", &file, "--out", &out])?;
        stage.expect(&ended, 1)
    }
    auth_token_url_elsewhere(stage) {
        let text = format!(
            "{}auth: {{ client_credentials: {{ token_url: \"http://127.0.0.1:1/\", client_id: c, client_secret: {SECRET} }} }}\n",
            configuration("https://api.example.com")
        );
        let (file, out) = (stage.scene.file("api.yaml", text)?, stage.out());
        let ended = stage.call(&["check", "rest", "--config", &file, "--out", &out, "--retry-base", "1ms"])?;
        stage.expect(&ended, 1)
    }
    auth_set_on_the_command_line(stage) {
        let out = stage.out();
        stage.refused(&["auth", "set", "rest", "token", "--from", "value", "--out", &out])
    }
    auth_set_of_nothing(stage) {
        let out = stage.out();
        stage.refused(&["auth", "set", "rest", "token", "--out", &out])
    }
    auth_remove_what_is_not_there(stage) {
        let out = stage.out();
        stage.refused(&["auth", "remove", "rest", "token", "--out", &out])
    }
    auth_store_damaged(stage) {
        let out = stage.out();
        stage.before(&["auth", "set", "rest", "path", "--from", "${env:XDG_CONFIG_HOME}", "--out", &out])?;
        fs::write(stage.scene.path("out/_auth/rest"), "no sealed file")?;
        stage.refused(&["auth", "list", "rest", "--out", &out])
    }
    config_set_without_value(stage) {
        stage.refused(&["check", "rest", "--set", "base_url"])
    }
    config_set_below_a_text(stage) {
        let config = stage.config("https://api.example.com")?;
        stage.refused(&["check", "rest", "--config", &config, "--set", "base_url.scheme=https"])
    }

    // What is asked of an API without a run.
    check_of_closed_port(stage) {
        let port = ClosedPort::take()?;
        let config = stage.config(&format!("http://127.0.0.1:{}", port.number()))?;
        let ended = stage.call(&["check", "rest", "--config", &config, "--attempts", "1"])?;
        stage.expect(&ended, 1)
    }
    check_of_refused_credentials(stage) {
        let api = answers(401)?;
        let config = stage.config(&base(&api))?;
        let ended = stage.call(&["check", "rest", "--config", &config])?;
        stage.expect(&ended, 1)
    }

    // The network.
    port_closed(stage) {
        let port = ClosedPort::take()?;
        stage.fails(&format!("http://127.0.0.1:{}", port.number()), &["--attempts", "2"])
    }
    tls_to_plain_text(stage) {
        let api = api(Vec::new())?;
        stage.fails(&base(&api).replace("http://", "https://"), &["--attempts", "1"])
    }
    name_unresolved(stage) {
        // With and without a name server at hand.
        for text in ["Name or service not known", "Temporary failure in name resolution", "No address associated with hostname"] {
            stage.scene.call(text, "no such name");
        }
        stage.fails("https://api.example.invalid", &["--attempts", "1"])
    }
    answer_html(stage) {
        let api = api(vec![Rule::always(Action::Html)])?;
        stage.fails(&base(&api), &[])
    }
    answer_error_body(stage) {
        let api = api(vec![Rule::always(Action::ErrorBody)])?;
        stage.fails(&base(&api), &[])
    }
    answer_truncated(stage) {
        let api = api(vec![Rule::always(Action::Truncate(100))])?;
        stage.fails(&base(&api), &[])
    }
    answer_cut(stage) {
        let api = api(vec![Rule::always(Action::Cut(100))])?;
        stage.fails(&base(&api), &["--attempts", "2"])
    }
    answer_too_large(stage) {
        let api = api(Vec::new())?;
        stage.fails(&base(&api), &["--max-response", "100"])
    }
    answer_slow(stage) {
        let api = api(vec![Rule::always(Action::Delay(std::time::Duration::from_secs(5)))])?;
        stage.fails(&base(&api), &["--attempts", "1", "--request-timeout", "100ms"])
    }
    answer_401(stage) {
        stage.fails(&base(&answers(401)?), &[])
    }
    answer_403(stage) {
        stage.fails(&base(&answers(403)?), &[])
    }
    answer_404(stage) {
        stage.fails(&base(&answers(404)?), &[])
    }
    answer_500(stage) {
        stage.fails(&base(&answers(500)?), &["--attempts", "3"])
    }
    answer_rejected(stage) {
        let api = api(Vec::new())?;
        let text = format!("{}\x20   reject: [{{ present: /items, reason: /items/0/id }}]\n", configuration(&base(&api)));
        let (config, out) = (stage.scene.file("api.yaml", text)?, stage.out());
        let ended = stage.call(&["run", "rest", "--config", &config, "--out", &out])?;
        stage.expect(&ended, 1)
    }
    host_left_alone(stage) {
        let flags = ["--attempts", "3", "--breaker", "2"];
        stage.fails(&base(&answers(500)?), &flags)
    }
    answer_429_for_a_day(stage) {
        let api = api(vec![Rule::always(Action::Status(429, RetryAfter::Seconds(86_400)))])?;
        stage.fails(&base(&api), &["--max-wait", "1m"])
    }
    answer_403_secondary_limit(stage) {
        let said = r#"{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#;
        let api = api(vec![Rule::always(Action::Body(403, "application/json", said.to_owned()))])?;
        stage.fails(&base(&api), &["--max-wait", "30s"])
    }
    redirect_elsewhere(stage) {
        let location = vec![("location", "https://other.example.com/items".to_owned())];
        let api = api(vec![Rule::always(Action::Headers(302, location))])?;
        stage.fails(&base(&api), &[])
    }

    // The output folder.
    out_below_a_file(stage) {
        let file = stage.scene.file("file", "")?;
        let config = stage.config("https://api.example.com")?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &format!("{file}/out")])
    }
    out_read_only(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        fs::create_dir(&out)?;
        fs::set_permissions(&out, fs::Permissions::from_mode(0o555))?;
        let arguments = ["run", "rest", "--config", &config, "--out", &out];
        stage.scene.call("Permission denied (os error 13)", "WHY");
        stage.scene.call("Read-only file system (os error 30)", "WHY");
        let command = if File::create(Path::new(&out).join("probe")).is_err() {
            program::host(&arguments)?
        } else {
            // For root, permissions are no hindrance; a mount is.
            let mount = format!("mount --bind '{out}' '{out}' && mount -o remount,ro,bind '{out}'");
            let Some(command) = mounted(&mount, &arguments)? else { return Ok(()) };
            command
        };
        let ended = stage.call_as(&arguments, command)?;
        stage.expect(&ended, 2)
    }
    out_in_use(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        let locks = Path::new(&out).join("_locks");
        fs::create_dir_all(&locks)?;
        let lock = File::create(locks.join("rest"))?;
        lock.lock()?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out])
    }
    out_state_damaged(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        fs::create_dir_all(&out)?;
        fs::write(Path::new(&out).join("_state.db"), "this is no database, ".repeat(1_000))?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out])
    }
    out_state_newer(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        fs::create_dir_all(&out)?;
        rusqlite::Connection::open(Path::new(&out).join("_state.db"))?.pragma_update(None, "user_version", 999)?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out])
    }
    out_of_another_connection(stage) {
        let api = api(Vec::new())?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--connection", "second"])
    }
    out_with_data_and_limit(stage) {
        let api = api(Vec::new())?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--limit", "2"])
    }
    out_with_other_configuration(stage) {
        let api = api(Vec::new())?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        let other = stage.scene.file("other.yaml", configuration(&base(&api)).replace("limit: 100", "limit: 50"))?;
        stage.refused(&["run", "rest", "--config", &other, "--out", &out])
    }
    out_state_truncated(stage) {
        let api = api(Vec::new())?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        let state = File::options().write(true).open(Path::new(&out).join("_state.db"))?;
        state.set_len(state.metadata()?.len() / 2)?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out])
    }
    out_state_empty(stage) {
        let api = api(Vec::new())?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        File::create(Path::new(&out).join("_state.db"))?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out])
    }
    out_state_gone(stage) {
        let api = api(Vec::new())?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        fs::remove_file(Path::new(&out).join("_state.db"))?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out])
    }
    out_state_held(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        fs::create_dir_all(&out)?;
        let state = rusqlite::Connection::open(Path::new(&out).join("_state.db"))?;
        state.execute_batch("CREATE TABLE other (a); BEGIN EXCLUSIVE")?;
        stage.refused(&["run", "rest", "--config", &config, "--out", &out])
    }

    // Personal data.
    personal_key_in_the_file(stage) {
        let data = format!("{{ key: {SECRET}, streams: {{ items: {{ hash: [name] }} }} }}");
        stage.personal(&data, "", &[])
    }
    personal_without_key(stage) {
        stage.personal("{ streams: { items: { hash: [name] } } }", "", &[])
    }
    personal_misspelt(stage) {
        stage.personal("{ streams: { items: { dorp: [name], mask: [a..b] } } }", "", &[])
    }
    personal_by_set(stage) {
        let config = stage.config("https://api.example.com")?;
        stage.refused(&["check", "rest", "--config", &config, "--set", "personal_data.streams.items.drop=name"])
    }
    personal_stream_unknown(stage) {
        stage.personal("{ streams: { itmes: { drop: [name] } } }", "", &[])
    }
    personal_primary_key_dropped(stage) {
        stage.personal("{ streams: { items: { drop: [id] } } }", "", &[])
    }
    personal_primary_key_masked(stage) {
        stage.personal("{ streams: { '*': { mask: [/id] } } }", "", &[])
    }
    personal_cursor_dropped(stage) {
        stage.personal("{ streams: { items: { drop: [updated_at] } } }", INCREMENTAL, &[])
    }
    personal_archive_of_nothing(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--archive", "redacted"])
    }
    personal_archive_of_a_record(stage) {
        stage.personal("{ streams: { items: { drop: [/name] } } }", "", &["--archive", "redacted"])
    }
    personal_archive_of_the_cursor(stage) {
        stage.personal("{ streams: { items: { mask: [updated_at] } } }", INCREMENTAL, &["--archive", "redacted"])
    }
    personal_key_gone(stage) {
        let api = api(Vec::new())?;
        let key = stage.scene.file("key", "0123456789abcdef0123456789abcdef")?;
        let text = format!(
            "{}personal_data: {{ key: \"${{file:{key}}}\", streams: {{ items: {{ hash: [name] }} }} }}\n",
            configuration(&base(&api))
        );
        let (config, out) = (stage.scene.file("api.yaml", text)?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        stage.before(&["replay", "--out", &out])?;
        fs::write(&key, "another key, of another 16 bytes")?;
        stage.call(&["replay", "--out", &out])?;
        fs::remove_file(&key)?;
        stage.refused(&["replay", "--out", &out])
    }

    stream_unknown(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--stream", "itmes"])
    }
    stream_unknown_and_unlike(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        stage.refused(&["run", "rest", "--config", &config, "--out", &out, "--stream", "zebras"])
    }
    report_of_no_folder(stage) {
        let out = stage.out();
        stage.refused(&["report", "--out", &out])
    }
    report_of_unknown_run(stage) {
        let api = api(Vec::new())?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        stage.before(&["run", "rest", "--config", &config, "--out", &out])?;
        stage.refused(&["report", "--out", &out, "none"])
    }
    runs_of_no_folder(stage) {
        let out = stage.out();
        stage.refused(&["runs", "--out", &out])
    }

    // A disk that is full. A limit on the size of a file stands for it: it works for every user, on every machine.
    disk_full_for_records(stage) {
        let items = Endpoint::new("/items", Offset::default()).records(3_000).shape(Shape::Large).total(Total::Body);
        let api = Api::builder().endpoint(items).start()?;
        let (config, out) = (stage.config(&base(&api))?, stage.out());
        let arguments = ["run", "rest", "--config", &config, "--out", &out, "--format", "jsonl", "--no-archive", "-q"];
        let command = shell("trap '' XFSZ; ulimit -f 2048; exec \"$@\"", &arguments)?;
        let ended = stage.call_as(&arguments, command)?;
        stage.expect(&ended, 1)
    }
    disk_full_for_state(stage) {
        let (config, out) = (stage.config("https://api.example.com")?, stage.out());
        fs::create_dir(&out)?;
        let arguments = ["run", "rest", "--config", &config, "--out", &out];
        // A file system of its own, of ten pages.
        let Some(command) = mounted(&format!("mount -t tmpfs -o size=40k none '{out}'"), &arguments)? else {
            return Ok(());
        };
        let ended = stage.call_as(&arguments, command)?;
        stage.expect(&ended, 2)
    }
    standard_output_full(stage) {
        let arguments = ["inspect", "rest"];
        let command = shell("exec \"$@\" > /dev/full", &arguments)?;
        let ended = stage.call_as(&arguments, command)?;
        stage.expect(&ended, 2)
    }
    standard_output_closed(stage) {
        let arguments = ["inspect", "rest"];
        let command = shell("trap '' PIPE; { \"$@\"; echo \"$?\" >&2; } | true", &arguments)?;
        let ended = stage.call_as(&arguments, command)?;
        stage.expect(&ended, 0)
    }
}

#[test]
fn every_transcript_has_its_case() -> anyhow::Result<()> {
    let cases: BTreeSet<String> = CASES.iter().map(|&name| name.to_owned()).collect();
    if !updating() {
        assert_eq!(BTreeSet::from_iter(written("errors")?), cases);
    }
    Ok(())
}
