//! Printing: the only place that writes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use super::colour::{self, Style};
use super::error::CliError;

/// Standard output. A reader that went away ends the command quietly.
pub(crate) struct Out {
    stream: io::BufWriter<io::Stdout>,
}

impl Out {
    pub(crate) fn stdout() -> Self {
        Self { stream: io::BufWriter::new(io::stdout()) }
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), CliError> {
        let mut write = || {
            self.stream.write_all(plain(text.as_ref()).as_bytes())?;
            self.stream.write_all(b"\n")?;
            self.stream.flush()
        };
        write().map_err(CliError::from_output)
    }

    /// Prints a line of several pieces, in colours where they are wanted.
    pub(crate) fn pieces(&mut self, pieces: &[(Style, String)]) -> Result<(), CliError> {
        let colours = colour::are_wanted();
        let paint = |(style, text): &(Style, String)| {
            let text = plain(text);
            if colours && !text.is_empty() { style.paint(&text) } else { text }
        };
        let line: String = pieces.iter().map(paint).collect();
        let written = self.stream.write_all(line.trim_end().as_bytes()).and_then(|()| self.stream.write_all(b"\n"));
        written.and_then(|()| self.stream.flush()).map_err(CliError::from_output)
    }

    /// Prints bytes as they are; to a terminal, with what would steer it escaped.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        if io::stdout().is_terminal() {
            return self.line(String::from_utf8_lossy(bytes));
        }
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(CliError::from_output)
    }

    /// Standard output as a writer of JSON, in which control characters are escaped anyway.
    pub(crate) fn raw(&mut self) -> &mut impl Write {
        &mut self.stream
    }

    /// Prints a table: columns as wide as their widest cell, numbers to the right.
    pub(crate) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
        for line in table(header, rows) {
            self.line(line)?;
        }
        Ok(())
    }
}

/// Prints a line to standard error, where nobody may be reading.
pub(crate) fn stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", plain(text));
}

/// Escapes what would steer a terminal, whoever wrote it; line breaks stay, since our own texts have them.
fn plain(text: &str) -> String {
    text.split('\n').map(host::event::printable).collect::<Vec<_>>().join("\n")
}

/// Whether a person watches standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn table(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |text: &str| text.chars().count();
    let columns: Vec<(usize, bool)> = header
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let widest = rows.iter().map(|row| width(&cell(row, column))).max().unwrap_or(0);
            let numeric = !rows.is_empty()
                && rows.iter().all(|row| cell(row, column).chars().next().is_none_or(|first| first.is_ascii_digit()))
                && rows.iter().any(|row| !cell(row, column).is_empty());
            (widest.max(width(title)), numeric)
        })
        .collect();
    let titles: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    std::iter::once(&titles)
        .chain(rows)
        .map(|row| {
            let cells = columns.iter().enumerate().map(|(column, (widest, numeric))| {
                let text = cell(row, column);
                let pad = " ".repeat(widest.saturating_sub(width(&text)));
                if *numeric { format!("{pad}{text}") } else { format!("{text}{pad}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["repos".to_owned(), "1,200".to_owned()], vec!["a".to_owned(), "7".to_owned()]];
        assert_eq!(table(&["stream", "records"], &rows), ["stream  records", "repos     1,200", "a             7"]);
    }
}
