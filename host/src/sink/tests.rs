use std::fs;
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::RecordBatch;
use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::record::tests::rows;
use crate::schema::{Fields, Type};
use arrow_schema::DataType;

const SMALL: Limits = Limits { max_depth: 16, max_record_bytes: 1 << 20, row_group_rows: 5, row_group_bytes: 8 << 20 };

fn names(folder: &Path, suffix: &'static str) -> NextPath {
    let folder = folder.to_owned();
    let mut number = 0;
    Box::new(move || {
        number += 1;
        folder.join(format!(".part-{number}.{suffix}.tmp"))
    })
}

fn parquet(folder: &Path, limits: Limits) -> Parquet {
    Parquet::new(Schema::default(), vec!["id".to_owned()], limits, names(folder, "parquet"))
}

fn lines(folder: &Path) -> JsonLines {
    JsonLines::new(Schema::default(), vec!["id".to_owned()], SMALL, names(folder, "jsonl"))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|error| unreachable!("{error}"))
}

fn page(text: &str) -> Page {
    Page::from_json(Bytes::copy_from_slice(text.as_bytes()))
}

fn take<T>(result: Result<T, SinkError>) -> T {
    result.unwrap_or_else(|error| unreachable!("{error}"))
}

fn read(sealed: &Sealed) -> Vec<Value> {
    let file = File::open(&sealed.path).unwrap_or_else(|error| unreachable!("{error}"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    let batches: Vec<RecordBatch> = reader.unwrap_or_else(|error| unreachable!("{error}")).flatten().collect();
    let all: Vec<Value> = batches.iter().flat_map(rows).collect();
    assert_eq!(all.len() as u64, sealed.rows);
    assert_eq!(fs::metadata(&sealed.path).map(|file| file.len()).ok(), Some(sealed.bytes));
    all
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).map(|all| all.count()).unwrap_or_default()
}

#[test]
fn rows_come_back_from_parquet_in_order() {
    let folder = folder();
    let mut sink = parquet(folder.path(), SMALL);
    let mut expected = Vec::new();
    for number in 0..23 {
        let record =
            json!({"id": number, "text": format!("row {number}"), "list": vec![number; number % 4], "o": {"x": 0.5}});
        take(sink.append(&page(&record.to_string())));
        expected.push(record);
    }
    assert_eq!(sink.rows(), 23);
    let sealed = take(sink.seal());
    assert_eq!(sealed.len(), 1);
    assert_eq!(read(&sealed[0]), expected);
    assert_eq!((sink.rows(), sink.bytes()), (0, 0));
    assert_eq!(take(sink.seal()), []);
    take(sink.append(&page(r#"{"id":24,"text":"next part"}"#)));
    assert_eq!(read(&take(sink.seal())[0]), [json!({"id":24,"text":"next part"})]);
}

#[test]
fn rows_in_memory_are_widened_in_place() {
    let folder = folder();
    let mut sink = parquet(folder.path(), SMALL);
    take(sink.append(&page(r#"[{"id":1},{"id":2}]"#)));
    take(sink.append(&page(r#"[{"id":"x","more":true}]"#)));
    let sealed = take(sink.seal());
    assert_eq!(sealed.len(), 1);
    assert_eq!(read(&sealed[0]), [json!({"id":"1"}), json!({"id":"2"}), json!({"id":"x","more":true})]);
}

#[test]
fn a_page_that_widens_ends_the_file_and_keeps_what_is_in_it() {
    let folder = folder();
    let mut sink = parquet(folder.path(), SMALL);
    for number in 0..7 {
        take(sink.append(&page(&format!(r#"{{"id":{number}}}"#))));
    }
    take(sink.append(&page(r#"{"id":7,"more":true}"#)));
    // Wider in name alone: the columns stay as they are, and so does the file.
    take(sink.append(&page(r#"{"id":9007199254740993}"#)));
    assert_eq!(sink.rows(), 9);
    let sealed = take(sink.seal());
    assert_eq!(sealed.iter().map(|sealed| sealed.rows).collect::<Vec<_>>(), [5, 4]);
    assert_eq!(read(&sealed[0])[4], json!({"id":4}));
    assert_eq!(read(&sealed[1])[2], json!({"id":7,"more":true}));
    assert_eq!(read(&sealed[1])[3], json!({"id":9007199254740993_i64}));
}

#[test]
fn a_refused_page_leaves_the_sink_as_it_was() {
    let folder = folder();
    let mut sinks: [Box<dyn Sink>; 2] = [Box::new(parquet(folder.path(), SMALL)), Box::new(lines(folder.path()))];
    for sink in &mut sinks {
        take(sink.append(&page(r#"[{"id":1},{"id":2}]"#)));
        let before = (sink.rows(), sink.bytes(), sink.schema().clone());
        for bad in [
            r#"[{"id":3},{"id":"new","more":1},{"id":4,"id":5}]"#,
            r#"[{"id":3},{"id":"\udc00"}]"#,
            "[{\"id\":3}",
            "<html>",
        ] {
            assert!(matches!(sink.append(&page(bad)), Err(SinkError::Record(_))), "{bad}");
            assert_eq!((sink.rows(), sink.bytes(), sink.schema().clone()), before);
        }
        assert_eq!(take(sink.append(&page(r#"{"id":3}"#))).records, 1);
        assert_eq!(take(sink.seal()).iter().map(|sealed| sealed.rows).sum::<u64>(), 3);
    }
}

#[test]
fn both_formats_hash_keys_and_pages_alike() {
    let folder = folder();
    let text = r#"[{"id":1},{"id":"1"},{"id":"\u0031"},{"id":null},{},{"id": [1, 2]}]"#;
    let one = take(parquet(folder.path(), SMALL).append(&page(text)));
    let two = take(lines(folder.path()).append(&page(text)));
    assert_eq!(one, two);
    assert_eq!((one.key_hashes.len(), one.missing_keys), (4, 2));
    let extra = vec![("id".to_owned(), "1".to_owned())];
    let one = take(parquet(folder.path(), SMALL).append(&Page { extra: extra.clone(), ..page("[{},{\"a\":1}]") }));
    let two = take(lines(folder.path()).append(&Page { extra, ..page("[{},{\"a\":1}]") }));
    assert_eq!(one, two);
}

#[test]
fn both_formats_see_null_among_items_alike() {
    let items = |schema: &Schema, name: &str| match schema.fields.get(name) {
        Some(Type::List(items)) => (items.is_nullable(), items.is_always()),
        other => unreachable!("{other:?}"),
    };
    let folder = folder();
    let mut sinks: [Box<dyn Sink>; 2] = [Box::new(parquet(folder.path(), SMALL)), Box::new(lines(folder.path()))];
    for sink in &mut sinks {
        take(sink.append(&page(r#"[{"id":1,"a":[1],"b":[],"c":[[1]]},{"id":2,"a":[]}]"#)));
        take(sink.seal());
        let schema = sink.schema();
        assert_eq!(
            [items(schema, "a"), items(schema, "b"), items(schema, "c")],
            [(false, true), (false, false), (false, true)]
        );
        // What is refused says nothing.
        assert!(sink.append(&page(r#"[{"id":3,"a":[null]},{"id":4,"a":[1,]}]"#)).is_err());
        take(sink.append(&page(r#"[{"id":3,"a":[2,null],"b":[null],"c":[[null]]}]"#)));
        take(sink.seal());
        let schema = sink.schema();
        assert_eq!(
            [items(schema, "a"), items(schema, "b"), items(schema, "c")],
            [(true, false), (true, false), (false, true)]
        );
        let inner = match schema.fields.get("c") {
            Some(Type::List(outer)) => outer.kind.clone(),
            other => unreachable!("{other:?}"),
        };
        assert!(matches!(inner, Type::List(inner) if inner.is_nullable()));
    }
}

#[test]
fn lines_hold_the_records_as_they_came() {
    let folder = folder();
    let mut sink = lines(folder.path());
    let extra = vec![("repo".to_owned(), "\"a b\"".to_owned())];
    take(sink.append(&page("[ {\"id\" : 1.50,\n \"t\":\"a \\n \\u00e9\"} , {} ]")));
    take(sink.append(&Page { extra: extra.clone(), ..page("[{\"id\":2},{}]") }));
    assert!(matches!(
        sink.append(&Page { extra, ..page("[{\"repo\":2}]") }),
        Err(SinkError::Record(RecordError::Clash { .. }))
    ));
    let sealed = take(sink.seal());
    let text = fs::read_to_string(&sealed[0].path).unwrap_or_default();
    assert_eq!(text, "{\"id\":1.50,\"t\":\"a \\n \\u00e9\"}\n{}\n{\"id\":2,\"repo\":\"a b\"}\n{\"repo\":\"a b\"}\n");
    assert_eq!((sealed[0].rows, sealed[0].bytes), (4, text.len() as u64));
}

#[test]
fn an_empty_stream_makes_a_readable_file() {
    let folder = folder();
    let declared = Schema::from_json_schema(r#"{"properties":{"id":{"type":"integer"},"o":{"type":"object"}}}"#)
        .unwrap_or_default();
    for schema in [declared, Schema::default()] {
        let name = folder.path().join(format!("{}.parquet", schema.fields.len()));
        let mut sink = Parquet::new(schema, Vec::new(), SMALL, Box::new(move || name.clone()));
        let sealed = take(sink.seal_empty());
        assert_eq!(sealed.as_ref().map(|sealed| sealed.rows), Some(0));
        assert_eq!(sealed.as_ref().map(read), Some(Vec::new()));
    }
    assert_eq!(take(lines(folder.path()).seal_empty()).map(|sealed| sealed.bytes), Some(0));
}

#[test]
fn discarding_removes_the_files() {
    let folder = folder();
    let mut sinks: [Box<dyn Sink>; 2] = [Box::new(parquet(folder.path(), SMALL)), Box::new(lines(folder.path()))];
    for sink in &mut sinks {
        for number in 0..12 {
            take(sink.append(&page(&format!(r#"{{"id":{number}}}"#))));
        }
        take(sink.append(&page(r#"{"id":"wider"}"#)));
        take(sink.append(&page(&format!(r#"[{}]"#, vec!["{\"id\":\"0123456789\"}"; 60_000].join(",")))));
        assert!(files(folder.path()) > 0);
        take(sink.discard());
        assert_eq!((sink.rows(), sink.bytes(), files(folder.path())), (0, 0, 0));
    }
}

#[test]
fn a_file_of_somebody_else_is_not_overwritten() {
    let folder = folder();
    let taken = folder.path().join(".part-1.parquet.tmp");
    fs::write(&taken, "mine").unwrap_or_else(|error| unreachable!("{error}"));
    let mut sink = parquet(folder.path(), SMALL);
    take(sink.append(&page(r#"{"id":1}"#)));
    assert!(matches!(sink.seal(), Err(SinkError::Io { path, .. }) if path == taken));
    assert_eq!(fs::read(&taken).ok().as_deref(), Some("mine".as_bytes()));
}

#[test]
fn odd_records_come_back_from_parquet() {
    let folder = folder();
    let mut sink = parquet(folder.path(), SMALL);
    let records = [
        json!({"":1,"a.b":{"c.d":[{"":"x"}]},"😀":"\0","A":1,"a":2,"o":{},"l":[],"ll":[[],[null]],"n":null,"id":1}),
        json!({"o":{},"l":[]}),
        json!({}),
    ];
    for record in &records {
        take(sink.append(&page(&record.to_string())));
    }
    let back = read(&take(sink.seal())[0]);
    let mut first = records[0].clone();
    first.as_object_mut().map(|object| object.remove("n"));
    assert_eq!(back, [first, records[1].clone(), records[2].clone()]);
    take(sink.append(&page("[{},{}]")));
    assert_eq!(read(&take(sink.seal())[0]), [json!({}), json!({})]);
}

/// Whether a value read back says what the record said: as it was, as the text of a scalar, or as JSON text.
fn same(original: &Value, read: &Value) -> bool {
    match (original, read) {
        (one, two) if one == two => true,
        (Value::Object(one), Value::Object(two)) => {
            let absent = &Value::Null;
            one.keys()
                .chain(two.keys())
                .all(|name| same(one.get(name).unwrap_or(absent), two.get(name).unwrap_or(absent)))
        }
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
        }
        (Value::String(one), two) if one.starts_with(DIGITS) => {
            let one = one.trim_start_matches(DIGITS);
            let two = match two {
                Value::Number(two) => two.to_string(),
                Value::String(two) => two.trim_start_matches(DIGITS).to_owned(),
                _ => return false,
            };
            let whole = |text: &str| text.parse::<i128>().ok();
            one == two
                || match (whole(one), whole(&two)) {
                    (Some(one), Some(two)) => one == two,
                    _ => one
                        .parse::<f64>()
                        .ok()
                        .is_some_and(|value| value.is_finite() && Some(value) == two.parse().ok()),
                }
        }
        (one, Value::String(two)) => serde_json::from_str(&numbers_as_text(two)).is_ok_and(|two: Value| {
            let is_text = two.as_str().is_some_and(|text| !text.starts_with(DIGITS));
            !is_text && same(one, &two) || two == *one
        }),
        _ => false,
    }
}

/// Marks a text that stands for the digits of a number.
const DIGITS: char = '\u{1}';

/// Makes texts of all numbers of a JSON text, so that serde_json keeps their digits as they are.
fn numbers_as_text(json: &str) -> String {
    let mut out = String::new();
    let (mut in_string, mut escaped, mut in_number) = (false, false, false);
    for c in json.chars() {
        let of_number = !in_string && (c.is_ascii_digit() || c == '-' || (in_number && "+.eE".contains(c)));
        if of_number != in_number {
            out.push_str(if of_number { "\"\\u0001" } else { "\"" });
            in_number = of_number;
        }
        out.push(c);
        let quote = c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
        in_string ^= quote;
    }
    if in_number {
        out.push('"');
    }
    out
}

/// Writes random JSON: few names, so that records meet in columns, and every kind of value.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn space(&mut self) -> &'static str {
        self.pick(&["", "", "", "", " ", "\n\t"])
    }

    fn value(&mut self, depth: usize, wild: bool) -> String {
        let kinds = if depth == 0 { 6 } else { 8 };
        match if wild { self.below(kinds) } else { depth % 8 } {
            0 => "null".to_owned(),
            1 => self.pick(&["true", "false"]).to_owned(),
            2 => self
                .pick(&[
                    "0",
                    "-1",
                    "42",
                    "-0",
                    "9007199254740992",
                    "9007199254740993",
                    "9223372036854775807",
                    "-9223372036854775808",
                ])
                .to_owned(),
            3 => self.pick(&["0.5", "1e3", "-2.50", "1E-7", "3.141592653589793", "1.0"]).to_owned(),
            4 => self
                .pick(&["9223372036854775808", "1e999", "0.1234567890123456789012", "-123456789012345678901234567890"])
                .to_owned(),
            5 => self
                .pick(&[
                    r#""""#,
                    r#""x""#,
                    r#""a\"b\\\/\n\u0000\u00e9\ud83d\ude00""#,
                    r#""é😀 1""#,
                    r#""a string of more than thirty-two bytes, plain""#,
                ])
                .to_owned(),
            6 => {
                let items: Vec<String> = (0..self.below(4)).map(|_| self.value(depth - 1, wild)).collect();
                format!("[{}{}]", self.space(), items.join(&format!("{},{}", self.space(), self.space())))
            }
            _ => self.object(depth - 1, wild),
        }
    }

    fn object(&mut self, depth: usize, wild: bool) -> String {
        let mut names = vec![r#""a""#, r#""b""#, r#""c d""#, r#""""#, r#""\u0065""#, r#""f.g""#];
        let mut members = Vec::new();
        for _ in 0..self.below(names.len()) {
            let name = names.remove(self.below(names.len()));
            let value = if self.below(3) > 0 || wild { self.value(depth, wild) } else { "null".to_owned() };
            members.push(format!("{name}{}:{}{value}", self.space(), self.space()));
        }
        format!("{{{}{}{}}}", self.space(), members.join(&format!("{},{}", self.space(), self.space())), self.space())
    }
}

/// A row as a record: each field's value from whichever of its columns has it.
fn folded(fields: &Fields, row: &Value) -> Value {
    let mut record = serde_json::Map::new();
    for field in fields.iter().filter(|field| field.is_own()) {
        let beside = field.beside().places().filter_map(|place| fields.at(place));
        let mut found =
            std::iter::once(field).chain(beside).filter_map(|column| Some((column, row.get(column.column())?)));
        if let Some((column, value)) = found.next() {
            assert_eq!(found.next(), None, "{row}");
            record.insert(field.name.clone(), folded_value(&column.kind, value));
        }
    }
    record.into()
}

fn folded_value(kind: &Type, value: &Value) -> Value {
    match (kind, value) {
        (Type::Struct(fields), Value::Object(_)) => folded(fields, value),
        (Type::List(item), Value::Array(items)) => items.iter().map(|value| folded_value(item, value)).collect(),
        _ => value.clone(),
    }
}

/// The type of each column of all files, which must not differ between them.
fn unite(fields: &arrow_schema::Fields, path: &str, known: &mut std::collections::HashMap<String, DataType>) {
    for field in fields {
        let path = format!("{path}/{}", field.name());
        unite_types(field.data_type(), path, known);
    }
}

fn unite_types(kind: &DataType, path: String, known: &mut std::collections::HashMap<String, DataType>) {
    let plain = match kind {
        DataType::Null => return,
        DataType::Struct(fields) => {
            unite(fields, &path, known);
            DataType::Struct(arrow_schema::Fields::empty())
        }
        DataType::List(item) => {
            unite_types(item.data_type(), format!("{path}/*"), known);
            DataType::LargeUtf8
        }
        kind => kind.clone(),
    };
    let before = known.entry(path.clone()).or_insert_with(|| plain.clone());
    assert_eq!(*before, plain, "{path} has two types");
}

#[test]
fn files_of_records_that_drift_have_one_type_a_column_and_every_value() {
    let mut random = Random(0x1f83_d9ab_fb41_bd6b);
    for round in 0..120 {
        let folder = folder();
        let mut schema = Schema::default();
        let mut expected: Vec<Value> = Vec::new();
        let mut found = Vec::new();
        let mut types = std::collections::HashMap::new();
        // Several runs, each of several files and of pages that are written at once or together.
        for run in 0..3 {
            let folder = folder.path().join(run.to_string());
            fs::create_dir(&folder).unwrap_or_else(|error| unreachable!("{error}"));
            let mut sink = Parquet::new(schema, Vec::new(), SMALL, names(&folder, "parquet"));
            let mut sealed = Vec::new();
            for _ in 0..4 {
                let records: Vec<String> = (0..random.below(5)).map(|_| random.object(3, true)).collect();
                take(sink.append(&page(&format!("[{}]", records.join(", ")))));
                let parsed =
                    |record: &String| serde_json::from_str::<Value>(&numbers_as_text(record)).unwrap_or_default();
                expected.extend(records.iter().map(parsed));
                if random.below(2) == 0 {
                    sealed.extend(take(sink.seal()));
                }
            }
            sealed.extend(take(sink.seal()));
            schema = Schema::parse(&sink.schema().to_description().to_string()).unwrap_or_default();
            assert_eq!(&schema, sink.schema());
            for file in &sealed {
                let open = File::open(&file.path).unwrap_or_else(|error| unreachable!("{error}"));
                let reader =
                    ParquetRecordBatchReaderBuilder::try_new(open).unwrap_or_else(|error| unreachable!("{error}"));
                unite(reader.schema().fields(), "", &mut types);
                found.extend(read(file));
            }
        }
        assert_eq!(found.len(), expected.len());
        for (expected, found) in expected.iter().zip(&found) {
            let found = folded(&schema.fields, found);
            assert!(same(expected, &found), "round {round}\nrecord {expected}\nread   {found}");
        }
    }
}

#[test]
fn random_records_come_back_from_parquet() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..400 {
        let folder = folder();
        let mut sink = Parquet::new(Schema::default(), Vec::new(), SMALL, names(folder.path(), "parquet"));
        let mut expected: Vec<Value> = Vec::new();
        for _ in 0..1 + random.below(6) {
            // Half of the rounds have drift of every kind, half have none but null and new fields.
            let records: Vec<String> = (0..random.below(5)).map(|_| random.object(3, round % 2 == 0)).collect();
            let text = format!("[{}]", records.join(", "));
            let taken = take(sink.append(&page(&text)));
            assert_eq!(taken.records, records.len() as u64);
            expected.extend(
                records
                    .iter()
                    .map(|record| serde_json::from_str::<Value>(&numbers_as_text(record)).unwrap_or_default()),
            );
        }
        let found: Vec<Value> = take(sink.seal()).iter().flat_map(read).collect();
        assert_eq!(found.len(), expected.len());
        for (expected, found) in expected.iter().zip(&found) {
            let found = &folded(&sink.schema().fields, found);
            assert!(same(expected, found), "round {round}\nrecord {expected}\nread   {found}");
        }
        assert_eq!(Schema::parse(&sink.schema().to_description().to_string()).ok().as_ref(), Some(sink.schema()));
    }
}

/// Many mutations of a page: accepted exactly where serde_json accepts it and no name comes twice.
#[test]
fn the_verdict_on_mutated_pages_is_that_of_serde_json() {
    let seed =
        r#"[{"a":1,"b":-2.5e+3,"c":"x\n\u00e9\ud83d\ude00"},{"b":7 , "d" : [true,false,null,{"e":{}}],"c":"é😀"}]"#
            .as_bytes();
    let spare = b"{}[]\",:\\ \n0123eE+-.tfnulabcd\x01\xc3";
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let folder = folder();
    let (mut accepted, mut refused) = (0, 0);
    let mut sink = parquet(folder.path(), Limits { row_group_rows: 1 << 20, ..SMALL });
    let mut lines = lines(folder.path());
    for round in 0..20_000 {
        let mut bytes = seed.to_vec();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len().max(1));
            match random.below(3) {
                0 if bytes.len() > 1 => drop(bytes.remove(at)),
                1 => bytes[at] = spare[random.below(spare.len())],
                _ => bytes.insert(at, spare[random.below(spare.len())]),
            }
        }
        let page = Page { lines: false, ..Page::from_json(Bytes::copy_from_slice(&bytes)) };
        // As raw text: a number that is no f64 is JSON all the same.
        let parsed = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes)
            .and_then(|raw| serde_json::from_str::<Value>(&numbers_as_text(raw.get())));
        let objects = parsed.as_ref().is_ok_and(|value| match value {
            Value::Array(items) => items.iter().all(Value::is_object),
            value => value.is_object(),
        });
        let (one, two) = (sink.append(&page), lines.append(&page));
        assert_eq!(one.is_ok(), two.is_ok(), "{}", String::from_utf8_lossy(&bytes));
        match one {
            Err(SinkError::Record(RecordError::Duplicate { .. })) => {}
            one => assert_eq!(one.is_ok(), objects, "{}", String::from_utf8_lossy(&bytes)),
        }
        if objects {
            accepted += 1
        } else {
            refused += 1
        }
        if round % 500 == 0 {
            take(sink.discard());
            sink = parquet(folder.path(), Limits { row_group_rows: 1 << 20, ..SMALL });
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted} {refused}");
}
