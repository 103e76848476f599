//! Values and names that a table has trouble with, each as it comes back from Parquet, from JSON lines, and in DuckDB.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{program, rows};

use super::{Odd, body, pages};

/// Reads pages into both formats, expects it to be complete, and returns what came back from Parquet.
fn stored(records: &[&str]) -> anyhow::Result<(Odd, Vec<Value>)> {
    let lines = Odd::new(pages(records))?;
    lines.connection.complete(&["--format", "jsonl"])?;
    let sent: Vec<Value> = serde_json::from_str(&format!("[{}]", records.join(",")))?;
    let found = lines.connection.records("items")?;
    ensure!(found == sent, "as JSON lines: {found:#?}");
    let odd = Odd::new(pages(records))?;
    odd.connection.complete(&[])?;
    let found = odd.connection.records("items")?;
    Ok((odd, found))
}

fn without_nulls(records: &str) -> anyhow::Result<Vec<Value>> {
    let sent: Vec<Value> = serde_json::from_str(records)?;
    Ok(sent.iter().map(rows::without_nulls).collect())
}

#[test]
fn odd_names_stay_apart() -> anyhow::Result<()> {
    let first = r#"{"id":1,"":"nothing","a.b":"dot","A":"upper","a":"lower","😀":"face","a\"b":"quote","n\u0000":"NUL","/":"slash",
        "s":{"":1,"A":2,"a":3,"x.y":4,"😀":5}}"#;
    // In another order, so that whoever goes by places instead of names is found out.
    let second = r#"{"a":"lower 2","😀":"face 2","":"nothing 2","A":"upper 2","id":2,"s":{"a":6,"A":7,"":8}}"#;
    let (odd, found) = stored(&[first, second])?;
    assert_eq!(found, without_nulls(&format!("[{first},{second}]"))?);
    // DuckDB tells no case apart: the name that came second gets a number. It calls a column without a name by its place.
    let (columns, rows) = odd.duckdb(r#""A", a_1, "a.b", "😀", C1, s"#)?;
    assert_eq!(columns, json!(["A", "a_1", "a.b", "😀", "C1", "s"]));
    assert_eq!(
        rows,
        json!([
            ["upper", "lower", "dot", "face", "nothing", {"": 1, "A": 2, "a_1": 3, "x.y": 4, "😀": 5}],
            ["upper 2", "lower 2", null, "face 2", "nothing 2", {"": 8, "A": 7, "a_1": 6, "x.y": null, "😀": null}],
        ])
    );
    Ok(())
}

#[test]
fn numbers_are_never_rounded() -> anyhow::Result<()> {
    let first = r#"{"id":1,"exact":9007199254740992,"wide":9007199254740993,"last":9223372036854775807,"least":-9223372036854775808,
        "beyond":9223372036854775808,"far":123456789012345678901234567890,"mixed":1.5,"long":0.1234567890123456789,"tiny":5e-324,
        "huge":1e400,"sum":0.30000000000000004,"zero":-0.0,"power":1e3}"#;
    let second = r#"{"id":2,"exact":1.5,"mixed":9007199254740993,"beyond":1,"zero":1}"#;
    let odd = Odd::new(pages(&[first, second]))?;
    odd.connection.complete(&[])?;
    let expected = json!([
        {"id": 1, "exact": 9_007_199_254_740_992_f64, "wide": 9_007_199_254_740_993_u64, "last": i64::MAX, "least": i64::MIN,
         "beyond": "9223372036854775808", "far": "123456789012345678901234567890", "mixed": "1.5",
         "long": "0.1234567890123456789", "tiny": "5e-324", "huge": "1e400", "sum": 0.300_000_000_000_000_04, "zero": -0.0,
         "power": 1000.0},
        {"id": 2, "exact": 1.5, "mixed": "9007199254740993", "beyond": "1", "zero": 1.0},
    ]);
    assert_eq!(json!(odd.connection.records("items")?), expected);
    // JSON lines have the digits as they came.
    let lines = Odd::new(pages(&[first, second]))?;
    lines.connection.complete(&["--format", "jsonl"])?;
    let part = program::parts(&lines.connection.out(), "items")?.remove(0);
    let text: String = first.split_whitespace().collect();
    assert_eq!(std::fs::read_to_string(part)?, format!("{text}\n{second}\n"));
    Ok(())
}

