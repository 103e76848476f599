use super::*;

fn document(text: &str) -> Document {
    Document::new(Bytes::copy_from_slice(text.as_bytes()), 64)
}

#[test]
fn a_pointer_finds_the_value() {
    let document =
        document(r#" {"a":{"b":[10,{"c":"x"}]},"m~n":1,"s/t":2,"":3,"\u00e9":4,"é\"":5, "d" : [ 1 , 2 ] } "#);
    for (pointer, value) in [
        ("/a/b/0", Some("10")),
        ("/a/b/1/c", Some("\"x\"")),
        ("/a/b/1", Some("{\"c\":\"x\"}")),
        ("/a/b/2", None),
        ("/a/b/-", None),
        ("/a/b/01", None),
        ("/a/b/x", None),
        ("/m~0n", Some("1")),
        ("/s~1t", Some("2")),
        ("/", Some("3")),
        ("/é", Some("4")),
        ("/é\"", Some("5")),
        ("/a/b/0/c", None),
        ("/d", Some("[ 1 , 2 ]")),
    ] {
        assert_eq!(document.text(pointer), Ok(value), "{pointer}");
    }
    assert_eq!(document.len("/a/b"), Ok(Some(2)));
    assert_eq!(document.len("/d"), Ok(Some(2)));
    assert_eq!(document.len(""), Ok(Some(7)));
    assert_eq!(document.len("/a/b/0"), Ok(None));
    assert!(matches!(document.get("a"), Err(JsonError::Pointer(_))));
    assert!(matches!(document.get("/~2"), Err(JsonError::Pointer(_))));
}

#[test]
fn the_values_of_all_elements_come_at_once() {
    let list = r#" {"l":[ {"a":{"t":[1,"]"]},"id":7} , {"id":"}\"","a":{"t":null}}, {"\u0069d":2,"a":5},{},[{"id":1}],3 ] ,"o":{}} "#;
    for (within, values) in [
        ("/id", r#"[7,"}\"",2,null,null,null]"#),
        ("/a/t", r#"[[1,"]"],null,null,null,null,null]"#),
        ("/a/t/1", r#"["]",null,null,null,null,null]"#),
        ("/0/id", "[null,null,null,null,1,null]"),
        ("", r#"[{"a":{"t":[1,"]"]},"id":7},{"id":"}\"","a":{"t":null}},{"\u0069d":2,"a":5},{},[{"id":1}],3]"#),
    ] {
        assert_eq!(document(list).values("/l", within).unwrap().as_deref(), Some(values), "{within}");
    }
    assert_eq!(document(list).values("/o", "/id"), Ok(None));
    assert_eq!(document(list).values("/no", "/id"), Ok(None));
    assert_eq!(document(r#"{"l":[]}"#).values("/l", "/id").unwrap().as_deref(), Some("[]"));
    assert!(matches!(document(list).values("/l", "id"), Err(JsonError::Pointer(_))));
    // An element that is no JSON has no fields; what is no JSON elsewhere is none.
    assert_eq!(document(r#"{"l":[{"id":1},{"id":1x}]}"#).values("/l", "/id").unwrap().as_deref(), Some("[1,null]"));
    assert!(matches!(document(r#"{"l":[{"id":1}],"x":1x}"#).values("/l", "/id"), Err(JsonError::Syntax(_))));
    // What has been decoded ahead answers the same.
    let known = document(r#"{"l":[{"id":1},{"id":22}]}"#);
    let elements = Elements { count: 2, first: Some(6..14), last: Some(15..24), ..Elements::default() };
    assert!(known.know("/l", 5..25, elements));
    assert_eq!(known.values("/l", "/id").unwrap().as_deref(), Some("[1,22]"));
    assert_eq!((known.text("/l/0"), known.text("/l/1/id")), (Ok(Some(r#"{"id":1}"#)), Ok(Some("22"))));
}

#[test]
fn long_arrays_are_reached_through_marks() {
    let items: Vec<String> = (0..5000).map(|id| format!(r#"{{"id":{id},"text":"{}"}}"#, "x".repeat(id % 90))).collect();
    let document = document(&format!(r#"{{"data":{{"items":[{}]}},"next":null}}"#, items.join(", ")));
    for id in [0, 1, 77, 2500, 4998, 4999] {
        assert_eq!(document.text(&format!("/data/items/{id}")), Ok(Some(items[id].as_str())));
        assert_eq!(document.text(&format!("/data/items/{id}/id")), Ok(Some(id.to_string().as_str())));
    }
    assert_eq!(document.text("/data/items/5000"), Ok(None));
    assert_eq!(document.len("/data/items"), Ok(Some(5000)));
    assert_eq!(document.text("/next"), Ok(Some("null")));
}

#[test]
fn a_body_that_is_no_json_is_described() {
    let error = |text: &str| document(text).get("/a").err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error("<!DOCTYPE html>"), "line 1, column 1: unexpected `<`; the body looks like HTML or XML");
    assert_eq!(
        error(""),
        "line 1, column 1: the text ends in the middle of a value; it may be cut off; the body is empty"
    );
    assert_eq!(error("{\"a\":\n 1,\n  x}"), "line 3, column 3: unexpected `x`");
    assert_eq!(error("{\"a\":[1,2"), "line 1, column 10: the text ends in the middle of a value; it may be cut off");
    assert_eq!(error("{} {}"), "line 1, column 4: unexpected `{` after the value");
    assert_eq!(error("[\"a\nb\"]"), "line 1, column 4: control character U+000A in a string");
}

#[test]
fn a_byte_order_mark_is_ignored() {
    let document = document("\u{feff}{\"a\":1}");
    assert_eq!(document.text("/a"), Ok(Some("1")));
}

/// Many mutations of one text: the verdict must be serde_json's, which is the grammar's.
#[test]
fn the_verdict_on_mutated_texts_is_that_of_serde_json() {
    let seed = r#"{"a":[1,-2.5e+3,"x\n\u00e9",true,false,null,{"b":{}}],"c":"é😀","d":[],"e":0.1 , "f" : [ [ ] ] }"#
        .as_bytes();
    let spare = b"{}[]\",:\\ \n\t0123eE+-.tfnul\x01\xc3\x28ax";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let mut bytes = seed.to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len().max(1));
            match random(4) {
                0 if bytes.len() > 1 => drop(bytes.remove(at)),
                1 => bytes.insert(at, spare[random(spare.len())]),
                2 => bytes[at] = spare[random(spare.len())],
                _ => bytes.truncate(at.max(1)),
            }
        }
        let expected = std::str::from_utf8(&bytes).is_ok()
            && serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
        let found = Document::new(Bytes::copy_from_slice(&bytes), 64).validate().is_ok();
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(&bytes));
        if expected { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted > 1000 && refused > 1000, "{accepted} {refused}");
}

#[test]
fn what_is_handed_out_is_checked_and_nothing_is_told_of_a_body_that_is_not_sound_outside_of_a_listing() {
    let long = "x".repeat(5000);
    let bad = document(&format!(r#"{{"items":[{{"id":01}},{{"text":"{long}"}}],"next":"abc"}}"#));
    let reason = |found: Result<Option<&str>, JsonError>| found.err().map(|error| error.to_string());
    // Brackets and strings are sound, so this much can be told.
    assert_eq!(bad.len("/items"), Ok(Some(2)));
    assert_eq!(bad.len("/items/0"), Ok(Some(1)));
    // An element that is no JSON is shown as a text, and hides nothing else.
    assert_eq!(bad.text("/items/0"), Ok(Some(r#""{\"id\":01}""#)));
    assert_eq!(bad.text("/other"), Ok(None));
    let number = "line 1, column 18: malformed number";
    assert_eq!(reason(bad.text("/items")).as_deref(), Some(number));
    let bad = document(&format!(r#"{{"page":{{"id":01}},"items":[{{"text":"{long}"}}],"next":"abc"}}"#));
    let number = "line 1, column 16: malformed number";
    assert_eq!(reason(bad.text("/page")).as_deref(), Some(number));
    assert_eq!(reason(bad.text("/other")).as_deref(), Some(number));
}

#[test]
fn what_surrounds_selected_records_is_checked() {
    let long = "x".repeat(5000);
    for (before, after) in [("{", ",}"), ("{", "]"), ("{\"a\":tru,", "}"), ("{", ",\"b\":[1,]}")] {
        let text = format!("{before}\"items\":[{{\"text\":\"{long}\"}}]{after}");
        assert!(matches!(document(&text).select("/items"), Err(JsonError::Syntax(_))), "{before} {after}");
    }
    // Records are checked by whoever decodes them.
    let text = format!("{{\"items\":[{{\"text\":\"{long}\",}}]}}");
    assert_eq!(document(&text).select("/items"), Ok(Some(9..text.len() - 1)));
}
