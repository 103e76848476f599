//! Rewriting JSON text: members are left out, values replaced, and everything else stays byte for byte as it was.
//!
//! So what is made of an archived body that was treated is what was made of the original. A text is treated only where it is
//! JSON; a record that is not is left to [`super::unsound`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::Key;
use super::rules::{Action, Rules};
use super::unsound::{self, Patched};
use crate::json::scan::{self, Cause, Stop, byte, space};
use crate::json::{self, MAX_DEPTH, text};
use crate::record::{self, Page};

/// What stands in place of a masked value.
pub(super) const MASK: &[u8] = b"***";

/// Length of an HMAC-SHA-256 in hex.
const HASH_CHARS: usize = 64;

/// Numbers that are shorter are not searched for in texts: they are part of too many others.
const MIN_NUMBER_CHARS: usize = 6;

/// Why a text could not be treated. It must not be shown or kept then.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Failed {
    /// It is not JSON.
    Json(Stop),
    /// Something has to be hashed, and the key is not there.
    NoKey,
}

impl From<Stop> for Failed {
    fn from(stop: Stop) -> Self {
        Self::Json(stop)
    }
}

/// What is done with the personal data of one stream.
#[derive(Debug)]
pub(crate) struct Treatment {
    rules: Rules,
    key: Option<Arc<Key>>,
    /// Whether texts may have been treated before: what is a hash then is not hashed again.
    again: bool,
    /// Fields of records that each path led to.
    met: Vec<AtomicU64>,
}

impl Treatment {
    pub(super) fn new(rules: Rules, key: Option<Arc<Key>>, again: bool) -> Self {
        let met = rules.paths().iter().map(|_| AtomicU64::new(0)).collect();
        Self { rules, key, again, met }
    }

    /// Paths that no record had so far: the stream's own, or those of every stream.
    pub(super) fn unmet(&self, own: bool) -> Vec<String> {
        let paths = self.rules.paths().iter().zip(&self.met);
        let unmet = paths.filter(|(path, met)| path.own == own && met.load(Ordering::Relaxed) == 0);
        unmet.map(|(path, _)| path.text.clone()).collect()
    }

    fn walk<'a>(&'a self, input: &'a [u8], anywhere: bool) -> Walk<'a> {
        Walk {
            treatment: self,
            input,
            anywhere,
            out: Vec::new(),
            copied: 0,
            open: Vec::new(),
            scratch: Vec::new(),
            met: vec![0; self.met.len()],
            originals: None,
            holes: Vec::new(),
        }
    }

