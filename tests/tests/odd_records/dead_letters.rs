//! Records that cannot be stored: kept aside with their place and reason while the others are stored, told of in report,
//! summary and exit code, and asked for again until they come.

use std::fs;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    mock::{Action, RetryAfter, Rule},
    program::call,
};

use super::{Odd, body, pages};

const GOOD: &str = r#"{"id":1,"name":"one"}"#;
const BAD: &str = r#"{"id":2,"name":"two","name":"zwei"}"#;
const MENDED: &str = r#"{"id":2,"name":"two"}"#;

/// The run's id, which the files of its dead letters have in their names.
fn id(run: &tests::connection::Run) -> String {
    run.report["run"].as_str().unwrap_or_default().to_owned()
}

fn sound(odd: &Odd) -> anyhow::Result<()> {
    let ended = call(&["verify", &odd.connection.out().display().to_string()])?;
    ensure!(ended.code == Some(0), "{}\n{}", ended.stdout, ended.stderr);
    Ok(())
}

#[test]
fn each_record_that_cannot_be_stored_is_kept_with_its_reason_and_place() -> anyhow::Result<()> {
    let long = format!(r#"{{"id":9,"text":"{}"}}"#, "x".repeat(300));
    let bad = [
        (BAD, "record 1 has a name twice: `/name`"),
        (r#"{"id":3,"o":{"a":[{"\u0062":1,"b":2}]}}"#, "record 3 has a name twice: `/o/a/0/b`"),
        (r#"{"id":4,"t":"\ud800"}"#, "half a surrogate pair in a string"),
        (r#"{"id":5,"\udc00":1}"#, "half a surrogate pair in a string"),
        (r#"{"id":6,"v":NaN}"#, "unexpected `N`"),
        (r#"{"id":7,"v":-Infinity}"#, "malformed number"),
        (r#"{"id":8,"v":007}"#, "malformed number"),
        ("null", "record 15 is not an object: null"),
        (r#"["id",9]"#, "record 17 is not an object: an array"),
        (&long, "record 19 is longer than 256 bytes: 318; if you trust it with more, raise --max-record"),
    ];
    let good = |at: usize| format!("{{\"id\":{},\"name\":\"é\"}}", 100 + at);
    let records: Vec<String> = (0..).zip(&bad).flat_map(|(at, (bad, _))| [good(at), (*bad).to_owned()]).collect();
    let records = records.join(", ");
    for format in ["parquet", "jsonl"] {
        let odd = Odd::new(pages(&[r#"{"id":1}"#, &records]))?;
        let run = odd.connection.run(&["--format", format, "--max-record", "256"])?;
        ensure!(run.code == Some(1) && run.verdict() == "incomplete", "{run:#?}");
        let file = format!("_dead-{}-00000.ndjson", id(&run));
        assert_eq!(
            run.reasons(),
            [
                format!("items: 10 records could not be stored; they are in items/{file}, with the reason"),
                "items: the other records are in place; the next run asks for all of them again".to_owned(),
            ]
        );
        let stream = run.stream("items");
        assert_eq!((&stream["records"], &stream["dead_letters"]), (&json!(11), &json!(10)));
        assert_eq!(stream["dead_letter_files"], json!([file]));
        assert_eq!(stream["reads"][0]["dead_letters"], 10);
        assert_eq!(stream["reads"][0]["watermark_after"], Value::Null);
        assert_eq!(odd.connection.ids("items", "id")?, [&[1][..], &(100..110).collect::<Vec<u64>>()].concat());

        let letters = odd.letters()?;
        assert_eq!(letters.len(), bad.len());
        let sent = format!(r#"{{"items":[{records}],"next":null}}"#);
        for ((at, (raw, reason)), letter) in (0..).zip(&bad).zip(&letters) {
            ensure!(letter["reason"].as_str().is_some_and(|told| told.ends_with(reason)), "{reason}: {letter:#}");
            assert_eq!(
                (&letter["stream"], &letter["page"], &letter["record"]),
                (&json!("items"), &json!(1), &json!(2 * at + 1))
            );
            assert_eq!((&letter["method"], &letter["url"]), (&json!("GET"), &json!(odd.api.url("/items?cursor=1"))));
            let from = letter["offset"].as_u64().and_then(|at| usize::try_from(at).ok()).context("an offset")?;
            assert_eq!(sent.get(from..from + raw.len()), Some(*raw));
            let kept = if letter["raw_as"] == "json" {
                letter["raw"].to_string()
            } else {
                letter["raw"].as_str().unwrap_or_default().to_owned()
            };
            assert_eq!(kept, *raw);
        }
        // Anybody can look at them.
        let (_, rows) = tests::duckdb::query(&format!(
            "SELECT count(*), min(record), max(exchange) FROM read_json('{}')",
            odd.dead_files()?[0].display()
        ))?;
        assert_eq!(rows, json!([[10, 1, letters[0]["exchange"]]]));
        let exchange = letters[0]["exchange"].to_string();
        let out = odd.connection.out().display().to_string();
        let cat = call(&["archive", "cat", &id(&run), &exchange, "--out", &out])?;
        ensure!(cat.stdout.contains("zwei"), "{cat:#?}");
        sound(&odd)?;
    }
    Ok(())
}

#[test]
fn a_record_that_is_no_json_takes_no_neighbour_along_wherever_it_stands() -> anyhow::Result<()> {
    let bad = [
        "{\"id\":11,\"t\":\"a\0b\"}",
        r#"{"id":12,"t":"\x"}"#,
        "{\"id\":13,\"t\":\"a\nb\"}",
        r#"{"id":14,"t":"\u12"}"#,
        r#"{"id":15,"v":01}"#,
    ];
    let reasons = [
        "record 0 is not valid JSON at `/t`, byte 25 of the body: control character U+0000 in a string",
        "record 1 is not valid JSON at `/t`, byte 33 of the body: unknown escape in a string",
        "record 0 is not valid JSON at `/t`, byte 25 of the body: control character U+000A in a string",
        "record 1 is not valid JSON at `/t`, byte 37 of the body: unknown escape in a string",
        "record 2 is not valid JSON at `/v`, byte 42 of the body: malformed number",
    ];
    // First, last, alone, between others, and last where the cursor is not there at all.
    let bodies = [
        format!(r#"{{"items":[{},{{"id":1}}],"next":"1"}}"#, bad[0]),
        format!(r#"{{"items":[{{"id":2}},{}],"next":"2"}}"#, bad[1]),
        format!(r#"{{"items":[{}],"next":"3"}}"#, bad[2]),
        format!(r#"{{"items":[{{"id":3}},{},{{"id":4}}],"next":"4"}}"#, bad[3]),
        format!(r#"{{"items":[{{"id":5}},{{"id":6}},{}]}}"#, bad[4]),
    ];
    for format in ["parquet", "jsonl"] {
        let others = (1..bodies.len()).map(|page| body(&bodies[page]).containing(format!("cursor={page}")));
        let odd = Odd::new(others.chain([body(&bodies[0])]).collect())?;
        let run = odd.connection.run(&["--format", format])?;
        ensure!(run.code == Some(1) && run.verdict() == "incomplete", "{run:#?}");
        ensure!(run.stream("items")["dead_letters"] == 5 && run.stream("items")["pages"] == 5, "{run:#?}");
        assert_eq!(odd.connection.ids("items", "id")?, [1, 2, 3, 4, 5, 6]);
        let letters = odd.letters()?;
        let found: Vec<_> = letters.iter().map(|letter| (letter["raw"].as_str(), letter["reason"].as_str())).collect();
        let expected: Vec<_> = bad.into_iter().zip(reasons).map(|(raw, reason)| (Some(raw), Some(reason))).collect();
        assert_eq!(found, expected);
        sound(&odd)?;
    }
    // The other records tell how far an incremental read came, which is not kept: it asks for all of them again.
    let records = "{\"id\":1,\"at\":1},{\"id\":2,\"at\":2},{\"id\":3,\"at\":3,\"t\":\"\0\"}";
    let odd = Odd::with(pages(&[records]), &json!({"incremental": {"cursor_field": "at", "param": "since"}}))?;
    let run = odd.connection.run(&[])?;
    ensure!(run.stream("items")["dead_letters"] == 1 && odd.letters()?.len() == 1, "{run:#?}");
    ensure!(run.stream("items")["reads"][0]["watermark_after"] == Value::Null, "{run:#?}");
    assert_eq!(odd.connection.ids("items", "id")?, [1, 2]);
    Ok(())
}

#[test]
fn a_record_that_is_no_json_takes_no_neighbour_along_where_only_some_of_a_page_are_taken() -> anyhow::Result<()> {
    let bad = "{\"id\":4,\"at\":2,\"t\":\"a\0b\"}";
    // The second page begins with what the first one ended with.
    let first = r#"{"id":1,"at":1},{"id":2,"at":2}"#;
    let second = format!(r#"{{"id":2,"at":2}},{{"id":3,"at":2}},{bad},{{"id":5,"at":3}}"#);
    let none = body(r#"{"items":[{"id":5,"at":3}]}"#).containing("after=3");
    let second = body(&format!(r#"{{"items":[{second}]}}"#)).containing("after=2");
    let rules = vec![none, second, body(&format!(r#"{{"items":[{first}]}}"#))];
    let keyset = json!({"keyset": {"field": "at", "param": "after", "tie_breaker": "id", "inclusive": true,
                                   "limit_param": "limit", "limit": 4}});
    for format in ["parquet", "jsonl"] {
        let odd = Odd::with(rules.clone(), &json!({"pagination": keyset}))?;
        let run = odd.connection.run(&["--format", format])?;
        ensure!(run.code == Some(1) && run.stream("items")["dead_letters"] == 1, "{run:#?}");
        assert_eq!(odd.connection.ids("items", "id")?, [1, 2, 3, 5]);
        let letters = odd.letters()?;
        assert_eq!(
            (&letters[0]["raw"], &letters[0]["page"], &letters[0]["record"]),
            (&json!(bad), &json!(1), &json!(1))
        );
        assert_eq!(letters[0]["url"], odd.api.url("/items?after=2&limit=4"));
        sound(&odd)?;
    }
    // A list from the newest record on ends at the watermark; what is no JSON cannot say where that is.
    let since = json!({"incremental": {"cursor_field": "at", "order": "descending", "stop_at_watermark": true}});
    let odd = Odd::with(pages(&[r#"{"id":1,"at":10}"#]), &since)?;
    odd.connection.complete(&[])?;
    let newer =
        "{\"id\":3,\"at\":30},{\"id\":9,\"t\":\"\0\"},{\"id\":1,\"at\":10},{\"id\":0,\"at\":5},{\"id\":8,\"t\":\"\0\"}";
    odd.api.script(pages(&[newer, r#"{"id":7,"at":3}"#]));
    odd.api.forget_requests();
    let run = odd.connection.run(&[])?;
    ensure!(run.code == Some(1) && run.stream("items")["dead_letters"] == 2, "{run:#?}");
    assert_eq!(odd.api.targets(), ["/items"]);
    assert_eq!(odd.connection.ids("items", "id")?, [1, 3]);
    sound(&odd)
}

#[test]
fn a_table_that_is_read_whole_has_everything_once_when_the_source_is_mended() -> anyhow::Result<()> {
    let more = [r#"{"id":3,"name":"three"}"#, r#"{"id":4,"name":"four"}"#];
    let odd = Odd::new(pages(&[GOOD, BAD]))?;
    // A reading that lacks something is in place at once, and each replaces the one before with its letters.
    for (number, new) in [(1_u64, ""), (2, more[0]), (3, more[1])] {
        let good = if new.is_empty() { GOOD.to_owned() } else { format!("{GOOD},{new}") };
        odd.api.script(pages(&[&good, BAD]));
        let run = odd.connection.run(&[])?;
        ensure!(run.code == Some(1), "{run:#?}");
        let expected = if new.is_empty() { vec![1] } else { vec![1, number + 1] };
        assert_eq!(odd.connection.ids("items", "id")?, expected);
        assert_eq!(odd.letters()?.len(), 1);
        assert_eq!(run.stream("items")["dead_letter_files"], json!([format!("_dead-{}-00000.ndjson", id(&run))]));
        sound(&odd)?;
    }
    odd.api.script(pages(&[GOOD, MENDED]));
    odd.connection.complete(&[])?;
    assert_eq!(odd.connection.ids("items", "id")?, [1, 2]);
    assert_eq!(odd.letters()?, Vec::<Value>::new());
    sound(&odd)
}

#[test]
fn a_table_is_not_replaced_by_one_that_lacks_most() -> anyhow::Result<()> {
    let odd = Odd::new(pages(&[GOOD, MENDED]))?;
    odd.connection.complete(&[])?;
    odd.api.script(pages(&[GOOD, BAD, r#"{"id":3,"id":3}"#]));
    let run = odd.connection.run(&[])?;
    ensure!(run.code == Some(1), "{run:#?}");
    assert_eq!(
        run.reasons()[1],
        "items: most records could not be stored, so those of earlier runs stay; the next run reads all again"
    );
    assert_eq!(odd.connection.ids("items", "id")?, [1, 2]);
    assert_eq!(odd.letters()?.len(), 2, "the letters are there all the same");
    sound(&odd)?;
    odd.api.script(pages(&[GOOD]));
    odd.connection.complete(&[])?;
    assert_eq!((odd.connection.ids("items", "id")?, odd.letters()?.len()), (vec![1], 0));
    sound(&odd)
}

#[test]
fn an_incremental_stream_asks_from_the_same_watermark_until_the_record_comes() -> anyhow::Result<()> {
    let incremental = json!({"incremental": {"cursor_field": "at", "param": "since"}});
    let odd = Odd::with(pages(&[r#"{"id":1,"at":10}"#]), &incremental)?;
    odd.connection.complete(&[])?;
    for new in [r#"{"id":2,"at":20}"#, r#"{"id":2,"at":20},{"id":3,"at":30}"#] {
        odd.api.script(pages(&[&format!(r#"{{"id":1,"at":10}},{new},{{"id":4,"at":40,"at":41}}"#)]));
        odd.api.forget_requests();
        let run = odd.connection.run(&[])?;
        ensure!(run.code == Some(1), "{run:#?}");
        assert_eq!(odd.api.targets(), ["/items?since=10"]);
        assert_eq!(run.stream("items")["reads"][0]["watermark_after"], Value::Null);
        assert_eq!(odd.letters()?.len(), 1);
        sound(&odd)?;
    }
    assert_eq!(odd.connection.ids("items", "id")?, [1, 2, 3]);
    odd.api.script(pages(&[r#"{"id":1,"at":10},{"id":2,"at":20},{"id":3,"at":30},{"id":4,"at":40}"#]));
    odd.api.forget_requests();
    let run = odd.connection.complete(&[])?;
    assert_eq!(odd.api.targets(), ["/items?since=10"]);
    assert_eq!(run.stream("items")["reads"][0]["watermark_after"], "40");
    assert_eq!((odd.connection.ids("items", "id")?, odd.letters()?.len()), (vec![1, 2, 3, 4], 0));
    sound(&odd)?;

    // The table made anew of all runs has nothing twice, though three of them began at one watermark.
    let out = odd.connection.out().display().to_string();
    let runs: Vec<Value> = serde_json::from_str(&call(&["runs", "--out", &out, "--json"])?.stdout)?;
    let ids: Vec<&str> = runs.iter().filter_map(|run| run["run"].as_str()).collect();
    let made = call(&[&["reprocess", "items", "--out", &out, "--from"], ids.as_slice()].concat())?;
    ensure!(made.code == Some(0), "{made:#?}");
    assert_eq!(odd.connection.ids("items", "id")?, [1, 2, 3, 4]);
    sound(&odd)
}

#[test]
fn letters_of_a_run_that_failed_later_are_kept_and_counted_once() -> anyhow::Result<()> {
    let fails = Rule::always(Action::Status(500, RetryAfter::None)).containing("cursor=1");
    let rules = [vec![fails], pages(&[&format!("{GOOD},{BAD}"), r#"{"id":3}"#])].concat();
    let odd = Odd::new(rules)?;
    let run = odd.connection.run(&["--attempts", "1"])?;
    ensure!(run.code == Some(1) && run.reasons().len() == 2, "{run:#?}");
    assert_eq!((odd.connection.ids("items", "id")?, odd.letters()?.len()), (vec![1], 1));
    let file = odd.dead_files()?;

    odd.api.script(pages(&[&format!("{GOOD},{BAD}"), r#"{"id":3}"#]));
    odd.api.forget_requests();
    let run = odd.connection.run(&[])?;
    assert_eq!(odd.api.targets(), ["/items?cursor=1"]);
    ensure!(run.code == Some(1), "{run:#?}");
    let name = file[0].file_name().and_then(|name| name.to_str()).context("a name")?;
    let reason = format!("items: 1 record could not be stored; it is in items/{name}, with the reason");
    assert_eq!(run.reasons()[0], reason);
    assert_eq!(run.stream("items")["dead_letters"], 1);
    assert_eq!((odd.connection.ids("items", "id")?, odd.dead_files()?), (vec![1, 3], file));
    sound(&odd)
}

#[test]
fn only_so_many_may_be_kept_aside() -> anyhow::Result<()> {
    for (most, stored) in [("0", vec![]), ("1", vec![1])] {
        let odd = Odd::new(pages(&[&format!("{GOOD},{BAD}"), r#"{"id":3},{"id":4,"id":5}"#]))?;
        let run = odd.connection.run(&["--max-dead-letters", most])?;
        ensure!(run.code == Some(1), "{run:#?}");
        let (page, what) = if most == "0" {
            ("/items", "record 1 has a name twice: `/name`")
        } else {
            ("/items?cursor=1", "record 1 has a name twice: `/id`")
        };
        let reason = format!(
            "items: the answer of {} cannot be taken as records: {what}; there would be more dead letters than \
             --max-dead-letters allows: {most}",
            odd.api.url(page)
        );
        assert_eq!(run.reasons()[0], reason);
        assert_eq!(odd.connection.ids("items", "id")?, stored);
        sound(&odd)?;
        // With more of them the read goes on where it ended.
        let run = odd.connection.run(&["--max-dead-letters", "2"])?;
        ensure!(run.code == Some(1), "{run:#?}");
        assert_eq!((odd.connection.ids("items", "id")?, odd.letters()?.len()), (vec![1, 3], 2));
    }
    Ok(())
}

#[test]
fn a_replay_makes_the_letters_again_and_damage_to_them_is_found() -> anyhow::Result<()> {
    let odd = Odd::new(pages(&[GOOD, BAD]))?;
    let run = odd.connection.run(&[])?;
    let out = odd.connection.out();
    let (to, text) = (out.with_file_name("again"), out.display().to_string());
    let replayed = call(&["replay", "--out", &text, "--to", &to.display().to_string()])?;
    ensure!(replayed.code == Some(0), "{replayed:#?}");
    let file = odd.dead_files()?.remove(0);
    let name = format!("_dead-{}-00000.ndjson", id(&run));
    assert_eq!(fs::read(to.join("items").join(&name))?, fs::read(&file)?);
    let listed = call(&["runs", "--out", &text])?;
    ensure!(listed.stdout.contains(&file.display().to_string()), "{}", listed.stdout);

    let letters = fs::read_to_string(&file)?;
    for (damage, found) in [
        (letters.replace("zwei", "drei"), format!("items/{name} does not hold the records of its archive")),
        (letters.replace("\"raw\":", "xraw\":"), format!("{name} cannot be read: line 1: ")),
        (String::new(), "1 of its records could not be stored, and its dead letters are 0".to_owned()),
    ] {
        fs::write(&file, damage)?;
        let verified = call(&["verify", &text])?;
        ensure!(verified.code == Some(1) && verified.stdout.contains(&found), "{found}\n{}", verified.stdout);
    }
    fs::remove_file(&file)?;
    let verified = call(&["verify", &text])?;
    ensure!(verified.code == Some(1) && verified.stdout.contains(&format!("{name} is missing")), "{}", verified.stdout);
    // Whoever has dealt with them may remove them: the next run goes on.
    odd.api.script(pages(&[GOOD, MENDED]));
    odd.connection.complete(&[])?;
    assert_eq!(odd.connection.ids("items", "id")?, [1, 2]);
    sound(&odd)
}

#[test]
fn a_total_counts_what_could_not_be_stored() -> anyhow::Result<()> {
    let total = json!({"total": "/total"});
    for (said, code) in [(3, "complete"), (4, "incomplete")] {
        let text = |second: &str| format!(r#"{{"items":[{GOOD},{second},{{"id":3}}],"total":{said}}}"#);
        let odd = Odd::with(vec![body(&text(BAD))], &total)?;
        let run = odd.connection.run(&[])?;
        let short =
            run.reasons().iter().any(|reason| reason.contains("3 records came, and the API says that there are 4"));
        ensure!(short == (code == "incomplete"), "{run:#?}");
        ensure!(run.reasons().iter().any(|reason| reason.contains("1 record could not be stored")), "{run:#?}");
    }
    Ok(())
}

#[test]
fn a_long_record_is_kept_in_part() -> anyhow::Result<()> {
    let long = format!(r#"{{"id":2,"text":"{}"}}"#, "é".repeat(1 << 20));
    let odd = Odd::new(pages(&[&format!("{GOOD},{long}")]))?;
    let run = odd.connection.run(&["--max-record", "1MiB"])?;
    ensure!(run.code == Some(1), "{run:#?}");
    let letter = odd.letters()?.remove(0);
    let raw = letter["raw"].as_str().context("a text")?;
    assert_eq!((&letter["bytes"], &letter["kept_bytes"]), (&json!(long.len()), &json!(raw.len())));
    ensure!(long.starts_with(raw) && raw.len() > 1_000_000 && raw.len() <= 1 << 20, "{} bytes", raw.len());
    // With the limit raised it is a record like any other.
    odd.connection.complete(&["--max-record", "3MiB"])?;
    let found = odd.connection.records("items")?;
    assert_eq!(found, [json!({"id": 1, "name": "one"}), serde_json::from_str::<Value>(&long)?]);
    assert_eq!(odd.letters()?.len(), 0);
    Ok(())
}

#[test]
fn killed_runs_lose_and_double_no_letter() -> anyhow::Result<()> {
    const PAGES: u64 = 30;
    let page = |number| format!(r#"{{"id":{number}}},{{"id":{number},"id":0}}"#);
    let records: Vec<String> = (1..=PAGES).map(page).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let odd = Odd::new(pages(&records))?;
    let more = ["--part-rows", "2", "--format", "jsonl"];
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..12 {
        let child = odd.connection.start(&more)?;
        // A random moment; the test needs no certain one.
        std::thread::sleep(std::time::Duration::from_millis(random.u64(5..150)));
        child.killed()?;
    }
    let run = odd.connection.run(&more)?;
    ensure!(run.code == Some(1), "{run:#?}");
    assert_eq!(run.stream("items")["dead_letters"], PAGES);
    assert_eq!(odd.connection.ids("items", "id")?, (1..=PAGES).collect::<Vec<_>>());
    let mut places: Vec<u64> = odd.letters()?.iter().filter_map(|letter| letter["page"].as_u64()).collect();
    places.sort_unstable();
    assert_eq!(places, (0..PAGES).collect::<Vec<_>>());
    sound(&odd)
}
