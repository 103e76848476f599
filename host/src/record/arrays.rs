//! From columns to Arrow arrays.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BooleanArray, ListArray, NullArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Fields};

use super::column::{Column, Data, Group, Texts};
use super::table::Table;

impl Table {
    /// Takes the rows as a batch; the table goes on without them.
    pub fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let schema = self.schema().to_arrow();
        let (rows, root) = self.take();
        let arrays = group(root, schema.fields(), rows)?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, arrays, &options)
    }
}

fn group(all: &mut Group, fields: &Fields, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    if all.members.is_empty() {
        return Ok(vec![Arc::new(NullArray::new(rows))]);
    }
    all.members.iter_mut().zip(fields).map(|(member, field)| array(&mut member.column, field.data_type())).collect()
}

/// Takes vectors out of a column, and leaves it empty ones that are as large: the next rows will be much like these.
fn array(column: &mut Column, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let (rows, bits) = column.valid.take();
    let nulls = bits.map(|words| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(words), 0, rows)));
    Ok(match (&mut column.data, kind) {
        (Data::Unknown, _) => Arc::new(NullArray::new(rows)),
        (Data::Bool(values), _) => Arc::new(BooleanArray::new(BooleanBuffer::from(std::mem::take(values)), nulls)),
        (Data::Int { values, .. }, _) => {
            Arc::new(PrimitiveArray::<Int64Type>::try_new(ScalarBuffer::from(renew(values)), nulls)?)
        }
        (Data::Float(values), _) => {
            Arc::new(PrimitiveArray::<Float64Type>::try_new(ScalarBuffer::from(renew(values)), nulls)?)
        }
        (Data::Timestamp(values), kind) => {
            let array = PrimitiveArray::<TimestampMicrosecondType>::try_new(ScalarBuffer::from(renew(values)), nulls)?;
            Arc::new(array.with_data_type(kind.clone()))
        }
        (Data::Text(texts) | Data::Json(texts), _) => {
            let Texts { values, offsets, .. } = renew_texts(texts);
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            Arc::new(StringArray::try_new(offsets, Buffer::from_vec(values), nulls)?)
        }
        (Data::Struct(all), DataType::Struct(fields)) => {
            let arrays = group(all, fields, rows)?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows)?)
        }
        (Data::List { offsets, items }, DataType::List(item)) => {
            let mut fresh = Vec::with_capacity(offsets.len());
            fresh.push(0);
            let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, fresh)));
            Arc::new(ListArray::try_new(Arc::clone(item), ends, array(items, item.data_type())?, nulls)?)
        }
        (_, kind) => return Err(ArrowError::SchemaError(format!("a column is not of its type: {kind}"))),
    })
}

fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity))
}

fn renew_texts(texts: &mut Texts) -> Texts {
    let mut fresh = Texts::default();
    fresh.values.reserve(texts.values.len());
    fresh.offsets.reserve(texts.offsets.len());
    std::mem::replace(texts, fresh)
}
