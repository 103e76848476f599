//! Showing a run while it goes on: lines that move on a terminal, plain lines elsewhere, JSON for machines.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use host::event::{Event, Level, Observer};

use super::{print, units};

/// How to show what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A line for each stream, drawn again and again.
    Moving {
        /// Show what only an author needs.
        verbose: bool,
    },
    /// A line for each thing worth one.
    Lines {
        /// Show what only an author needs.
        verbose: bool,
    },
    /// Warnings and errors only.
    Quiet,
}

/// Time between two drawings, and between two plain lines about the pages of one stream.
const DRAW_EVERY: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(5);

/// An observer that shows what happens on standard error.
pub(crate) struct Progress {
    style: Style,
    screen: Mutex<Screen>,
}

#[derive(Default)]
struct Screen {
    streams: BTreeMap<String, Stream>,
    drawn_lines: usize,
    drawn_at: Option<Instant>,
}

struct Stream {
    started: Instant,
    records: u64,
    pages: u64,
    open_reads: usize,
    ended_reads: usize,
    /// Totals that the API gave, by read.
    totals: BTreeMap<String, u64>,
    waiting_until_ms: Option<u64>,
    failed: bool,
    told_at: Option<Instant>,
}

impl Stream {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            records: 0,
            pages: 0,
            open_reads: 0,
            ended_reads: 0,
            totals: BTreeMap::new(),
            waiting_until_ms: None,
            failed: false,
            told_at: None,
        }
    }

    fn line(&self, name: &str) -> String {
        let (records, pages) = (units::counted(self.records, "record"), units::counted(self.pages, "page"));
        let mut line = format!("{name}: {records}, {pages}");
        let seconds = self.started.elapsed().as_secs_f64();
        let running = self.open_reads > 0;
        if running && seconds > 0.5 {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate for people; nothing is computed from it"
            )]
            let rate = (self.records as f64 / seconds) as u64;
            line.push_str(&format!(", {}/s", units::count(rate)));
            let total: u64 = self.totals.values().sum();
            // Only where every open read gave a total is their sum the whole.
            if self.waiting_until_ms.is_none()
                && rate > 0
                && total > self.records
                && self.totals.len() == self.open_reads + self.ended_reads
            {
                line.push_str(&format!(", ready in {}", units::millis((total - self.records) * 1_000 / rate)));
            }
        }
        if self.open_reads + self.ended_reads > 1 {
            line.push_str(&format!(", {} of {} partitions open", self.open_reads, self.open_reads + self.ended_reads));
        }
        if let Some(until_ms) = self.waiting_until_ms {
            line.push_str(&format!(", waiting for the rate limit until {}", time_of_day(until_ms)));
        }
        if self.failed {
            line.push_str(", failed");
        }
        line
    }
}

fn time_of_day(epoch_ms: u64) -> String {
    let moment = units::moment(epoch_ms);
    format!("{} UTC", moment.get(11..).unwrap_or(&moment))
}

impl Progress {
    pub(crate) fn new(style: Style) -> Self {
        Self { style, screen: Mutex::default() }
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the lines again, so that rates and waits are true although nothing happens.
    pub(crate) fn tick(&self) {
        if matches!(self.style, Style::Moving { .. }) {
            self.screen().draw();
        }
    }

    /// Prints a line whatever the style, above the moving ones.
    pub(crate) fn announce(&self, text: &str) {
        let mut screen = self.screen();
        screen.clear();
        print::stderr(text);
        if matches!(self.style, Style::Moving { .. }) {
            screen.draw();
        }
    }

    /// Takes the moving lines away: the summary says the same and more.
    pub(crate) fn finish(&self) {
        let mut screen = self.screen();
        screen.clear();
        screen.streams.clear();
    }

    fn shows(&self, level: Level) -> bool {
        match self.style {
            Style::Moving { verbose } | Style::Lines { verbose } => {
                level >= Level::Info || (verbose && level >= Level::Debug)
            }
            Style::Quiet => level >= Level::Warn,
        }
    }

    fn tell(&self, screen: &mut Screen, level: Level, text: &str) {
        if !self.shows(level) {
            return;
        }
        screen.clear();
        print::stderr(text);
        if matches!(self.style, Style::Moving { .. }) {
            screen.draw();
        }
    }
}

impl Screen {
    fn clear(&mut self) {
        if self.drawn_lines > 0 {
            // Up to the start of the first drawn line, and everything below it away. What a user typed in between
            // (^C) may have moved the cursor along its line.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[{}A\x1b[J", self.drawn_lines);
            self.drawn_lines = 0;
        }
    }

