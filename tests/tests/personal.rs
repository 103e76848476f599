//! Personal data: what is dropped, hashed and masked is nowhere but in the archive, and not there either where that is wished.

use std::fs;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    connection::{Connection, Run},
    mock::{Action, Api, Rule},
    program::{Ended, call},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// `printf ada@example.org | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`, and the others alike.
const ADA: &str = "bcfa6aa5642f6ffa0a359346b83770c4403581e5e1b7b5578df29ea26c669043";
const NUMBER: &str = "f5c87fb39337c68d9279ecc495203bd12a541e48a6d95adc378cd31c8f448ad6";

/// Every value of the API that is personal data.
const ORIGINALS: [&str; 9] = [
    "ada@example.org",
    "bob@example.org",
    "boss@example.org",
    "first@example.org",
    "second@example.org",
    "+49 170 1234567",
    "Paris-of-Ada",
    "Rue de Rivoli",
    "987654321",
];

fn pages() -> [Value; 2] {
    let first = json!({
        "id": 1, "email": "ada@example.org", "number": 987_654_321, "kind": "person",
        "owner": {"email": "boss@example.org", "phone": "+49 170 1234567", "id": 7},
        "contacts": [{"email": "first@example.org", "id": 1}, {"email": "second@example.org", "id": 2}],
        "address": {"city": "Paris-of-Ada", "street": "Rue de Rivoli"}});
    let second = json!({
        "id": 2, "email": null, "number": null, "kind": "person",
        "owner": {"email": "bob@example.org", "phone": "+49 170 1234567", "id": 7}, "contacts": [], "address": null});
    [json!({"items": [first], "next": "2"}), json!({"items": [second], "next": null})]
}

/// The API, whose second page may be an error that repeats what it knows of somebody.
fn api(second: Option<(u16, &str)>) -> anyhow::Result<Api> {
    let [first, last] = pages();
    let json = "application/json";
    let last = match second {
        Some((status, body)) => Action::Body(status, json, body.to_owned()),
        None => Action::Body(200, json, last.to_string()),
    };
    let api = Api::builder().fault(Rule::always(last).path("/users").containing("cursor=2"));
    Ok(api.fault(Rule::always(Action::Body(200, json, first.to_string())).path("/users")).start()?)
}

struct Stage {
    connection: Connection,
    key: tempfile::NamedTempFile,
}

impl Stage {
    fn new(api: &Api, streams: Value) -> anyhow::Result<Self> {
        let key = tempfile::NamedTempFile::new()?;
        fs::write(key.path(), KEY)?;
        let stream = json!({"name": "users", "path": "users", "records": "/items", "primary_key": ["id"],
                            "pagination": {"cursor": {"token": "/next", "param": "cursor"}}});
        let reference = format!("${{file:{}}}", key.path().display());
        let config = json!({"base_url": api.url(""), "streams": [stream],
                            "personal_data": {"key": reference, "streams": streams}});
        Ok(Self { connection: Connection::new("rest", &config)?, key })
    }

    fn on_out(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        let out = self.connection.out().display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--out", &out]);
        call(&all)
    }

    fn verify(&self) -> anyhow::Result<Ended> {
        call(&["verify", &self.connection.out().display().to_string()])
    }
}

fn rules() -> Value {
    json!({"users": {"hash": ["email", "number"], "mask": ["owner.phone"], "drop": ["address"]}})
}

/// Files and output in which one of the values is found.
fn leaks(stage: &Stage, run: &Run) -> anyhow::Result<Vec<String>> {
    let mut leaks = Vec::new();
    for original in ORIGINALS.iter().chain(&[KEY]) {
        let printed = [("report", run.report.to_string()), ("log", run.log.clone())];
        leaks.extend(
            printed.iter().filter(|(_, text)| text.contains(original)).map(|(name, _)| format!("{name}: {original}")),
        );
        leaks.extend(stage.connection.files_with(original)?.into_iter().map(|file| format!("{file}: {original}")));
    }
    Ok(leaks)
}

