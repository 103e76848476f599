//! Records out of Arrow's columns, for comparing them with what a server said.

use anyhow::{Context, bail};
use arrow_array::{Array, RecordBatch, cast::AsArray, types};
use arrow_schema::DataType;
use serde_json::{Map, Value};

/// The records of a batch, without the fields that are null: a column can't tell null from missing.
///
/// # Errors
///
/// Where a column has a type that the host does not write.
pub fn of_batch(batch: &RecordBatch) -> anyhow::Result<Vec<Value>> {
    let mut records = vec![Map::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        for (place, record) in records.iter_mut().enumerate() {
            if let Some(value) = value(column.as_ref(), place)? {
                record.insert(field.name().clone(), value);
            }
        }
    }
    Ok(records.into_iter().map(Value::Object).collect())
}

/// The same without the fields that are null, at any depth.
#[must_use]
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// One value; none where it is null.
fn value(column: &dyn Array, place: usize) -> anyhow::Result<Option<Value>> {
    if column.is_null(place) || *column.data_type() == DataType::Null {
        return Ok(None);
    }
    Ok(Some(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(place).into(),
        DataType::Int64 => column.as_primitive::<types::Int64Type>().value(place).into(),
        DataType::Float64 => column.as_primitive::<types::Float64Type>().value(place).into(),
        DataType::Utf8 => column.as_string::<i32>().value(place).into(),
        DataType::Struct(_) => {
            let fields = column.as_struct();
            let mut object = Map::new();
            for (name, field) in fields.column_names().into_iter().zip(fields.columns()) {
                if let Some(value) = value(field.as_ref(), place)? {
                    object.insert(name.to_owned(), value);
                }
            }
            object.into()
        }
        DataType::List(_) => {
            let items = column.as_list_opt::<i32>().context("a list")?.value(place);
            let mut array = Vec::new();
            for place in 0..items.len() {
                array.push(value(items.as_ref(), place)?.unwrap_or_default());
            }
            array.into()
        }
        other => bail!("a column of {other}"),
    }))
}