    fn draw(&mut self) {
        self.clear();
        let lines: Vec<String> = self.streams.iter().map(|(name, stream)| stream.line(name)).collect();
        lines.iter().for_each(|line| print::stderr(line));
        self.drawn_lines = lines.len();
        self.drawn_at = Some(Instant::now());
    }

    fn stream(&mut self, read: &str) -> &mut Stream {
        let name = read.split('/').next().unwrap_or(read);
        self.streams.entry(name.to_owned()).or_insert_with(Stream::new)
    }
}

impl Observer for Progress {
    fn observe(&self, event: Event) {
        let mut screen = self.screen();
        let screen = &mut *screen;
        match event {
            Event::ReadStarted { read, resumed } => {
                screen.stream(&read).open_reads += 1;
                let how = if resumed { "goes on from its checkpoint" } else { "starts" };
                if matches!(self.style, Style::Lines { .. }) {
                    self.tell(screen, Level::Info, &format!("{read}: {how}"));
                }
            }
            Event::Page { read, records, total } => {
                let plain = matches!(self.style, Style::Lines { .. });
                let name = read.split('/').next().unwrap_or(&read).to_owned();
                let stream = screen.stream(&read);
                stream.records += records;
                stream.pages += 1;
                if let Some(total) = total {
                    stream.totals.insert(read, total);
                }
                if plain && stream.told_at.unwrap_or(stream.started).elapsed() >= TELL_EVERY {
                    stream.told_at = Some(Instant::now());
                    let line = stream.line(&name);
                    self.tell(screen, Level::Info, &line);
                }
            }
            Event::Waiting { read, budget, until_ms } => {
                screen.stream(&read).waiting_until_ms = Some(until_ms);
                if matches!(self.style, Style::Lines { .. }) {
                    let text =
                        format!("{read}: waiting for the rate limit of {budget} until {}", time_of_day(until_ms));
                    self.tell(screen, Level::Info, &text);
                }
            }
            Event::Retrying { read, reason, delay } => {
                let delay = units::millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                self.tell(screen, Level::Info, &format!("{read}: {reason}; trying again in {delay}"));
            }
            Event::Committed { stream, records } => {
                self.tell(screen, Level::Debug, &format!("{stream}: committed {}", units::counted(records, "record")));
            }
            Event::ReadEnded { read, error } => {
                let stream = screen.stream(&read);
                stream.open_reads = stream.open_reads.saturating_sub(1);
                stream.ended_reads += 1;
                stream.waiting_until_ms = None;
                stream.failed |= error.is_some();
                match error {
                    Some(error) => self.tell(screen, Level::Error, &format!("{read}: {error}")),
                    None if matches!(self.style, Style::Lines { .. }) => {
                        self.tell(screen, Level::Info, &format!("{read}: ends"));
                    }
                    None => {}
                }
            }
            Event::Log { target, level, message, fields } => {
                let mut text = format!("{target} {}: {message}", level_name(level));
                for (name, value) in fields {
                    text.push_str(&format!(" {name}={value}"));
                }
                self.tell(screen, level, &text);
            }
            Event::Requesting { read } => screen.stream(&read).waiting_until_ms = None,
            // What follows from a crash is told with the end of its read.
            Event::Answered { .. } | Event::Crashed { .. } => {}
        }
        if matches!(self.style, Style::Moving { .. })
            && screen.drawn_at.is_none_or(|drawn| drawn.elapsed() >= DRAW_EVERY)
        {
            screen.draw();
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warning",
        Level::Error => "error",
    }
}