#[test]
fn nothing_of_it_is_in_the_output_folder_and_replays_make_the_same() -> anyhow::Result<()> {
    let api = api(None)?;
    for format in ["parquet", "jsonl"] {
        let stage = Stage::new(&api, rules())?;
        let run = stage.connection.complete(&["--format", format, "--archive", "redacted", "-v"])?;
        assert_eq!(leaks(&stage, &run)?, Vec::<String>::new());
        ensure!(run.reasons().is_empty(), "{:?}", run.reasons());

        let records = stage.connection.records("users")?;
        let [first, second] = records.as_slice() else { anyhow::bail!("{records:?}") };
        assert_eq!((&first["email"], &first["number"]), (&json!(ADA), &json!(NUMBER)));
        assert_eq!(first["owner"]["phone"], "***");
        assert_eq!((&first["id"], &first["kind"], &first["owner"]["id"]), (&json!(1), &json!("person"), &json!(7)));
        let contacts = first["contacts"].as_array().context("contacts")?;
        ensure!(
            contacts.iter().all(|contact| contact["email"].as_str().is_some_and(|hash| hash.len() == 64)),
            "{first}"
        );
        ensure!(first.get("address").is_none() && second["email"].is_null(), "{first} {second}");

        let verified = stage.verify()?;
        ensure!(verified.code == Some(0) && verified.stdout.ends_with("\nsound\n"), "{verified:#?}");
        // What is hashed already needs no key.
        fs::remove_file(stage.key.path())?;
        let replayed = stage.on_out(&["replay"])?;
        ensure!(replayed.code == Some(0), "{replayed:#?}");
        let made = stage.on_out(&["reprocess", "users", "--from", run.report["run"].as_str().context("a run")?])?;
        ensure!(made.code == Some(0), "{made:#?}");
        assert_eq!(stage.connection.records("users")?, records);
        fs::write(stage.key.path(), KEY)?;
    }
    Ok(())
}

#[test]
fn a_full_archive_has_the_original_and_needs_the_key() -> anyhow::Result<()> {
    let api = api(None)?;
    let stage = Stage::new(&api, rules())?;
    let run = stage.connection.complete(&[])?;
    let leaks = leaks(&stage, &run)?;
    ensure!(
        leaks.len() == ORIGINALS.len() && leaks.iter().all(|leak| leak.contains("/archive/manifest.jsonl: ")),
        "{leaks:#?}"
    );
    let verified = stage.verify()?;
    ensure!(verified.code == Some(0) && !verified.stdout.contains("not checked"), "{verified:#?}");
    let records = stage.connection.records("users")?;
    let made = stage.on_out(&["reprocess", "users", "--from", run.report["run"].as_str().context("a run")?])?;
    ensure!(made.code == Some(0), "{made:#?}");
    assert_eq!(stage.connection.records("users")?, records);
    fs::remove_file(stage.key.path())?;
    let verified = stage.verify()?;
    ensure!(
        verified.code == Some(0) && verified.stdout.contains("not checked: the run hashed personal data"),
        "{verified:#?}"
    );
    fs::write(stage.key.path(), KEY)?;
    Ok(())
}

#[test]
fn errors_quote_nothing_of_it() -> anyhow::Result<()> {
    for (body, said) in [
        (
            r#"{"error":{"message":"taken","email":"ada@example.org","address":{"city":"Paris-of-Ada"}}}"#,
            r#"{"error":{"message":"taken","email":""#,
        ),
        ("no person ada@example.org in Paris-of-Ada", "not shown, for personal data in them"),
    ] {
        let api = api(Some((422, body)))?;
        let stage = Stage::new(&api, rules())?;
        let run = stage.connection.run(&["--archive", "redacted"])?;
        assert_eq!(run.code, Some(1));
        assert_eq!(leaks(&stage, &run)?, Vec::<String>::new());
        ensure!(run.reasons().iter().any(|reason| reason.contains(said)), "{:?}", run.reasons());
        ensure!(stage.verify()?.code == Some(0), "{:#?}", stage.verify()?);
    }
    Ok(())
}

#[test]
fn a_hashed_primary_key_tells_records_apart_and_finds_what_comes_twice() -> anyhow::Result<()> {
    let [first, _] = pages();
    let mut again = first["items"].clone();
    again[0]["kind"] = json!("another page, of the same person");
    let twice = json!({"items": again, "next": null}).to_string();
    let rules = json!({"users": {"hash": ["/id"]}});
    let (sound, doubled) = (api(None)?, api(Some((200, &twice)))?);
    let one = Stage::new(&sound, rules.clone())?;
    let run = one.connection.complete(&[])?;
    ensure!(run.reasons().is_empty(), "{run:#?}");
    let stage = Stage::new(&doubled, rules)?;
    let run = stage.connection.run(&["--rereads", "0"])?;
    ensure!(run.verdict() == "incomplete", "{run:#?}");
    ensure!(run.reasons().iter().any(|reason| reason.contains("primary key")), "{:?}", run.reasons());
    Ok(())
}

#[test]
fn a_path_that_no_record_has_is_told_and_another_way_is_another_configuration() -> anyhow::Result<()> {
    let api = api(None)?;
    let stage =
        Stage::new(&api, json!({"users": {"drop": ["emial", "contacts.email"]}, "*": {"mask": ["phome", "phone"]}}))?;
    let run = stage.connection.complete(&[])?;
    assert_eq!(
        run.reasons(),
        [
            "users: personal data: no record has emial; check how it is written",
            "personal data: no record has phome; check how it is written"
        ]
    );
    fs::write(stage.key.path(), KEY.replace('0', "x"))?;
    let other = stage.connection.run(&[])?;
    ensure!(
        other.code == Some(2) && other.log.contains("the configuration of the connection rest has changed"),
        "{other:?}"
    );
    Ok(())
}

