//! Records that are decoded before they are emitted.
//!
//! Most connectors look into a response before they emit its records: where is the next page, how many records are here.
//! To answer, somebody has to go over the records to find their end. Where the response looks like the one before, the
//! records are decoded then, at the place from which the last page was selected, and the answer falls out of that: the body
//! is gone over once. Where that guess is wrong nothing is lost but the time.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Appended, Record, Survey, Table};
use crate::json::{Document, Elements, Listed};

/// Longer bodies are decoded by the stream's writer: a guest's call should not hold up others for long.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Wrong guesses in a row after which a read stops guessing.
const MAX_WRONG: u32 = 4;

/// Bytes of tables kept for the next pages. As many are in use as pages wait for the writer, which is about as much.
const MAX_SPARE_BYTES: usize = 16 << 20;

/// What a stream's table and its reads share: the schema as it is now, and empty tables of it.
#[derive(Debug, Default)]
pub struct Shapes {
    now: Mutex<Shape>,
}

#[derive(Debug, Default)]
struct Shape {
    /// Counts the changes of the schema.
    version: u64,
    /// What tables are made like, once there is a schema.
    model: Option<Table>,
    /// Whether the model has room for a page.
    roomy: bool,
    /// Empty tables, and the bytes that the last rows of each took.
    spare: Vec<(Table, usize)>,
    spare_bytes: usize,
}

impl Shapes {
    fn now(&self) -> std::sync::MutexGuard<'_, Shape> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what tables look like from now on.
    pub(super) fn set(&self, model: Table) {
        let mut now = self.now();
        let version = now.version + 1;
        *now = Shape { version, model: Some(model), ..Shape::default() };
    }

    /// Takes note of how much room a page takes: a column that grows from nothing is moved ten times.
    fn size(&self, version: u64, page: &Table) {
        let mut now = self.now();
        if now.version == version && !now.roomy {
            (now.model, now.roomy) = (Some(page.like(true)), true);
        }
    }

    /// Whether a version is the one of now.
    pub(super) fn is_now(&self, version: u64) -> bool {
        self.now().version == version
    }

    /// Takes an empty table; none before there is a schema.
    fn take(&self) -> Option<(u64, Table)> {
        let mut now = self.now();
        if let Some((table, bytes)) = now.spare.pop() {
            now.spare_bytes -= bytes;
            return Some((now.version, table));
        }
        let table = now.model.as_ref()?.like(true);
        Some((now.version, table))
    }

    /// Gives a table back, whose rows, of so many bytes, are dropped.
    pub(super) fn give(&self, version: u64, mut table: Table, bytes: usize) {
        table.clear();
        let mut now = self.now();
        if now.version == version && now.spare_bytes + bytes <= MAX_SPARE_BYTES {
            now.spare.push((table, bytes));
            now.spare_bytes += bytes;
        }
    }
}

/// Records that have been decoded already.
#[derive(Debug)]
pub struct Ready {
    pub(super) version: u64,
    pub(super) table: Table,
    pub(super) appended: Appended,
    pub(super) bytes: usize,
    pointer: String,
    /// The first record, where it was left out.
    pub(crate) left_out: Option<Record<'static>>,
    /// Where they are in the body, and the field that orders them.
    pub(super) listed: Option<Arc<Listed>>,
}

impl Ready {
    /// Returns the bytes that the records take as columns, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a read knows of its pages.
#[derive(Debug, Default)]
pub struct Ahead {
    shapes: Option<Arc<Shapes>>,
    /// Where the last page's records were, if they were there and nothing was added to them.
    pointer: Option<String>,
    /// Pages decoded in a row that were not emitted from there.
    wrong: u32,
    /// The version of the schema that the last page did not fit.
    misfit: Option<u64>,
    /// Whether the last page began with a record of the page before.
    overlaps: bool,
}

impl Ahead {
    /// Makes the state of a read whose pages go to a table with these shapes.
    pub fn new(shapes: Option<Arc<Shapes>>) -> Self {
        Self { shapes, ..Self::default() }
    }

