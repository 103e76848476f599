use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::*;
use crate::schema::{Kinds, Schema, Type};

fn table(key: &[&str]) -> Table {
    Table::new(Schema::default(), key.iter().map(|part| (*part).to_owned()).collect(), 16, 1 << 20)
}

fn page(text: &str) -> Page {
    Page::from_json(Bytes::copy_from_slice(text.as_bytes()))
}

fn with(text: &str, extra: &[(&str, &str)]) -> Page {
    let extra = extra.iter().map(|(name, json)| ((*name).to_owned(), (*json).to_owned())).collect();
    Page { extra, ..page(text) }
}

fn append(table: &mut Table, page: &Page) -> Result<Appended, RecordError> {
    loop {
        match table.append(page) {
            Ok(appended) => return Ok(appended),
            Err(Refused::Widen(schema)) => table.widen(schema),
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Full) => unreachable!("no test fills a column"),
        }
    }
}

fn batch(pages: &[&str]) -> RecordBatch {
    let mut table = table(&[]);
    for text in pages {
        append(&mut table, &page(text)).unwrap_or_else(|error| unreachable!("{text}: {error}"));
    }
    table.batch().unwrap_or_else(|error| unreachable!("{error}"))
}

fn refused(text: &str) -> String {
    append(&mut table(&[]), &page(text)).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A row of an array as JSON; null fields of an object are left out.
pub(crate) fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            json!(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Struct(fields) => {
            let names = fields.iter().map(|field| field.name());
            object(names.zip(array.as_struct().columns()), row)
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(&items, item)).collect()
        }
        other => unreachable!("no column is made of this type: {other}"),
    }
}

fn object<'a>(columns: impl Iterator<Item = (&'a String, &'a ArrayRef)>, row: usize) -> Value {
    let all = columns.map(|(name, column)| (name.clone(), value(column, row)));
    Value::Object(all.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
}

pub(crate) fn rows(batch: &RecordBatch) -> Vec<Value> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| object(schema.fields().iter().map(|field| field.name()).zip(batch.columns()), row))
        .collect()
}

fn kinds(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect()
}

#[test]
fn values_become_typed_columns() {
    let batch = batch(&[
        r#"[{"id":1,"name":"é","ok":true,"score":1.5,"none":null,"owner":{"id":7,"tags":["a",null]},"list":[]}]"#,
        r#"[{"name":"\u0000\ud83d\ude00","id":-5,"extra":[[1],[]],"owner":null},{}]"#,
    ]);
    assert_eq!(kinds(&batch)[..5], ["Int64", "Utf8", "Boolean", "Float64", "Null"]);
    assert_eq!(
        rows(&batch),
        [
            json!({"id":1,"name":"é","ok":true,"score":1.5,"owner":{"id":7,"tags":["a",null]},"list":[]}),
            json!({"id":-5,"name":"\0😀","extra":[[1],[]]}),
            json!({})
        ]
    );
}

/// Numbers that look like chance and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Whitespace, mostly none.
    fn space(&mut self, style: u64) -> &'static str {
        match style {
            0 => "",
            1 => " ",
            2 => "\n    \t",
            _ => ["", "", " ", "\r\n"][self.below(4) as usize],
        }
    }

    /// A record, and what it should be read as.
    fn record(&mut self, style: u64, names: &[String]) -> (String, Value) {
        let mut text = "{".to_owned();
        let (mut all, mut used) = (Map::new(), Vec::new());
        let first = self.below(4) as usize % names.len();
        for place in 0..names.len() {
            if self.below(5) == 0 {
                continue;
            }
            // Most records have one order; some fields are lacking.
            let name = &names[(place + if self.below(9) == 0 { first } else { 0 }) % names.len()];
            let value = match (name.len() % 6, self.below(7)) {
                (_, 0) => Value::Null,
                (0, more) => json!(10_i64.pow(more as u32) + place as i64),
                (1, more) => json!("é\n\"🦀".repeat(more as usize)),
                (2, more) => json!(more > 3),
                (3, more) => json!({"a": more, "b": {"c": [more as f64 + 0.5, 1.5]}}),
                (4, more) => json!(["x".repeat(more as usize * 9), "", null]),
                (_, more) => json!("y".repeat(more as usize * 13)),
            };
            if used.contains(&name) {
                continue;
            }
            used.push(name);
            let comma = if used.len() == 1 { "" } else { "," };
            let (before, after) = (self.space(style), self.space(style));
            text += &format!("{comma}{before}{}:{after}{value}", json!(name));
            if !value.is_null() {
                all.insert(name.clone(), value);
            }
        }
        (text + self.space(style) + "}", Value::Object(all))
    }
}

