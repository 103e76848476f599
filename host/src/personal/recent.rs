//! The values of the responses that came last, so that texts which quote them can be cleaned: a connector gets the original,
//! and may write it to its log or into an error.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, MatchKind};
use bytes::Bytes;

use super::treat::{MASK, Treatment};

/// Responses that are looked through. A connector that speaks of a record does so while it is at it.
const BODIES: usize = 16;
/// Bytes of them that are kept beyond their time.
const BODY_BYTES: usize = 16 << 20;

/// What a read got last, and what is personal data in it. Nothing is searched for before a text has to be cleaned.
#[derive(Debug)]
pub(crate) struct Recent {
    treatment: Arc<Treatment>,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    bodies: VecDeque<(Bytes, Option<Vec<String>>)>,
    /// None until it is needed; inside none where there is nothing to search for.
    search: Option<Option<AhoCorasick>>,
}

impl Recent {
    pub(crate) fn new(treatment: Arc<Treatment>) -> Self {
        Self { treatment, now: Mutex::default() }
    }

    /// The treatment of the read's stream.
    pub(crate) fn treatment(&self) -> &Treatment {
        &self.treatment
    }

    /// Takes note of a response's body.
    pub(crate) fn came(&self, body: &Bytes) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.bodies.push_back((body.clone(), None));
        now.search = None;
        let bytes = |now: &Now| now.bodies.iter().map(|(body, _)| body.len()).sum::<usize>();
        while now.bodies.len() > BODIES || (now.bodies.len() > 1 && bytes(&now) > BODY_BYTES) {
            now.bodies.pop_front();
        }
    }

    /// Replaces every value in a text that was personal data in one of the last responses.
    pub(crate) fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let Now { bodies, search } = &mut *now;
        let search = search.get_or_insert_with(|| {
            for (body, values) in bodies.iter_mut() {
                values.get_or_insert_with(|| self.treatment.originals(body));
            }
            let values: Vec<&String> = bodies.iter().filter_map(|(_, values)| values.as_ref()).flatten().collect();
            // A value within another must not leave the rest of it.
            let builder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(values);
            builder.ok().filter(|search| search.patterns_len() > 0)
        });
        let Some(search) = search else { return Cow::Borrowed(text) };
        if !search.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mask = String::from_utf8_lossy(MASK);
        let mut clean = String::new();
        search.replace_all_with(text, &mut clean, |_, _, out| {
            out.push_str(&mask);
            true
        });
        Cow::Owned(clean)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Action, Rules};
    use super::*;

    #[test]
    fn texts_are_cleaned_of_what_came_last() {
        let mut rules = Rules::default();
        rules.add(Action::Drop, "mail", true).unwrap();
        let recent = Recent::new(Arc::new(Treatment::new(rules, None, false)));
        assert_eq!(recent.clean("a@b.c"), "a@b.c");
        let body = |mail: &str| Bytes::from(format!(r#"[{{"mail":"{mail}"}}]"#));
        recent.came(&body("a@b.c"));
        recent.came(&body("a@b.com"));
        assert_eq!(recent.clean("from a@b.com to a@b.c, <x@b.c>"), "from *** to ***, <x@b.c>");
        (0..BODIES).for_each(|_| recent.came(&body("other")));
        assert_eq!(recent.clean("from a@b.c"), "from a@b.c", "what came long ago is not kept");
    }
}