    /// Decodes the records of a response that has not been looked into, if it looks like the last one.
    #[inline(never)]
    pub(crate) fn read(&mut self, document: &Document) -> Option<Ready> {
        let (shapes, pointer) = (self.shapes.as_ref()?, self.pointer.as_ref()?);
        let body = document.body();
        if self.wrong >= MAX_WRONG || body.len() > MAX_BODY_BYTES {
            return None;
        }
        let (start, depth) = document.ahead(pointer)?;
        // The writer widens the schema when it gets to that page; until then the next ones will not fit either.
        if self.misfit.is_some_and(|version| shapes.is_now(version)) {
            return None;
        }
        let (version, mut table) = shapes.take()?;
        // The record that came before is left out; whether it is that one, the writer knows.
        let left_out = match self.overlaps {
            true => Survey::new(table.primary_key(), None).first_at(body, start).map(Record::into_owned),
            false => None,
        };
        let leave_out: &[u64] = if left_out.is_some() { &[0] } else { &[] };
        let listed = table.listed();
        let mut elements = Elements { count: leave_out.len() as u64, listed, ..Elements::default() };
        let read = table.read_array(body, start, leave_out, depth - 1, &mut elements);
        let known = read.filter(|(_, end)| document.know(pointer, Range { start, end: *end }, elements));
        let Some((appended, _)) = known else {
            let bytes = table.bytes();
            shapes.give(version, table, bytes);
            self.misfit = Some(version);
            return None;
        };
        self.wrong += 1;
        shapes.size(version, &table);
        let bytes = table.bytes();
        let listed = document.listed(start).cloned();
        Some(Ready { version, table, appended, bytes, pointer: pointer.clone(), left_out, listed })
    }