#[test]
fn records_are_read_as_they_are_written_in_any_order_and_with_any_whitespace() {
    let mut dice = Dice(7);
    for (style, count) in (0..40u64).map(|round| (round % 4, 1 + round % 13)) {
        let names: Vec<_> =
            (0..count).map(|place| format!("f{}{place}", "n".repeat(dice.below(50) as usize))).collect();
        let (mut best, mut plain) = (table(&[]), table(&[]));
        plain.plainly();
        let mut all = Vec::new();
        for _ in 0..5 {
            let records: Vec<_> = (0..30).map(|_| dice.record(style, &names)).collect();
            let texts: Vec<_> = records.iter().map(|(text, _)| text.as_str()).collect();
            let text = format!("[{}]", texts.join(&format!("{},", dice.space(style))));
            for table in [&mut best, &mut plain] {
                append(table, &page(&text)).unwrap_or_else(|error| unreachable!("{text}: {error}"));
            }
            all.extend(records.into_iter().map(|(_, record)| record));
        }
        let (best, plain) = (best.batch().unwrap(), plain.batch().unwrap());
        assert_eq!(best, plain);
        for (row, record) in rows(&best).iter().zip(&all) {
            assert_eq!(row, record);
        }
    }
}

#[test]
fn what_stood_before_a_value_the_last_time_does_not_make_it_json() {
    for (good, bad) in [
        (r#"[{"a":1},{"b":2,"a":1},{"a":1,"b":2}]"#, r#"[{"a":1{"b":2}]"#),
        (r#"[{"a":1,"b":2}]"#, r#"[{,"a":1}]"#),
        (r#"[{"a":1,"b":2}]"#, r#"[{"a":1"b":2}]"#),
        (r#"[{"a":1,"b":2}]"#, r#"[{"a":1,"b":2,}]"#),
        (r#"[{"a":{"c":1},"b":2}]"#, r#"[{"a":{"c":1,"b":2}]"#),
        (r#"[{"a":"x","b":"y"}]"#, r#"[{"a":"x"","b":"y"}]"#),
        (r#"[{"a":1,"b":2}]"#, r#"[{"a":1,"b":2,"a":3}]"#),
    ] {
        let mut table = table(&[]);
        append(&mut table, &page(good)).unwrap_or_else(|error| unreachable!("{good}: {error}"));
        assert!(append(&mut table, &page(bad)).is_err(), "{bad}");
        append(&mut table, &page(good)).unwrap_or_else(|error| unreachable!("{good}: {error}"));
        assert_eq!(rows(&table.batch().unwrap()).len(), 2 * good.matches("\"a\":").count().max(1), "{good}");
    }
}

#[test]
fn pages_may_be_an_object_an_array_or_lines() {
    for (text, count) in
        [(r#"{"a":1}"#, 1), (r#"[{"a":1},{"a":2}]"#, 2), ("{\"a\":1}\n{\"a\":2}\n", 2), (" [ ] ", 0), ("", 0)]
    {
        assert_eq!(append(&mut table(&[]), &page(text)).map(|appended| appended.records), Ok(count), "{text}");
    }
    let selected = |text: &str| {
        let document = crate::json::Document::new(Bytes::copy_from_slice(text.as_bytes()), 16);
        let page =
            Page::select(&document, "", Vec::new()).ok().flatten().unwrap_or_else(|| unreachable!("the body is there"));
        append(&mut table(&[]), &page).map(|appended| appended.records).map_err(|error| error.to_string())
    };
    assert_eq!(selected(r#"{"a":1}"#), Ok(1));
    assert_eq!(selected("\u{feff}[{}]"), Ok(1));
    assert_eq!(
        selected("{}{}"),
        Err("record 1 is not valid JSON at ``, byte 2 of the body: unexpected `{` after the value".to_owned())
    );
    assert_eq!(selected("null"), Err("an array of objects or one object was expected, found null".to_owned()));
    assert!(selected("").is_err());
    assert!(selected("[{},{}").is_err());
    assert!(selected("[{},").is_err());
}

#[test]
fn numbers_widen_and_are_never_rounded() {
    let column = |values: &str| {
        let items: Vec<&str> = values.split(' ').collect();
        let together = batch(&[&format!(
            "[{}]",
            items.iter().map(|item| format!("{{\"v\":{item}}}")).collect::<Vec<_>>().join(",")
        )]);
        let apart = batch(
            &items
                .iter()
                .map(|item| format!("[{{\"v\":{item}}}]"))
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
        assert_eq!(kinds(&together), kinds(&apart), "{values}");
        let texts: Vec<String> = rows(&apart).iter().map(|row| row["v"].to_string()).collect();
        (kinds(&apart)[0].clone(), texts.join(" "))
    };
    let is = |kind: &str, texts: &str| (kind.to_owned(), texts.to_owned());
    assert_eq!(column("1 9223372036854775807"), is("Int64", "1 9223372036854775807"));
    assert_eq!(column("1 2.5 9007199254740992"), is("Float64", "1.0 2.5 9007199254740992.0"));
    assert_eq!(column("9007199254740993 2.5"), is("Utf8", r#""9007199254740993" "2.5""#));
    assert_eq!(column("2.5 9007199254740993"), is("Utf8", r#""2.5" "9007199254740993""#));
    assert_eq!(column("1 9223372036854775808"), is("Utf8", r#""1" "9223372036854775808""#));
    assert_eq!(column("0.5 0.123456789012345678901"), is("Utf8", r#""0.5" "0.123456789012345678901""#));
    assert_eq!(column("1 1e400 2"), is("Utf8", r#""1" "1e400" "2""#));
}

#[test]
fn mixed_kinds_become_text_or_json_text() {
    let scalars = batch(&[r#"[{"v":1},{"v":true}]"#, r#"[{"v":"1"},{"v":-1.50},{"v":null}]"#]);
    assert_eq!(
        rows(&scalars),
        [json!({"v":"1"}), json!({"v":"true"}), json!({"v":"1"}), json!({"v":"-1.50"}), json!({})]
    );
    let mixed = batch(&[
        r#"[{"v":1},{"v":true}]"#,
        r#"[{"v":"1"},{"v":null},{"v":2.5}]"#,
        r#"[{"v":{"a" : [ 1, "x y" ]}},{"v":"q\"\u00e9"},{"v":[]}]"#,
    ]);
    let texts: Vec<Value> = rows(&mixed).into_iter().map(|row| row["v"].clone()).collect();
    assert_eq!(
        texts,
        [
            json!("1"),
            json!("true"),
            json!("\"1\""),
            Value::Null,
            json!("2.5"),
            json!(r#"{"a":[1,"x y"]}"#),
            json!(r#""q\"\u00e9""#),
            json!("[]")
        ]
    );
    let structured =
        batch(&[r#"[{"v":{"a":1,"b":null,"c":{"d":["x",null,1.5]}}},{"v":null},{"v":{}}]"#, r#"[{"v":[1]}]"#]);
    let texts: Vec<Value> = rows(&structured).into_iter().map(|row| row["v"].clone()).collect();
    assert_eq!(texts, [json!(r#"{"a":1,"c":{"d":["x",null,1.5]}}"#), Value::Null, json!("{}"), json!("[1]")]);
}

#[test]
fn odd_names_stay_apart() {
    let text = r#"[{"":1,"a.b":2,"A":3,"a":4,"😀":5,"a\"b":6,"n\u0000":7,"/":8}]"#;
    let batch = batch(&[text, text]);
    let expected: Value = serde_json::from_str(text).unwrap_or_default();
    assert_eq!(rows(&batch), [expected[0].clone(), expected[0].clone()]);
}

#[test]
fn what_is_refused_has_its_place() {
    for (text, message) in [
        (r#"[{"a":1},{"a":1,"b":{"c":[0,{"x":1,"x":2}]}}]"#, "record 1 has a name twice: `/b/c/1/x`"),
        (r#"[{"a":1,"\u0061":2}]"#, "record 0 has a name twice: `/a`"),
        (
            r#"[{"a":"\ud800"}]"#,
            "record 0 is not valid JSON at `/a`, byte 7 of the body: half a surrogate pair in a string",
        ),
        (r#"[{},{"a":1},{"b":tru}]"#, "record 2 is not valid JSON at `/b`, byte 20 of the body: unexpected `}`"),
        (r#"[{"a":01}]"#, "record 0 is not valid JSON at `/a`, byte 7 of the body: malformed number"),
        (r#"[{"a":1},7]"#, "record 1 is not an object: a number"),
        (r#"[{"a":1},null]"#, "record 1 is not an object: null"),
        (
            r#"[{"a":1}"#,
            "record 0 is not valid JSON at ``, byte 8 of the body: the text ends in the middle of a value; it may be cut off",
        ),
        (r#"[{"a":1}]]"#, "record 1 is not valid JSON at ``, byte 9 of the body: unexpected `]` after the value"),
        (r#"[{"a/b":{"~":x}}]"#, "record 0 is not valid JSON at `/a~1b/~0`, byte 13 of the body: unexpected `x`"),
    ] {
        assert_eq!(refused(text), message);
    }
    let deep = format!(r#"[{{"a":{}1{}}}]"#, "[".repeat(16), "]".repeat(16));
    assert!(refused(&deep).starts_with("record 0 is nested deeper than 16 at `/a/0/0"), "{}", refused(&deep));
    let long = format!(r#"[{{}},{{"a":"{}"}}]"#, "x".repeat(1 << 20));
    assert_eq!(refused(&long), "record 1 is longer than 1048576 bytes: 1048584");
    let invalid = Page::from_json(Bytes::from_static(b"[{\"a\":1},{\"b\":\"\xff\"}]"));
    let message = append(&mut table(&[]), &invalid).err().map(|error| error.to_string());
    assert_eq!(
        message.as_deref(),
        Some("record 1 is not valid JSON at `/b`, byte 15 of the body: bytes that are not UTF-8")
    );
}

#[test]
fn a_refused_page_leaves_nothing() {
    let good = r#"[{"a":1,"t":"x","l":[1,2],"o":{"p":null,"q":"z"},"j":1},{"a":2,"j":[1]},{"l":[],"o":{"q":"y"}}]"#;
    let bad = [
        r#"[{"a":3,"t":"new","l":[4,5],"o":{"p":null,"q":"w"}},{"a":4,"t":"half","l":[6,{}]},{"a":"#,
        r#"[{"a":3,"t":"new","l":[4,5],"o":{"p":null,"q":"w","q":1}}]"#,
        r#"[{"a":3,"t":"new\ud800","l":[4,5]}]"#,
        r#"[{"a":3.5,"fresh":1,"l":[4,x]}]"#,
        r#"[{"l":[4],"a":3},{"l":[5],"j":{"a":1,"a":2}}]"#,
        r#"[{"o":{"q":"v"}},7]"#,
    ];
    let mut clean = table(&[]);
    let mut tried = table(&[]);
    for _ in 0..3 {
        for text in bad {
            assert!(append(&mut tried, &page(text)).is_err(), "{text}");
        }
        assert!(append(&mut clean, &page(good)).is_ok());
        assert!(append(&mut tried, &page(good)).is_ok());
    }
    assert_eq!(clean.schema(), tried.schema());
    let (clean, tried) = (clean.batch(), tried.batch());
    assert_eq!(clean.is_ok(), tried.is_ok());
    assert_eq!(clean.ok(), tried.ok());
}

#[test]
fn constant_fields_are_added_and_must_not_clash() {
    let mut table = table(&["repo", "id"]);
    let extra = [("repo", " \"a/b\" "), ("n", "{\"x\":[1]}")];
    let appended = append(&mut table, &with(r#"[{"id":1},{"id":2}]"#, &extra));
    assert_eq!(appended.map(|appended| (appended.records, appended.key_hashes.len())), Ok((2, 2)));
    assert_eq!(append(&mut table, &with("[]", &[("later", "1")])).map(|appended| appended.records), Ok(0));
    let clash = append(&mut table, &with(r#"[{"id":3},{"id":4,"repo":null}]"#, &extra));
    assert_eq!(clash, Err(RecordError::Clash { index: 1, name: "repo".to_owned() }));
    let broken = append(&mut table, &with("[{}]", &[("x", "1 2")]));
    assert_eq!(broken, Err(RecordError::Extra { name: "x".to_owned(), reason: "more than one value".to_owned() }));
    let twice = append(&mut table, &with("[{}]", &[("x", "1"), ("x", "2")]));
    assert_eq!(twice, Err(RecordError::Extra { name: "x".to_owned(), reason: "added twice".to_owned() }));
    let batch = table.batch().unwrap_or_else(|error| unreachable!("{error}"));
    assert_eq!(rows(&batch)[1], json!({"id":2,"repo":"a/b","n":{"x":[1]}}));
    assert_eq!(batch.num_rows(), 2);
}

#[test]
fn a_key_of_one_part_is_the_same_however_it_is_written() {
    let keys = |text: &str| append(&mut table(&["a"]), &page(text)).map(|appended| appended.key_hashes);
    let Ok(hashes) = keys(
        r#"[{"a":1},{"a":"1"},{"a":"\u0031"},{"b":0, "a" : 1 },{"a":true},{"a":"true"},{"a":{"x": 1}},{"a":{"x":1}},{"a":-1}]"#,
    ) else {
        unreachable!("the page is fine")
    };
    let places = [0, 1, 1, 0, 2, 3, 4, 4, 5];
    for (one, place) in hashes.iter().zip(places) {
        for (two, other) in hashes.iter().zip(places) {
            assert_eq!(one == two, place == other);
        }
    }
}

#[test]
fn keys_tell_values_and_their_borders_apart() {
    let keys = |text: &str| {
        append(&mut table(&["a", "b"]), &page(text)).map(|appended| (appended.key_hashes, appended.missing_keys))
    };
    let Ok((hashes, missing)) = keys(
        r#"[{"a":1,"b":2},{"a":"1","b":2},{"a":"1","b":"2"},{"a":12,"b":""},{"a":1,"b":"2"},{"b":2,"a":1},{"a":"\u0031","b":"2"},
        {"a":1},{"a":1,"b":null},{"a":{"x": 1},"b":0},{"a":{"x":1},"b":0}]"#,
    ) else {
        unreachable!("the page is fine")
    };
    assert_eq!(missing, 2);
    let places = [0, 1, 2, 3, 4, 0, 2, 5, 5];
    for (one, place) in hashes.iter().zip(places) {
        for (two, other) in hashes.iter().zip(places) {
            assert_eq!(one == two, place == other);
        }
    }
}

#[test]
fn equal_pages_have_equal_hashes() {
    let hash = |page: &Page| append(&mut table(&[]), page).map(|appended| appended.content_hash).unwrap_or_default();
    assert_eq!(hash(&page("[{}]")), hash(&page("[{}]")));
    assert_ne!(hash(&page("[{}]")), hash(&page("[{},{}]")));
    assert_ne!(hash(&with("[{}]", &[("p", "1")])), hash(&with("[{}]", &[("p", "2")])));
}

#[test]
fn declared_columns_come_first_and_hold_only_what_fits() {
    let declared = r#"{"properties":{"at":{"type":"string","format":"date-time"},"n":{"type":"number"},"late":{"type":"string","format":"date-time"},"gone":{"type":"string"}}}"#;
    let schema = Schema::from_json_schema(declared).unwrap_or_default();
    let mut table = Table::new(schema, Vec::new(), 16, 1 << 20);
    let text = r#"[{"more":1,"late":"2024-01-01T00:00:00+01:00","at":"1970-01-01T00:00:01Z","n":1},{"late":"2024-01-01T00:00:00.1234567Z"}]"#;
    assert!(append(&mut table, &page(text)).is_ok());
    assert!(append(&mut table, &page(r#"[{"late":"yesterday"}]"#)).is_ok());
    assert_eq!(table.schema().fields.get("late"), Some(&Type::Text(Kinds::TEXT)));
    let batch = table.batch().unwrap_or_else(|error| unreachable!("{error}"));
    assert_eq!(kinds(&batch), ["Timestamp(µs, \"UTC\")", "Float64", "Utf8", "Utf8", "Int64"]);
    assert_eq!(rows(&batch)[0], json!({"at":1_000_000,"n":1.0,"late":"2024-01-01T00:00:00+01:00","more":1}));
    assert_eq!(rows(&batch)[2], json!({"late":"yesterday"}));
}

#[test]
fn a_map_of_many_keys_is_json_text() {
    let members: Vec<String> = (0..1500).map(|id| format!("\"k{id}\":{id}")).collect();
    let batch = batch(&["[{\"m\":{\"k0\":0}}]", &format!("[{{\"m\":{{{}}}}}]", members.join(","))]);
    assert_eq!(kinds(&batch), ["Utf8"]);
    assert_eq!(rows(&batch)[0], json!({"m":"{\"k0\":0}"}));
}

#[test]
fn ten_thousand_fields_are_columns() {
    let record = |from: usize| {
        format!("{{{}}}", (from..from + 5000).map(|id| format!("\"f{id}\":{id}")).collect::<Vec<_>>().join(","))
    };
    let batch = batch(&[&format!("[{},{}]", record(0), record(5000)), &format!("[{}]", record(2500))]);
    assert_eq!((batch.num_columns(), batch.num_rows()), (10_000, 3));
    assert_eq!(rows(&batch)[1]["f7777"], json!(7777));
    assert_eq!(Arc::clone(batch.column(9_999)).null_count(), 2);
    let many = format!("{{{}}}", (0..20_001).map(|id| format!("\"f{id}\":1")).collect::<Vec<_>>().join(","));
    assert_eq!(refused(&many), "the records have more fields than the limit of 20000");
}

#[test]
fn fields_that_most_records_lack_do_not_take_memory_without_end() {
    let fields: Vec<String> = (0..1_000).map(|field| format!("\"f{field}\":1")).collect();
    let wide = format!("{{{}}}", fields.join(","));
    // 8 KB a row: 64 Ki of them are 512 MiB.
    let rows = format!("[{wide}{}]", ",{}".repeat(70_000));
    let items = format!("[{{\"items\":[{wide}{}]}}]", ",{}".repeat(70_000));
    assert_eq!(
        refused(&rows),
        "record 67108 makes the page take more than 512 MiB as columns, most of them empty; ask for smaller pages, or \
         write --format jsonl"
    );
    assert!(refused(&items).starts_with("record 0 makes the page take more than 512 MiB"));

    let mut table = table(&[]);
    append(&mut table, &page(&wide)).unwrap_or_else(|error| unreachable!("{error}"));
    append(&mut table, &page(&format!("[{{}}{}]", ",{}".repeat(999)))).unwrap_or_else(|error| unreachable!("{error}"));
    assert_eq!(table.bytes(), 1_001 * 8_000, "rows count with what is filled in at the end");
}