#[test]
fn a_dead_letter_has_nothing_of_it_either() -> anyhow::Result<()> {
    let twice = r#"{"items":[{"id":3,"kind":"a","kind":"b","email":"ada@example.org","number":987654321,
        "owner":{"phone":"+49 170 1234567"},"address":{"city":"Paris-of-Ada"}}],"next":null}"#;
    let api = api(Some((200, twice)))?;
    let stage = Stage::new(&api, rules())?;
    let run = stage.connection.run(&["--archive", "redacted"])?;
    ensure!(run.code == Some(1) && run.stream("users")["dead_letters"] == 1, "{run:#?}");
    assert_eq!(leaks(&stage, &run)?, Vec::<String>::new());
    let letters = stage.connection.files_with(ADA)?;
    ensure!(letters.iter().any(|file| file.contains("_dead-")), "{letters:?}");
    Ok(())
}

#[test]
fn of_a_record_that_is_no_json_no_letter_log_or_archive_has_a_word() -> anyhow::Result<()> {
    // The quotes of the first are shifted, so that no rule could find its fields.
    let bad = [
        r#"{"id":3,"a":"x"y","email":"ada@example.org","number":"987654321","k":"z"w"}"#,
        "{\"id\":4,\"kind\":\"a\0b\",\"owner\":{\"phone\":\"+49 170 1234567\"},\"address\":{\"city\":\"Paris-of-Ada\"}}",
    ];
    let body = format!(
        r#"{{"items":[{{"id":2,"email":"bob@example.org","kind":"b"}},{},{{"id":5,"kind":"c"}},{}],"next":null}}"#,
        bad[0], bad[1]
    );
    let api = api(Some((200, &body)))?;
    for format in ["parquet", "jsonl"] {
        for archive in ["redacted", "full"] {
            let stage = Stage::new(&api, rules())?;
            let run = stage.connection.run(&["--archive", archive, "--format", format, "-v"])?;
            ensure!(run.code == Some(1) && run.stream("users")["dead_letters"] == 2, "{run:#?}");
            assert_eq!(stage.connection.ids("users", "id")?, [1, 2, 5]);
            let mut leaks = leaks(&stage, &run)?;
            leaks.retain(|leak| archive == "redacted" || !leak.contains("/archive/"));
            assert_eq!(leaks, Vec::<String>::new());
            let letters = stage.connection.files_with("\"raw_as\":\"withheld\"")?;
            let [file] = letters.as_slice() else { anyhow::bail!("{letters:?}") };
            let letters = fs::read_to_string(stage.connection.out().join(file))?;
            let letters: Vec<Value> = letters.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let [first, second] = letters.as_slice() else { anyhow::bail!("{letters:?}") };
            assert_eq!((&first["record"], &second["record"]), (&json!(1), &json!(3)));
            assert_eq!((&first["bytes"], &second["bytes"]), (&json!(bad[0].len()), &json!(bad[1].len())));
            ensure!(letters.iter().all(|letter| letter.get("raw").is_none()), "{letters:?}");
            assert_eq!(
                second["reason"],
                "record 3 is not valid JSON: a control character in a string; its text is withheld, for personal data in it \
                 could not be told from other"
            );
            ensure!(run.log.contains("record 1 is not valid JSON: something unexpected; its text"), "{}", run.log);
            // A replay makes the same letters, of what the archive has.
            let verified = stage.verify()?;
            ensure!(verified.code == Some(0) && verified.stdout.ends_with("\nsound\n"), "{verified:#?}");
            let replayed = stage.on_out(&["replay"])?;
            ensure!(replayed.code == Some(0), "{replayed:#?}");
        }
    }
    Ok(())
}

#[test]
fn a_page_that_is_cut_off_ends_the_read_and_is_not_quoted() -> anyhow::Result<()> {
    let body = r#"{"items":[{"id":2,"kind":"b"},{"id":3,"email":"ada@example.org","kind":"#;
    let api = api(Some((200, body)))?;
    let stage = Stage::new(&api, rules())?;
    let run = stage.connection.run(&["--archive", "redacted"])?;
    ensure!(run.code == Some(1) && run.stream("users")["dead_letters"] == 0, "{run:#?}");
    assert_eq!(leaks(&stage, &run)?, Vec::<String>::new());
    let few = Stage::new(&api, rules())?;
    let run = few.connection.run(&["--max-dead-letters", "0"])?;
    ensure!(run.code == Some(1), "{run:#?}");
    Ok(())
}
