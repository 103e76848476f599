//! The Arrow types that columns have.

use std::sync::Arc;

use arrow_schema::{DataType, Field as ArrowField, Fields as ArrowFields, SchemaRef, TimeUnit};

use super::{Fields, Schema, Type};

/// The one field, always null, of an object that never had a field. Parquet has no object without fields; this way an
/// empty object and a null stay apart, and readers that union files by name merge it with the fields that come later.
const EMPTY: &str = "_empty";

impl Schema {
    /// Returns the Arrow schema of the columns. Every column is nullable: what one page always has, another may lack.
    ///
    /// A field that was only ever null has Arrow's null type: it can be seen in the file, and readers that union files
    /// by name (DuckDB's `union_by_name`, Polars' `scan_parquet` with the newest file's schema, pyarrow's `unify_schemas`)
    /// take the type of the file that knows it.
    pub fn to_arrow(&self) -> SchemaRef {
        Arc::new(arrow_schema::Schema::new(fields(&self.fields)))
    }
}

fn fields(all: &Fields) -> ArrowFields {
    if all.is_empty() {
        return [ArrowField::new(EMPTY, DataType::Null, true)].into_iter().collect();
    }
    all.iter().map(|field| ArrowField::new(field.column(), data_type(&field.kind), true)).collect()
}

/// The Arrow type of a column.
fn data_type(kind: &Type) -> DataType {
    match kind {
        Type::Unknown => DataType::Null,
        Type::Bool => DataType::Boolean,
        Type::Int { .. } => DataType::Int64,
        Type::Float => DataType::Float64,
        Type::Text(_) | Type::Json(_) => DataType::Utf8,
        Type::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Struct(all) => DataType::Struct(fields(all)),
        // `element` is the name that the Parquet specification gives to a list's items.
        Type::List(item) => DataType::List(Arc::new(ArrowField::new("element", data_type(item), true))),
    }
}