    /// Takes note of a page's selection, and whether its first record came before; returns what has been decoded for it.
    pub(crate) fn selected(
        &mut self,
        pointer: &str,
        plain: bool,
        overlaps: bool,
        ready: Option<Ready>,
    ) -> Option<Ready> {
        let fits = |ready: &Ready| plain && ready.pointer == pointer && (overlaps || ready.left_out.is_none());
        let ready = ready.filter(fits);
        self.overlaps = overlaps;
        if ready.is_some() {
            self.wrong = 0;
        }
        if !plain {
            self.pointer = None;
        } else if self.pointer.as_deref() != Some(pointer) {
            self.pointer = Some(pointer.to_owned());
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::super::tests::rows;
    use super::super::{Page, Refused};
    use super::*;
    use crate::schema::Schema;

    struct Stream {
        table: Table,
        ahead: Ahead,
    }

    impl Stream {
        fn new(key: &[&str]) -> Self {
            let key = key.iter().map(|part| (*part).to_owned()).collect();
            let mut table = Table::new(Schema::default(), key, 16, 1 << 20);
            let shapes = table.share(None);
            Self { table, ahead: Ahead::new(Some(shapes)) }
        }

        /// Looks into a body and selects from it, as a connector does; says whether its records were decoded ahead.
        fn page(&mut self, body: &str, pointer: &str) -> bool {
            let document = Document::new(Bytes::copy_from_slice(body.as_bytes()), 16);
            let ready = self.ahead.read(&document);
            let next = document.text("/next").unwrap();
            assert_eq!(next.is_some(), body.contains("\"next\""), "{body}");
            let page = Page::select(&document, pointer, Vec::new()).unwrap().unwrap();
            let ready = self.ahead.selected(pointer, true, false, ready);
            let was_ready = ready.is_some();
            let adopted = ready.and_then(|ready| self.table.adopt(ready));
            let appended = adopted.unwrap_or_else(|| self.append(&page));
            assert_eq!(appended, Stream::plain(&page), "{body}");
            was_ready
        }

        fn append(&mut self, page: &Page) -> Appended {
            loop {
                match self.table.append(page) {
                    Ok(appended) => return appended,
                    Err(Refused::Widen(schema)) => self.table.widen(schema),
                    Err(other) => unreachable!("{other:?}"),
                }
            }
        }

        /// What is known of a page that is decoded by itself.
        fn plain(page: &Page) -> Appended {
            Stream::new(&["id"]).append(page)
        }
    }

    #[test]
    fn a_page_like_the_last_is_decoded_as_it_is_looked_into() {
        let mut stream = Stream::new(&["id"]);
        let long = "é\\n".repeat(3000);
        assert!(!stream.page(
            r#"{"a":[1,{"items":0}],"items":[{"id":1,"t":"x","n":null,"l":[1],"o":{"x":true}}],"next":"2"}"#,
            "/items"
        ));
        let second = format!(
            r#"{{"items":[{{"id":2,"t":"{long}"}} , {{"id":3,"n":5.5,"l":[2,3],"o":{{"x":false}}}}],"next":"3"}}"#
        );
        assert!(!stream.page(&second, "/items"), "the number is new, so the page is read by the writer");
        assert!(stream.page(&second.replace("\"id\":2", "\"id\":4").replace("\"id\":3", "\"id\":5"), "/items"));
        assert!(stream.page(r#"{"items":[],"next":"4"}"#, "/items"));
        assert!(stream.page(r#" { "items" : [ {"t":null,"id":6} ] } "#, "/items"));
        assert!(!stream.page(r#"{"data":{"items":[{"id":7}]}}"#, "/data/items"), "the place is another one");
        assert!(stream.page(r#"{"data":{"items":[{"id":8}]},"next":1}"#, "/data/items"));
        let all = rows(&stream.table.batch().unwrap());
        let ids: Vec<_> = all.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8].map(|id| json!(id)));
        assert_eq!(all[3], json!({"id": 4, "t": long.replace("\\n", "\n")}));
        assert_eq!(all[4], json!({"id": 5, "n": 5.5, "l": [2, 3], "o": {"x": false}}));
        assert_eq!(all[5], json!({"id": 6}));
    }

    #[test]
    fn what_is_wrong_is_left_to_whoever_can_say_why() {
        let mut stream = Stream::new(&["id"]);
        stream.page(r#"{"items":[{"id":1,"t":"x","l":[[1]]}]}"#, "/items");
        let deep = format!(r#"{{"items":[{{"id":1,"l":[[{}1{}]]}}]}}"#, "[".repeat(20), "]".repeat(20));
        let bad: [&[u8]; 12] = [
            br#"{"items":[{"id":1}]"#,
            br#"{"items":[{"id":1}"#,
            br#"{"items":[{"id":1}]}x"#,
            br#"{"items":[{"id":1}],"next":tru}"#,
            br#"{"items":[{"id":1}],"items":[{"id":2}]}"#,
            br#"{"items":[{"id":1,"id":2}]}"#,
            br#"{"items":[1]}"#,
            br#"{"items":{"id":1}}"#,
            b"{\"items\":[{\"id\":1,\"t\":\"\xff\"}]}",
            b"{\"items\":[{\"id\":1}],\"next\":\"\xff\"}",
            b"{\"\xff\":1,\"items\":[{\"id\":1}]}",
            deep.as_bytes(),
        ];
        for bad in bad {
            stream.ahead.misfit = None;
            let document = Document::new(Bytes::copy_from_slice(bad), 16);
            assert!(stream.ahead.read(&document).is_none(), "{}", String::from_utf8_lossy(bad));
        }
        stream.ahead.misfit = None;
        assert!(stream.page(r#"{"items":[{"id":2,"t":"y"}]}"#, "/items"), "nothing of a wrong page is left");
        assert_eq!(rows(&stream.table.batch().unwrap()).len(), 2);
    }

    #[test]
    fn a_read_whose_guesses_are_wrong_stops_guessing() {
        let mut stream = Stream::new(&["id"]);
        stream.page(r#"{"items":[{"id":1}]}"#, "/items");
        let document = || Document::new(Bytes::from_static(br#"{"items":[{"id":2}]}"#), 16);
        let guesses = (0..10).filter(|_| stream.ahead.read(&document()).is_some()).count();
        assert_eq!(guesses, MAX_WRONG as usize);
    }

    #[test]
    fn records_decoded_by_an_old_schema_are_not_taken() {
        let mut stream = Stream::new(&["id"]);
        stream.page(r#"{"items":[{"id":1}]}"#, "/items");
        let document = Document::new(Bytes::from_static(br#"{"items":[{"id":2}]}"#), 16);
        let ready = stream.ahead.read(&document).unwrap();
        stream.page(r#"{"items":[{"id":"text"}]}"#, "/items");
        assert!(stream.table.adopt(ready).is_none());
        assert_eq!(rows(&stream.table.batch().unwrap()), [json!({"id": "1"}), json!({"id": "text"})]);
    }

    #[test]
    fn what_orders_records_is_known_from_decoding_them() {
        let key = vec!["id".to_owned()];
        let mut table = Table::new(Schema::default(), key.clone(), 16, 1 << 20);
        let shapes = table.share(Some("at"));
        let mut stream = Stream { table, ahead: Ahead::new(Some(shapes)) };
        stream.page(r#"{"items":[{"id":1,"at":"2024-01-01","o":{"at":1}},{"id":2}]}"#, "/items");
        let text =
            r#"{"items":[{"id":3,"o":{"at":7},"at":"\u0031" } , {"at" : null,"id":4},{"id":5},{"at":5,"id":6}]}"#;
        let document = Document::new(Bytes::from_static(text.as_bytes()), 16);
        let scanned = document.values("/items", "/at").unwrap();
        let document = Document::new(Bytes::from_static(text.as_bytes()), 16);
        // A number where texts were is for the writer to make room for.
        assert!(stream.ahead.read(&document).is_none());
        stream.ahead.misfit = None;
        let text = text.replace("\"at\":5,", "\"at\":\"2024-01-02\",");
        let document = Document::new(Bytes::from(text.clone()), 16);
        let ready = stream.ahead.read(&document).unwrap();
        assert!(ready.listed.is_some());
        let values = document.values("/items", "/at").unwrap();
        assert_eq!(values.as_deref(), Some(r#"["\u0031",null,null,"2024-01-02"]"#));
        assert_eq!(values, scanned.map(|scanned| scanned.replace("5]", "\"2024-01-02\"]")));
        assert_eq!(document.values("/items", "/id").unwrap().as_deref(), Some("[3,4,5,6]"));
        let page = Page::select(&document, "/items", Vec::new()).unwrap().unwrap();
        let survey = Survey::new(&key, Some("at"));
        let known = survey.all(&page, Some(&ready));
        assert_eq!(known, survey.all(&page, None));
        assert_eq!(
            known.iter().map(|record| record.cursor.as_deref()).collect::<Vec<_>>(),
            [Some("1"), None, None, Some("2024-01-02")]
        );
    }

    #[test]
    fn elements_are_found_by_the_marks() {
        let mut stream = Stream::new(&["id"]);
        stream.page(r#"{"items":[{"id":1,"t":"x"}]}"#, "/items");
        let items: Vec<_> = (0..500).map(|id| format!(r#"{{"id":{id},"t":"{}"}}"#, "x".repeat(id))).collect();
        let document = Document::new(Bytes::from(format!("{{\"items\":[{}]}}", items.join(", "))), 16);
        assert!(stream.ahead.read(&document).is_some());
        assert_eq!(document.len("/items"), Ok(Some(500)));
        for id in [0, 1, 77, 499] {
            assert_eq!(document.text(&format!("/items/{id}/id")), Ok(Some(id.to_string().as_str())));
        }
        assert_eq!(document.text("/items/500"), Ok(None));
    }
}
