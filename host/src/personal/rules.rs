//! Paths of fields, and how they are found in JSON.
//!
//! `owner.email` is every field `email` of an `owner`, at any depth; `email` every field of that name. `/owner/email`, with
//! slashes as an RFC 6901 pointer, begins at the record. `*` stands for any one name. Arrays are passed through: the field
//! of an array is that of each of its elements.

/// What is done with a field; the greatest of several is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Hash,
    Mask,
    Drop,
}

/// Paths and what is done at their ends. All their names lie in one list; a place in it says how far a path was followed.
#[derive(Debug, Default)]
pub(super) struct Rules {
    steps: Vec<Step>,
    /// First steps of paths that begin anywhere.
    anywhere: Vec<usize>,
    /// First steps of all paths.
    all: Vec<usize>,
    /// The paths as written.
    paths: Vec<Path>,
}

#[derive(Debug)]
struct Step {
    /// None for any name.
    name: Option<Box<[u8]>>,
    /// At the end of a path: what is done, and the path.
    end: Option<(Action, usize)>,
}

#[derive(Debug)]
pub(super) struct Path {
    pub(super) text: String,
    /// Whether it is said of one stream, and not of every one.
    pub(super) own: bool,
    anchored: bool,
}

impl Rules {
    /// Adds a path.
    pub(super) fn add(&mut self, action: Action, text: &str, own: bool) -> Result<(), &'static str> {
        let (names, anchored): (Vec<String>, bool) = match text.strip_prefix('/') {
            Some(pointer) => {
                (pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(), true)
            }
            None => (text.split('.').map(|name| name.strip_suffix("[]").unwrap_or(name).to_owned()).collect(), false),
        };
        if names.iter().any(String::is_empty) {
            return Err("a name in it is empty");
        }
        let first = self.steps.len();
        self.all.push(first);
        if !anchored {
            self.anywhere.push(first);
        }
        let last = names.len();
        for (place, name) in names.into_iter().enumerate() {
            let name = (name != "*").then(|| name.into_bytes().into_boxed_slice());
            let end = (place + 1 == last).then_some((action, self.paths.len()));
            self.steps.push(Step { name, end });
        }
        self.paths.push(Path { text: text.to_owned(), own, anchored });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Whether a path may begin at any object.
    pub(super) fn begin_anywhere(&self) -> bool {
        !self.anywhere.is_empty()
    }

    /// A path that begins at the record.
    pub(super) fn anchored(&self) -> Option<&str> {
        self.paths.iter().find(|path| path.anchored).map(|path| path.text.as_str())
    }

    /// What is done with a field of the record itself.
    pub(super) fn of_field(&self, name: &str) -> Option<Action> {
        self.step(name.as_bytes(), true, &mut Vec::new(), 0..0, |_| {})
    }

    /// Follows the paths that lead here (`from`, of `open`), and those that begin here, by one name: returns what is done with
    /// the field, and puts the paths that go on at the end of `open`. Each path that ends is told.
    pub(super) fn step(
        &self,
        name: &[u8],
        all: bool,
        open: &mut Vec<usize>,
        from: std::ops::Range<usize>,
        mut ends: impl FnMut(usize),
    ) -> Option<Action> {
        let mut done = None;
        let begin = if all { &self.all } else { &self.anywhere };
        let mut take = |place: usize| -> Option<usize> {
            let step = self.steps.get(place)?;
            if step.name.as_deref().is_some_and(|own| own != name) {
                return None;
            }
            let Some((action, path)) = step.end else { return Some(place + 1) };
            ends(path);
            done = done.max(Some(action));
            None
        };
        for place in begin {
            open.extend(take(*place));
        }
        for at in from {
            let next = open.get(at).and_then(|place| take(*place));
            open.extend(next);
        }
        done
    }
}