#[test]
fn texts_stay_what_they_are() -> anyhow::Result<()> {
    let texts = [
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "null",
        "true",
        "1",
        "1e5",
        "0x10",
        "",
        " ",
        "2024-01-01T00:00:00Z",
        "9007199254740993",
        "a\\u0000b",
        "\\u0000",
        "\\ufeff",
        "\\uffff",
        "\\ud83d\\ude00",
        "é",
        "e\\u0301",
        "\\u202e",
        "\\n\\r\\t\\u001f",
    ];
    let records: Vec<String> =
        (1..).zip(texts).map(|(id, text)| format!(r#"{{"id":{id},"text":"{text}","list":["{text}"]}}"#)).collect();
    let records = records.join(",");
    let (odd, found) = stored(&[&records])?;
    assert_eq!(found, without_nulls(&format!("[{records}]"))?);
    let (_, rows) = odd.duckdb("text")?;
    let sent: Vec<Value> = found.iter().map(|record| json!([record["text"]])).collect();
    assert_eq!(rows, json!(sent));
    Ok(())
}

#[test]
fn a_stream_without_records_leaves_a_file_that_can_be_read() -> anyhow::Result<()> {
    let odd = Odd::new(pages(&[""]))?;
    odd.connection.complete(&[])?;
    assert_eq!(odd.connection.records("items")?, Vec::<Value>::new());
    let parts = program::parts(&odd.connection.out(), "items")?;
    let (_, rows) = tests::duckdb::query(&format!("SELECT count(*) FROM '{}'", parts[0].display()))?;
    assert_eq!((parts.len(), rows), (1, json!([[0]])));
    Ok(())
}

#[test]
fn fields_that_come_in_the_middle_of_a_part_and_in_later_parts_are_read_as_one_table() -> anyhow::Result<()> {
    let incremental = json!({"incremental": {"cursor_field": "at", "param": "since"}});
    let first = [
        r#"{"id":1,"at":1,"v":1}"#,
        r#"{"id":2,"at":1,"v":2.5,"new":true,"o":{"a":1}}"#,
        r#"{"id":3,"at":1,"o":{"b":[{"c":"x"}],"a":null},"v":null}"#,
    ];
    let second = [r#"{"id":4,"at":2,"later":"y","o":{"d":0.5}}"#, r#"{"o":{"a":7,"b":[]},"new":false,"at":3,"id":5}"#];
    let odd = Odd::with(pages(&first), &incremental)?;
    odd.connection.complete(&[])?;
    // "Since" a moment means that a record of that moment comes again.
    odd.api.script(pages(&[&format!("{},{}", first[2], second[0]), second[1]]));
    odd.connection.complete(&[])?;
    assert_eq!(program::parts(&odd.connection.out(), "items")?.len(), 2);
    let mut found = odd.connection.records("items")?;
    found.sort_by_key(|record| record["id"].as_u64());
    let sent = without_nulls(&format!("[{},{}]", first.join(","), second.join(",")))?;
    let mut expected = sent.clone();
    // A column of fractions has them all.
    expected[0]["v"] = json!(1.0);
    assert_eq!(found, expected);
    let (_, rows) = odd.duckdb("id, v, new, later, o.a, o.d, o.b[1].c")?;
    assert_eq!(
        rows,
        json!([
            [1, 1.0, null, null, null, null, null],
            [2, 2.5, true, null, 1, null, null],
            [3, null, null, null, null, null, "x"],
            [4, null, null, "y", null, 0.5, null],
            [5, null, false, null, 7, null, null],
        ])
    );
    Ok(())
}

#[test]
fn ten_thousand_columns_are_columns() -> anyhow::Result<()> {
    let record = |id: u32, from: usize| {
        let fields: Vec<String> = (from..from + 5_000).map(|field| format!("\"f{field}\":{field}")).collect();
        format!("{{\"id\":{id},{}}}", fields.join(","))
    };
    let (first, second) = (record(1, 0), record(2, 5_000));
    let odd = Odd::new(pages(&[&first, &second]))?;
    odd.connection.complete(&[])?;
    let (columns, rows) = odd.duckdb("*")?;
    assert_eq!(columns.as_array().map(Vec::len), Some(10_001));
    assert_eq!((&rows[0][5_000], &rows[0][5_001], &rows[1][10_000]), (&json!(4_999), &json!(null), &json!(9_999)));
    Ok(())
}

#[test]
fn more_fields_than_a_table_can_have_end_the_read_with_what_to_do() -> anyhow::Result<()> {
    let fields: Vec<String> = (0..20_001).map(|field| format!("\"f{field}\":1")).collect();
    let odd = Odd::new(pages(&[&format!("{{{}}}", fields.join(","))]))?;
    let run = odd.connection.run(&[])?;
    ensure!(run.code == Some(1), "{run:#?}");
    let reason = format!(
        "items: the answer of {} cannot be taken as records: the records have more fields than the limit of 20000; have the \
         connector put those that come and go into one object, which becomes JSON text in one column",
        odd.api.url("/items")
    );
    assert_eq!(run.reasons(), [reason]);
    Ok(())
}

#[test]
fn a_body_that_is_not_json_ends_the_read_with_the_place() -> anyhow::Result<()> {
    let deep = format!(r#"{{"items":[{{"id":1,"a":{}1{}}}],"next":null}}"#, "[".repeat(9), "]".repeat(9));
    for (text, place) in [
        (
            "{\"items\":[{\"id\":1},{\"id\":2}],\"next\":\"\0\"}",
            "line 1, column 38: control character U+0000 in a string",
        ),
        (r#"{"items":[{"id":1},{"id":2}],"next":"\x"}"#, "line 1, column 38: unknown escape in a string"),
        (
            r#"{"items":[{"id":1},{"id":2,"a":"#,
            "line 1, column 32: the text ends in the middle of a value; it may be cut off",
        ),
        (deep.as_str(), "nested more deeply than --max-json-depth allows"),
    ] {
        let odd = Odd::new(vec![body(text)])?;
        let run = odd.connection.run(&["--max-json-depth", "9"])?;
        ensure!(run.code == Some(1) && run.reasons().len() == 1, "{run:#?}");
        ensure!(run.reasons()[0].contains(place), "{place}: {:?}", run.reasons());
        assert_eq!(odd.connection.records("items")?, Vec::<Value>::new());
    }
    Ok(())
}
