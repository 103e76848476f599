//! Parquet files.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use ::parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::SerializedFileWriter;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, SchemaRef};
use xxhash_rust::xxh3::xxh3_64;

use super::{Limits, NextPath, Sealed, Sink, SinkError, create, remove, sync};
use crate::record::{Appended, Guard, Page, Ready, Refused, Shapes, Table};
use crate::schema::Schema;

/// Size of a data page. Pages of 1 MiB need a quarter more memory and are no faster.
const PAGE_BYTES: usize = 256 * 1024;

/// Rows looked at to decide whether a column of texts repeats itself.
const SAMPLE_ROWS: usize = 1024;

/// Rows of them whose starts are compared, which takes longer.
const PREFIX_ROWS: usize = 512;

/// A dictionary pays where a text comes this many times in the sample, on average; elsewhere it costs time and memory.
const REPEATS: usize = 4;

/// Mean length of the start that a text has in common with the one before, from which on only the rest is stored. Shorter
/// ones are left to the compressor, in the encoding that every reader is best at.
const PREFIX_BYTES: usize = 16;

/// Rows larger than this are written rather than widened in place: text can take several times the memory.
const WIDEN_IN_PLACE_BYTES: usize = 64 << 20;

/// A sink that writes Parquet, compressed with zstd.
pub struct Parquet {
    table: Table,
    limits: Limits,
    next: NextPath,
    open: Option<Open>,
    closed: Vec<Sealed>,
}

/// The file being written. It has at least one row group.
struct Open {
    path: PathBuf,
    schema: SchemaRef,
    writer: SerializedFileWriter<File>,
    factory: ArrowRowGroupWriterFactory,
    rows: u64,
}

impl Parquet {
    /// Makes a sink that goes on with a schema. No file is made before there are rows for it.
    pub fn new(schema: Schema, primary_key: Vec<String>, limits: Limits, next: NextPath) -> Self {
        let mut table = Table::new(schema, primary_key, limits.max_depth, limits.max_record_bytes);
        table.expect(limits.row_group_bytes);
        Self { table, limits, next, open: None, closed: Vec::new() }
    }

    /// Makes room for a wider schema.
    fn widen(&mut self, schema: Schema) -> Result<(), SinkError> {
        if self.open.as_ref().is_some_and(|open| open.schema != schema.to_arrow()) {
            self.close()?;
        }
        self.table.widen(schema);
        Ok(())
    }

    /// Writes the rows in memory as a row group.
    fn flush(&mut self) -> Result<(), SinkError> {
        if self.table.rows() == 0 {
            return Ok(());
        }
        self.table.observe();
        self.write()?;
        self.table.settle(true);
        Ok(())
    }

    fn write(&mut self) -> Result<(), SinkError> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let path = (self.next)();
                let batch = self.table.batch().map_err(|error| encode(&path, error.into()))?;
                let mut open = begin(path, batch.schema(), &batch)?;
                open.write(&batch)?;
                self.table.reuse(batch);
                self.open = Some(open);
                return Ok(());
            }
        };
        let batch = self.table.batch().map_err(|error| encode(&open.path, error.into()))?;
        open.write(&batch)?;
        self.table.reuse(batch);
        Ok(())
    }

    /// Ends the file, if there is one.
    fn close(&mut self) -> Result<(), SinkError> {
        if let Some(open) = self.open.take() {
            self.closed.push(open.end()?);
        }
        Ok(())
    }
}

impl Sink for Parquet {
    fn append(&mut self, page: &Page) -> Result<Appended, SinkError> {
        let appended = loop {
            match self.table.append(page) {
                Ok(appended) => break appended,
                // What is written keeps its types, so that the page has to be looked at anew.
                Err(Refused::Widen(_)) if self.table.bytes() > WIDEN_IN_PLACE_BYTES => self.flush()?,
                Err(Refused::Widen(schema)) => self.widen(schema)?,
                Err(Refused::Full) => self.flush()?,
                Err(Refused::Error(error)) => return Err(error.into()),
            }
        };
        self.write_due()?;
        Ok(appended)
    }

    fn append_ready(&mut self, page: &Page, ready: Ready) -> Result<Appended, SinkError> {
        match self.table.adopt(ready) {
            Some(appended) => Ok(appended),
            None => self.append(page),
        }
    }

    fn is_due(&self) -> bool {
        self.table.rows() >= self.limits.row_group_rows || self.table.bytes() >= self.limits.row_group_bytes
    }

    fn write_due(&mut self) -> Result<(), SinkError> {
        if self.is_due() { self.flush() } else { Ok(()) }
    }

    fn shapes(&mut self, order: Option<&str>) -> Option<Arc<Shapes>> {
        Some(self.table.share(order))
    }

    fn rows(&self) -> u64 {
        let written = self.open.as_ref().map_or(0, |open| open.rows);
        self.closed.iter().map(|sealed| sealed.rows).sum::<u64>() + written + self.table.rows() as u64
    }

    fn bytes(&self) -> u64 {
        let written = self.open.as_ref().map_or(0, |open| open.writer.bytes_written() as u64);
        self.closed.iter().map(|sealed| sealed.bytes).sum::<u64>() + written + self.table.bytes() as u64
    }

