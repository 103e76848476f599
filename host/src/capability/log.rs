//! `log`: structured lines with the connector's name, bounded in volume. Standard output and error of a guest come here
//! too (see [`super::wasi`]).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{HasData, Linker};

use crate::auth::Secrets;
use crate::engine::bindings::ingest::connector::log;
use crate::engine::guest::Guest;
use crate::engine::limits::{Limit, LimitReached};
use crate::event::{Event, Level, Observer, printable};
use crate::personal::Recent;

/// State of the `log` interface. Clones share one volume.
#[derive(Clone)]
pub struct LogCtx {
    target: Arc<str>,
    observer: Arc<dyn Observer>,
    secrets: Secrets,
    written: Arc<AtomicU64>,
    max_bytes: u64,
    recent: Option<Arc<Recent>>,
}

impl LogCtx {
    /// Makes a log whose lines carry `target`, and that takes `max_bytes` of text.
    pub fn new(target: Arc<str>, observer: Arc<dyn Observer>, secrets: Secrets, max_bytes: u64) -> Self {
        Self { target, observer, secrets, written: Arc::new(AtomicU64::new(0)), max_bytes, recent: None }
    }

    /// Cleans lines of personal data in the last responses.
    pub(crate) fn remembering(self, recent: Option<Arc<Recent>>) -> Self {
        Self { recent, ..self }
    }

    fn clean(&self, text: &str) -> String {
        let text = self.recent.as_ref().map_or(Cow::Borrowed(text), |recent| recent.clean(text));
        printable(&self.secrets.redact(&text)).into_owned()
    }

    /// Writes one line.
    ///
    /// # Errors
    ///
    /// When the volume is used up.
    pub fn write(&self, level: Level, message: &str, fields: &[(String, String)]) -> Result<(), LimitReached> {
        let fields_bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = (message.len() + fields_bytes) as u64;
        // An empty line costs something too: otherwise it could be repeated forever.
        let before = self.written.fetch_add(bytes.max(16), Ordering::Relaxed);
        if before.saturating_add(bytes) > self.max_bytes {
            return Err(LimitReached::bytes(Limit::Log, self.max_bytes));
        }
        self.observer.observe(Event::Log {
            target: self.target.to_string(),
            level,
            message: self.clean(message),
            fields: fields.iter().map(|(name, value)| (printable(name).into_owned(), self.clean(value))).collect(),
        });
        Ok(())
    }
}

/// A borrowed view of [`LogCtx`].
pub struct LogView<'a>(pub(crate) &'a mut LogCtx);

impl log::Host for LogView<'_> {
    fn write(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        Ok(self.0.write(level, &message, &fields)?)
    }
}

struct Log;

impl HasData for Log {
    type Data<'a> = LogView<'a>;
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    log::add_to_linker::<_, Log>(linker, |guest| LogView(&mut guest.called().log))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Observer for Lines {
        fn observe(&self, event: Event) {
            if let Event::Log { message, .. } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }

    fn log(max_bytes: u64) -> (Arc<Lines>, LogCtx) {
        let lines = Arc::new(Lines::default());
        let ctx = LogCtx::new("test".into(), lines.clone(), Secrets::default(), max_bytes);
        (lines, ctx)
    }

    #[test]
    fn a_line_cannot_break_out_of_its_line() {
        let (lines, log) = log(100);
        log.write(Level::Info, "one\n\u{1b}[2Jtwo", &[]).unwrap();
        assert_eq!(*lines.0.lock().unwrap(), ["one\\n\\u{1b}[2Jtwo"]);
    }

    #[test]
    fn a_flood_ends_at_the_limit() {
        let (lines, log) = log(64);
        let error = (0..100).find_map(|_| log.write(Level::Info, "", &[]).err()).unwrap();
        assert_eq!(error.limit, Limit::Log);
        assert!(lines.0.lock().unwrap().len() <= 5);
    }
}
