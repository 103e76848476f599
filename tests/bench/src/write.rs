//! Parquet, with an encoding for each column that suits what is known of its values.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow_array::RecordBatch;
use arrow_schema::{Fields, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;

/// Larger pages take more memory, and are no faster.
const PAGE_BYTES: usize = 256 << 10;

/// Texts of which there are few: a dictionary.
const REPEATING: [&str; 14] = [
    "group",
    "owner.login",
    "tags.list.element",
    "body",
    "description",
    "language",
    "visibility",
    "default_branch",
    "topics.list.element",
    "license.key",
    "license.name",
    "license.spdx_id",
    "license.url",
    "parent",
];

/// A file that is being written.
pub struct Writer {
    schema: SchemaRef,
    file: SerializedFileWriter<File>,
    columns: ArrowRowGroupWriterFactory,
}

impl Writer {
    /// Makes the file.
    pub fn new(path: &Path, fields: Fields) -> anyhow::Result<Self> {
        let schema = Arc::new(Schema::new(fields));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::PLAIN)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_data_page_row_count_limit(usize::MAX)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true);
        for column in ArrowSchemaConverter::new().convert(&schema)?.columns() {
            let path = column.path();
            let name = path.string();
            if REPEATING.contains(&name.as_str()) {
                properties = properties.set_column_dictionary_enabled(path.clone(), true);
            } else if name.ends_with("_url") && name != "mirror_url" {
                properties = properties.set_column_encoding(path.clone(), Encoding::DELTA_BYTE_ARRAY);
            }
        }
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties.build()))?;
        let (file, columns) = writer.into_serialized_writer()?;
        Ok(Self { schema, file, columns })
    }

    /// Writes a row group, one column after the other: so only one compressor holds memory at a time.
    pub fn row_group(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let mut writers = self.columns.create_column_writers(self.file.flushed_row_groups().len())?.into_iter();
        let mut group = self.file.next_row_group()?;
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, array)? {
                let mut writer = writers.next().context("more columns than the schema has")?;
                writer.write(&leaf)?;
                writer.close()?.append_to_row_group(&mut group)?;
            }
        }
        group.close()?;
        Ok(())
    }

    /// Ends the file.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.file.finish()?;
        Ok(())
    }

    /// The schema in Arrow.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