    /// Treats the records of a page and the fields that are added to them. The body becomes the records alone, so that
    /// places in it are the same whether it was treated before or not.
    ///
    /// # Errors
    /// When they are not JSON, nor single records that are none among others; by their position in the page's records.
    pub(crate) fn page(&self, page: &mut Page) -> Result<(), Failed> {
        page.body = page.body.slice(page.range.clone());
        page.range = 0..page.body.len();
        let body = page.body.clone();
        let mut met = vec![0; self.met.len()];
        let treated = match json::sound(&body) {
            Ok(()) => self.span(&body, 0..body.len(), &mut met)?,
            Err(stop) => Some(self.apart(page, stop, &mut met)?),
        };
        if let Some(treated) = treated {
            page.range = 0..treated.len();
            page.body = Bytes::from(treated);
        }
        let mut extra = Vec::with_capacity(page.extra.len());
        for (name, json) in std::mem::take(&mut page.extra) {
            let mut walk = self.walk(json.as_bytes(), false);
            // A field that is added is malformed by itself: whoever decodes it says so, and it is no part of the body.
            if let Some(json) = walk.added(name.as_bytes()).map_err(|_| Failed::NoKey)? {
                extra.push((name, json.unwrap_or_else(|| json_text(walk.input))));
            }
            met.iter_mut().zip(&walk.met).for_each(|(all, more)| *all += more);
        }
        page.extra = extra;
        for (all, more) in self.met.iter().zip(met).filter(|(_, more)| *more > 0) {
            all.fetch_add(more, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Treats what stands in a span of a page's records; none where nothing of it changes.
    fn span(&self, input: &[u8], span: std::ops::Range<usize>, met: &mut [u64]) -> Result<Option<Vec<u8>>, Failed> {
        let input = input.get(..span.end).unwrap_or_default();
        let mut walk = self.walk(input, false);
        walk.copied = span.start;
        walk.all(span.start)?;
        met.iter_mut().zip(&walk.met).for_each(|(all, more)| *all += more);
        if walk.out.is_empty() && walk.copied == span.start {
            return Ok(None);
        }
        walk.flush(input.len());
        Ok(Some(walk.out))
    }

    /// Treats each record of a page by itself, and puts a placeholder where one is no JSON.
    #[cold]
    fn apart(&self, page: &Page, stop: Stop, met: &mut [u64]) -> Result<Vec<u8>, Failed> {
        let body = page.bytes();
        let mut out = Vec::with_capacity(body.len());
        let mut copied = 0;
        for span in record::spans(page).ok_or(Failed::Json(stop))? {
            out.extend_from_slice(body.get(copied..span.start).unwrap_or_default());
            copied = span.end;
            let record = body.get(span.clone()).unwrap_or_default();
            match json::sound(record) {
                Ok(()) => match self.span(body, span, met)? {
                    Some(treated) => out.extend_from_slice(&treated),
                    None => out.extend_from_slice(record),
                },
                Err(stop) => out.extend_from_slice(unsound::placeholder(record, stop, self.again).as_bytes()),
            }
        }
        out.extend_from_slice(body.get(copied..).unwrap_or_default());
        Ok(out)
    }

    /// Treats a body, in which nobody knows where records begin: every object may be one. Elements of a listing that are no
    /// JSON become placeholders. None where nothing of it changes.
    ///
    /// # Errors
    /// When it is not JSON, nor a sequence of JSON texts.
    pub(crate) fn body(&self, body: &[u8]) -> Result<Option<Vec<u8>>, Failed> {
        let patched = unsound::patched(body, self.again);
        let input = patched.as_ref().map_or(body, |patched| &patched.rest);
        let mut walk = self.walk(input, true);
        walk.holes = patched.as_ref().map(|patched| patched.holes.clone()).unwrap_or_default();
        walk.all(crate::json::content_start(body))?;
        if walk.out.is_empty() && walk.copied == 0 {
            return Ok(None);
        }
        walk.flush(body.len());
        Ok(Some(walk.out))
    }

    /// Lists the texts in a body that are personal data, as far as they are told apart from others: those of 4 bytes and
    /// more.
    pub(super) fn originals(&self, body: &[u8]) -> Vec<String> {
        let Some(Patched { rest, holes }) = unsound::patched(body, self.again) else {
            let mut walk = self.walk(body, true);
            walk.originals = Some(Vec::new());
            // What comes after a fault is searched for as far as it was found.
            let _ = walk.all(crate::json::content_start(body));
            return walk.originals.unwrap_or_default();
        };
        let mut walk = self.walk(&rest, true);
        walk.originals = Some(Vec::new());
        let _ = walk.all(crate::json::content_start(body));
        // In what is no JSON, every text may be one.
        walk.input = body;
        for (hole, _) in holes {
            walk.original(hole.start, hole.end);
        }
        walk.originals.unwrap_or_default()
    }
}

fn json_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Walk<'a> {
    treatment: &'a Treatment,
    input: &'a [u8],
    /// Whether paths that begin at the record may begin at any object.
    anywhere: bool,
    out: Vec<u8>,
    /// Up to where the input is in the output, or left out of it.
    copied: usize,
    /// Paths that are being followed, for each object that is open.
    open: Vec<usize>,
    scratch: Vec<u8>,
    met: Vec<u64>,
    /// Values that were replaced or left out, where they are wanted.
    originals: Option<Vec<String>>,
    /// Places at which something else is put, in order.
    holes: Vec<(std::ops::Range<usize>, String)>,
}

impl Walk<'_> {
    fn flush(&mut self, to: usize) {
        self.out.extend_from_slice(self.input.get(self.copied..to).unwrap_or_default());
        self.copied = to;
    }

    /// Goes over all values from a position to the end.
    fn all(&mut self, start: usize) -> Result<(), Failed> {
        let mut at = space(self.input, start);
        while at < self.input.len() {
            at = space(self.input, self.value(at, 0..0, true, MAX_DEPTH)?);
        }
        Ok(())
    }

    /// Treats a field that is added to each record; none where it is left out, and inside none where it stays.
    fn added(&mut self, name: &[u8]) -> Result<Option<Option<String>>, Failed> {
        let start = space(self.input, 0);
        let action = self.follow(name, 0..0, true);
        let open = 0..self.open.len();
        match action {
            Some(Action::Drop) => return Ok(None),
            Some(action) => self.replace(action, start, MAX_DEPTH)?,
            // It is JSON, or refused when it is decoded.
            None => match self.value(start, open, false, MAX_DEPTH) {
                Err(Failed::Json(_)) => return Ok(Some(None)),
                other => other?,
            },
        };
        self.flush(self.input.len());
        Ok(Some(Some(json_text(&self.out))))
    }

    fn follow(&mut self, name: &[u8], from: std::ops::Range<usize>, root: bool) -> Option<Action> {
        let Self { treatment, anywhere, open, met, .. } = self;
        treatment.rules.step(name, root || *anywhere, open, from, |path| {
            if let Some(met) = met.get_mut(path) {
                *met += 1;
            }
        })
    }

    /// Goes over a value to which the paths in `from` lead; returns the position after it.
    fn value(&mut self, at: usize, from: std::ops::Range<usize>, root: bool, depth: usize) -> Result<usize, Failed> {
        match byte(self.input, at) {
            b'{' => self.object(at, from, root, deeper(at, depth)?),
            b'0' if !self.holes.is_empty() => match self.hole(at) {
                Some(end) => Ok(end),
                None => self.scalar(at),
            },
            b'[' => {
                let depth = deeper(at, depth)?;
                self.elements(at, |walk, at| walk.value(at, from.clone(), root, depth))
            }
            _ => self.scalar(at),
        }
    }

    /// Fills the hole at a position, if there is one; returns its end.
    fn hole(&mut self, at: usize) -> Option<usize> {
        let place = self.holes.binary_search_by_key(&at, |hole| hole.0.start).ok()?;
        let (hole, filling) = self.holes.get(place).cloned()?;
        self.flush(at);
        self.out.extend_from_slice(filling.as_bytes());
        self.copied = hole.end;
        Some(hole.end)
    }

    fn elements(
        &mut self,
        start: usize,
        mut each: impl FnMut(&mut Self, usize) -> Result<usize, Failed>,
    ) -> Result<usize, Failed> {
        let mut at = space(self.input, start + 1);
        if byte(self.input, at) == b']' {
            return Ok(at + 1);
        }
        loop {
            at = space(self.input, each(self, at)?);
            match byte(self.input, at) {
                b',' => at = space(self.input, at + 1),
                b']' => return Ok(at + 1),
                _ => return Err(scan::unexpected(self.input, at).into()),
            }
        }
    }

    fn object(
        &mut self,
        start: usize,
        from: std::ops::Range<usize>,
        root: bool,
        depth: usize,
    ) -> Result<usize, Failed> {
        let input = self.input;
        let mut at = space(input, start + 1);
        if byte(input, at) == b'}' {
            return Ok(at + 1);
        }
        // The end of the last member that stays, and whether members were left out since.
        let mut kept: Option<usize> = None;
        let mut gap = false;
        loop {
            if byte(input, at) != b'"' {
                return Err(scan::unexpected(input, at).into());
            }
            let member = at;
            let (end, escaped) = scan::string(input, at + 1)?;
            let raw = input.get(at + 1..end).unwrap_or_default();
            let open = self.open.len();
            let action = if escaped {
                let mut name = std::mem::take(&mut self.scratch);
                name.clear();
                // A name that no text can hold is none that a path has.
                let known = text::unescape(raw, &mut name).is_ok();
                let action = self.follow(if known { &name } else { raw }, from.clone(), root);
                self.scratch = name;
                action
            } else {
                self.follow(raw, from.clone(), root)
            };
            at = space(input, end + 1);
            if byte(input, at) != b':' {
                return Err(scan::unexpected(input, at).into());
            }
            let value = space(input, at + 1);
            let end = if action == Some(Action::Drop) {
                let end = self.skip(value)?;
                self.original(value, end);
                if !gap {
                    self.flush(kept.unwrap_or(start + 1));
                }
                gap = true;
                self.copied = end;
                end
            } else {
                if gap {
                    if kept.is_some() {
                        self.out.push(b',');
                    }
                    self.copied = member;
                    gap = false;
                }
                let paths = open..self.open.len();
                let end = match action {
                    Some(action) => self.replace(action, value, depth)?,
                    None if paths.is_empty() && !self.anywhere && !self.treatment.rules.begin_anywhere() => {
                        self.skip(value)?
                    }
                    None => self.value(value, paths, false, depth)?,
                };
                kept = Some(end);
                end
            };
            self.open.truncate(open);
            at = space(input, end);
            match byte(input, at) {
                b',' => at = space(input, at + 1),
                b'}' => {
                    if gap {
                        self.copied = at;
                    }
                    return Ok(at + 1);
                }
                _ => return Err(scan::unexpected(input, at).into()),
            }
        }
    }

    /// Replaces a value, or each element of an array; null stays null. Returns the position after it.
    fn replace(&mut self, action: Action, at: usize, depth: usize) -> Result<usize, Failed> {
        match byte(self.input, at) {
            b'n' => return Ok(scan::literal(self.input, at, b"null")?),
            b'[' => {
                let depth = deeper(at, depth)?;
                return self.elements(at, |walk, at| walk.replace(action, at, depth));
            }
            _ => {}
        }
        let end = self.skip(at)?;
        if self.originals.is_some() {
            self.original(at, end);
            return Ok(end);
        }
        let json = self.input.get(at..end).unwrap_or_default();
        let hash = if action == Action::Hash {
            if self.treatment.again && is_hash(json) {
                return Ok(end);
            }
            let key = self.treatment.key.as_ref().ok_or(Failed::NoKey)?;
            self.scratch.clear();
            match json {
                [b'"', inside @ .., b'"'] => {
                    if text::unescape(inside, &mut self.scratch).is_err() {
                        self.scratch.clear();
                        self.scratch.extend_from_slice(inside);
                    }
                }
                _ => text::compact(json, &mut self.scratch),
            }
            Some(key.hash(&self.scratch))
        } else {
            None
        };
        self.flush(at);
        self.out.push(b'"');
        self.out.extend_from_slice(hash.as_ref().map_or(MASK, |hash| hash.as_bytes()));
        self.out.push(b'"');
        self.copied = end;
        Ok(end)
    }

    fn scalar(&self, at: usize) -> Result<usize, Failed> {
        Ok(match byte(self.input, at) {
            b'"' => scan::string(self.input, at + 1)?.0 + 1,
            b't' => scan::literal(self.input, at, b"true")?,
            b'f' => scan::literal(self.input, at, b"false")?,
            b'n' => scan::literal(self.input, at, b"null")?,
            b'-' | b'0'..=b'9' => scan::number(self.input, at)?,
            _ => return Err(scan::unexpected(self.input, at).into()),
        })
    }

    /// Skips a value; what is in an array or object only by its brackets and strings.
    fn skip(&self, start: usize) -> Result<usize, Failed> {
        if !matches!(byte(self.input, start), b'{' | b'[') {
            return self.scalar(start);
        }
        let (mut at, mut depth) = (start, 0_usize);
        loop {
            match self.input.get(at) {
                None => return Err(Stop::new(at, Cause::End).into()),
                Some(b'"') => at = scan::string(self.input, at + 1)?.0,
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(_) => {}
            }
            at += 1;
            if depth == 0 {
                return Ok(at);
            }
        }
    }

    /// Takes note of the texts and numbers in a value that was replaced or left out.
    fn original(&mut self, start: usize, end: usize) {
        let Some(originals) = &mut self.originals else { return };
        let mut at = start;
        while at < end {
            match byte(self.input, at) {
                b'"' => {
                    let Ok((close, _)) = scan::string(self.input, at + 1) else { return };
                    let inside = self.input.get(at + 1..close).unwrap_or_default();
                    at = close + 1;
                    let is_name = byte(self.input, space(self.input, at)) == b':' && space(self.input, at) < end;
                    let mut text = Vec::new();
                    if !is_name && text::unescape(inside, &mut text).is_ok() {
                        originals.extend(String::from_utf8(text).ok().filter(|text| text.len() >= 4));
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let close = scan::number(self.input, at).unwrap_or(at + 1).max(at + 1);
                    let digits = self.input.get(at..close).unwrap_or_default();
                    if digits.len() >= MIN_NUMBER_CHARS {
                        originals.push(json_text(digits));
                    }
                    at = close;
                }
                _ => at += 1,
            }
        }
    }
}

fn deeper(at: usize, depth: usize) -> Result<usize, Failed> {
    depth.checked_sub(1).ok_or(Failed::Json(Stop::new(at, Cause::Depth)))
}

fn is_hash(json: &[u8]) -> bool {
    json.len() == HASH_CHARS + 2
        && matches!(json, [b'"', inside @ .., b'"'] if inside.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn treatment(rules: &[(Action, &str)], again: bool) -> Treatment {
        let mut all = Rules::default();
        for (action, path) in rules {
            all.add(*action, path, true).unwrap();
        }
        Treatment::new(all, Some(Arc::new(Key::new("0123456789abcdef"))), again)
    }

    fn page(treatment: &Treatment, json: &str) -> String {
        let mut page = Page::from_json(Bytes::copy_from_slice(json.as_bytes()));
        treatment.page(&mut page).unwrap();
        String::from_utf8(page.body.slice(page.range.clone()).to_vec()).unwrap()
    }

    #[test]
    fn members_are_left_out_wherever_they_stand() {
        let drop = treatment(&[(Action::Drop, "x"), (Action::Drop, "o.y"), (Action::Drop, "/top")], false);
        for (before, after) in [
            (r#"[{"x":1}]"#, "[{}]"),
            (r#"[{ "x" : 1 , "a":2 }]"#, r#"[{"a":2 }]"#),
            (r#"[{"a":1, "x":{"y":[1,"}"]}, "b":2}]"#, r#"[{"a":1,"b":2}]"#),
            (r#"[{"a":1,"x":1,"x":2}]"#, r#"[{"a":1}]"#),
            (r#"[{"x":1,"x":2,"a":1,"x":3,"b":2,"x":4}]"#, r#"[{"a":1,"b":2}]"#),
            (r#"[{"l":[{"x":1,"z":1},[{"x":2}]],"\u0078":3}]"#, r#"[{"l":[{"z":1},[{}]]}]"#),
            (r#"[{"o":{"y":1,"z":2},"y":3,"p":{"o":[{"y":4}]}}]"#, r#"[{"o":{"z":2},"y":3,"p":{"o":[{}]}}]"#),
            (r#"[{"top":1,"o":{"top":2}}]"#, r#"[{"o":{"top":2}}]"#),
            ("{\"a\":1,\"x\":2}\n{\"x\":3}", "{\"a\":1}\n{}"),
            (r#"[{"a":"x"}]"#, r#"[{"a":"x"}]"#),
        ] {
            assert_eq!(page(&drop, before), after, "{before}");
            assert_eq!(page(&drop, after), after);
        }
        assert!(drop.unmet(true).is_empty());
        assert_eq!(treatment(&[(Action::Drop, "x")], false).unmet(true), ["x"]);
    }

    #[test]
    fn values_are_hashed_and_masked_also_in_arrays_and_null_stays() {
        let rules = treatment(
            &[(Action::Hash, "mail"), (Action::Mask, "*.phone"), (Action::Mask, "both"), (Action::Hash, "both")],
            false,
        );
        // By `printf a@b.c | openssl dgst -sha256 -hmac 0123456789abcdef`.
        let hash = "c8b9adc27ca0fc812e2cca09aab792e34c9d8d2fce3408abb47cb633bbb5e77f";
        let hashed = page(&rules, r#"[{"mail":"a@b.c"}]"#);
        assert_eq!(
            page(&rules, r#"[{"mail":["a@b.c",null,"a\u0040b.c"],"both":1,"phone":2,"o":{"phone":{"a":1}}}]"#),
            format!(r#"[{{"mail":["{hash}",null,"{hash}"],"both":"***","phone":2,"o":{{"phone":"***"}}}}]"#)
        );
        assert_eq!(page(&rules, r#"[{"mail":12}]"#), page(&rules, r#"[{"mail":"12"}]"#));
        // What is a hash is hashed like anything else, but where the text may have been treated before.
        assert_ne!(page(&rules, &hashed), hashed);
        assert_eq!(page(&treatment(&[(Action::Hash, "mail")], true), &hashed), hashed);
    }

    #[test]
    fn of_a_record_that_is_no_json_nothing_is_left() {
        let rules = treatment(&[(Action::Mask, "mail"), (Action::Drop, "x")], false);
        let bad = r#"{"id":2,"a":"q"r","mail":"a@b.c","k":"s"t"}"#;
        let placeholder = format!("{{withheld: {} bytes, something unexpected}}", bad.len());
        let good = r#"{"mail":"a@b.c","x":1}"#;
        assert_eq!(
            page(&rules, &format!("[{good},{bad} , {{\"k\":\"e\\x\"}}, {good}]")),
            format!(
                r#"[{{"mail":"***"}},{placeholder} , {{withheld: 11 bytes, an unknown escape in a string}}, {{"mail":"***"}}]"#
            )
        );
        let lines = format!("{good}\n{{\"mail\":\"a@b.c\0\"}}\n{good}\n");
        let expected =
            "{\"mail\":\"***\"}\n{withheld: 17 bytes, a control character in a string}\n{\"mail\":\"***\"}\n";
        assert_eq!(page(&rules, &lines), expected);
        // The archive's body gets the same in its place, and is treated again without a change.
        let body = format!(r#"{{"items":[{good},{{"mail":"a@b.c","n":01}}],"mail":"d@e.f"}}"#);
        let treated = String::from_utf8(rules.body(body.as_bytes()).unwrap().unwrap()).unwrap();
        let expected = r#"{"items":[{"mail":"***"},{withheld: 23 bytes, a malformed number}],"mail":"***"}"#;
        assert_eq!(treated, expected);
        let again = treatment(&[(Action::Mask, "mail"), (Action::Drop, "x")], true);
        assert_eq!(again.body(treated.as_bytes()).unwrap().unwrap(), treated.as_bytes());
        assert_eq!(
            page(&again, r#"[{"a":1},{withheld: 3 bytes, too deeply nested}]"#),
            r#"[{"a":1},{withheld: 3 bytes, too deeply nested}]"#
        );
        let mut cut = Page::from_json(Bytes::from_static(b"[{\"mail\":\"a@b.c\"},{\"mail\":\"a@"));
        assert!(matches!(rules.page(&mut cut), Err(Failed::Json(_))), "nobody knows what is missing");
        assert_eq!(rules.originals(body.as_bytes()), ["a@b.c", "d@e.f", "a@b.c"]);
    }

    #[test]
    fn a_body_is_treated_at_any_object_and_refused_where_it_is_no_json() {
        let rules = treatment(&[(Action::Mask, "/mail"), (Action::Drop, "x")], false);
        let body = |text: &str| rules.body(text.as_bytes()).unwrap().map(|body| String::from_utf8(body).unwrap());
        assert_eq!(body(r#"{"items":[{"mail":"a","x":1}],"n":1}"#).unwrap(), r#"{"items":[{"mail":"***"}],"n":1}"#);
        assert_eq!(body(r#"{"items":[{"id":1}]}"#), None);
        assert_eq!(body(""), None);
        for bad in ["<a>", "hello", "a,b\n1,2", r#"{"mail":"a""#, r#"{"mail":tru}"#, r#"{"x":"#, "[1,]", "{,}"] {
            assert!(rules.body(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn added_fields_are_treated_as_those_of_the_record() {
        let rules = treatment(&[(Action::Mask, "owner.mail"), (Action::Drop, "x"), (Action::Mask, "n")], false);
        let mut page = Page::from_json(Bytes::from_static(b"[{}]"));
        let extra = [("x", "1"), ("n", " 5 "), ("owner", r#"{"mail":"a","b":1}"#), ("k", "tru")];
        page.extra = extra.map(|(name, json)| (name.to_owned(), json.to_owned())).to_vec();
        rules.page(&mut page).unwrap();
        let extra: Vec<_> = page.extra.iter().map(|(name, json)| (name.as_str(), json.as_str())).collect();
        assert_eq!(extra, [("n", " \"***\" "), ("owner", r#"{"mail":"***","b":1}"#), ("k", "tru")]);
    }

    #[test]
    fn the_values_of_a_body_are_listed() {
        let rules = treatment(&[(Action::Hash, "mail"), (Action::Drop, "home")], false);
        let body =
            r#"{"items":[{"mail":"a@b.c","home":{"city":"Bonn","n":12,"zip":531110,"street":"x"},"other":"text"}]}"#;
        assert_eq!(rules.originals(body.as_bytes()), ["a@b.c", "Bonn", "531110"]);
    }
}