    fn memory(&self) -> usize {
        self.table.bytes()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn schema(&self) -> &Schema {
        self.table.schema()
    }

    fn seal(&mut self) -> Result<Vec<Sealed>, SinkError> {
        self.flush()?;
        self.close()?;
        Ok(std::mem::take(&mut self.closed))
    }

    fn guard(&mut self, guard: Guard) {
        self.table.guard(guard);
    }

    fn seal_empty(&mut self) -> Result<Option<Sealed>, SinkError> {
        self.table.settle(false);
        let schema = self.table.schema().to_arrow();
        let path = (self.next)();
        let empty = RecordBatch::new_empty(schema.clone());
        begin(path, schema, &empty)?.end().map(Some)
    }

    fn discard(&mut self) -> Result<(), SinkError> {
        self.table.batch().map(drop).map_err(|error| encode(&PathBuf::new(), error.into()))?;
        let open = self.open.take().map(|open| open.path);
        let closed = self.closed.drain(..).map(|sealed| sealed.path);
        open.into_iter().chain(closed).try_for_each(|path| remove(&path))
    }
}

impl Open {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.row_group(batch).map_err(|source| encode(&self.path, source))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Writes a row group, one column after the other. A compressor holds about a megabyte from its first page on, and
    /// there is one for each column: ended at once, only one of them does so at a time.
    fn row_group(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut columns = self.factory.create_column_writers(self.writer.flushed_row_groups().len())?.into_iter();
        let mut group = self.writer.next_row_group()?;
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, array)? {
                let missing = || ParquetError::General("more columns than the schema has".to_owned());
                let mut column = columns.next().ok_or_else(missing)?;
                column.write(&leaf)?;
                column.close()?.append_to_row_group(&mut group)?;
            }
        }
        group.close().map(|_| ())
    }

    fn end(mut self) -> Result<Sealed, SinkError> {
        self.writer.finish().map_err(|source| encode(&self.path, source))?;
        sync(&self.path, self.writer.inner(), self.rows)
    }
}

/// Makes a file whose properties suit its first rows.
fn begin(path: PathBuf, schema: SchemaRef, first: &RecordBatch) -> Result<Open, SinkError> {
    let properties = properties(first).map_err(|source| encode(&path, source))?;
    let file = create(&path)?;
    let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
    let parts = writer.and_then(ArrowWriter::into_serialized_writer);
    let (writer, factory) = parts.map_err(|source| encode(&path, source))?;
    Ok(Open { path, schema, writer, factory, rows: 0 })
}

/// A full disk shows up as an error of the encoder; it is told as what it is.
fn encode(path: &std::path::Path, source: ParquetError) -> SinkError {
    let path = path.to_owned();
    match source {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => SinkError::Io { path, source: *source },
            Err(inner) => SinkError::Encode { path, source: ParquetError::External(inner) },
        },
        source => SinkError::Encode { path, source },
    }
}

fn properties(first: &RecordBatch) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::PLAIN)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(usize::MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    let mut shapes = Vec::new();
    for column in first.columns() {
        leaves(column, &mut shapes);
    }
    let descriptor = ArrowSchemaConverter::new().convert(&first.schema())?;
    for (column, shape) in descriptor.columns().iter().zip(shapes) {
        let path = column.path().clone();
        match shape {
            Shape::Repeating => builder = builder.set_column_dictionary_enabled(path, true),
            Shape::Prefixed => builder = builder.set_column_encoding(path, Encoding::DELTA_BYTE_ARRAY),
            Shape::Plain => {}
        }
    }
    Ok(builder.build())
}

/// How the values of a column resemble each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nothing to gain from.
    Plain,
    /// Few texts that come again and again: a dictionary.
    Repeating,
    /// Texts that start alike, as the URLs of an API do: what differs is a fraction to encode and compress.
    Prefixed,
}

/// Says of each leaf column, in Parquet's order, how its values resemble each other.
fn leaves(array: &ArrayRef, shapes: &mut Vec<Shape>) {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|column| leaves(column, shapes)),
        DataType::List(_) => leaves(array.as_list::<i32>().values(), shapes),
        DataType::Utf8 => shapes.push(shape(array.as_string())),
        _ => shapes.push(Shape::Plain),
    }
}

fn shape(texts: &StringArray) -> Shape {
    // Rows from all over: records often come sorted, and a stretch of them repeats more than the whole.
    let step = (texts.len() / SAMPLE_ROWS).max(1);
    let sample = || (0..texts.len()).step_by(step).filter(|row| texts.is_valid(*row)).map(|row| texts.value(row));
    let mut seen: Vec<u64> = sample().map(|text| xxh3_64(text.as_bytes())).collect();
    let rows = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if rows >= REPEATS * seen.len().max(1) {
        return Shape::Repeating;
    }
    let (mut pairs, mut bytes, mut shared, mut before) = (0, 0, 0, "");
    for text in sample().step_by((rows / PREFIX_ROWS).max(1)) {
        pairs += 1;
        bytes += text.len();
        shared += before.bytes().zip(text.bytes()).take_while(|(one, two)| one == two).count();
        before = text;
    }
    if shared * 3 >= bytes && shared >= PREFIX_BYTES * pairs && pairs > 0 { Shape::Prefixed } else { Shape::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(text: impl Fn(usize) -> String) -> Shape {
        shape(&(0..50_000).map(|row| Some(text(row))).collect())
    }

    #[test]
    fn the_encoding_follows_the_values() {
        assert_eq!(shape_of(|row| ["Rust", "Go", "C"][row % 3].to_owned()), Shape::Repeating);
        assert_eq!(shape_of(|row| format!("https://api.example.com/repos/{row}")), Shape::Prefixed);
        assert_eq!(shape_of(|row| format!("{row} bottles of something")), Shape::Plain);
        assert_eq!(shape_of(|row| format!("2024-01-01T{row}")), Shape::Plain);
        assert_eq!(shape(&StringArray::new_null(10)), Shape::Plain);
    }
}
