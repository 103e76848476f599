//! From columns to Arrow arrays.

use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    ArrayRef, BooleanArray, ListArray, NullArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, Fields};

use super::column::{Column, Data, Group};
use super::table::Table;

impl Table {
    /// Takes the rows as a batch; the table goes on without them.
    pub fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let schema = self.schema().to_arrow();
        let (rows, root) = self.take();
        let arrays = group(root, schema.fields(), rows)?;
        root.clear();
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, arrays, &options)
    }

    /// Gives the memory of the last batch back, once it is written: the next rows will be much like these, and fresh memory
    /// costs the kernel a fault for each of its pages.
    pub(crate) fn reuse(&mut self, batch: RecordBatch) {
        let columns = self.columns_mut();
        for (column, array) in columns.zip(batch.into_parts().1) {
            let data = array.to_data();
            drop(array);
            reuse(column, data);
        }
    }
}

fn group(all: &mut Group, fields: &Fields, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    if all.members.is_empty() {
        return Ok(vec![Arc::new(NullArray::new(rows))]);
    }
    all.members.iter_mut().zip(fields).map(|(member, field)| array(&mut member.column, field.data_type())).collect()
}

/// Takes vectors out of a column, and leaves it empty ones without memory, until [`Table::reuse`] brings some.
fn array(column: &mut Column, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let (rows, bits) = column.valid.take();
    let nulls = bits.map(|words| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(words), 0, rows)));
    Ok(match (&mut column.data, kind) {
        (Data::Unknown, _) => Arc::new(NullArray::new(rows)),
        (Data::Bool(values), _) => Arc::new(BooleanArray::new(BooleanBuffer::from(std::mem::take(values)), nulls)),
        (Data::Int { values, .. }, _) => {
            Arc::new(PrimitiveArray::<Int64Type>::try_new(ScalarBuffer::from(std::mem::take(values)), nulls)?)
        }
        (Data::Float(values), _) => {
            Arc::new(PrimitiveArray::<Float64Type>::try_new(ScalarBuffer::from(std::mem::take(values)), nulls)?)
        }
        (Data::Timestamp(values), kind) => {
            let array =
                PrimitiveArray::<TimestampMicrosecondType>::try_new(ScalarBuffer::from(std::mem::take(values)), nulls)?;
            Arc::new(array.with_data_type(kind.clone()))
        }
        (Data::Text(texts) | Data::Json(texts), _) => {
            let (values, offsets) = texts.take();
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            Arc::new(StringArray::try_new(offsets, Buffer::from_vec(values), nulls)?)
        }
        (Data::Struct(all), DataType::Struct(fields)) => {
            let arrays = group(all, fields, rows)?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, rows)?)
        }
        (Data::List { offsets, items }, DataType::List(item)) => {
            let ends = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
            Arc::new(ListArray::try_new(Arc::clone(item), ends, array(items, item.data_type())?, nulls)?)
        }
        (_, kind) => return Err(ArrowError::SchemaError(format!("a column is not of its type: {kind}"))),
    })
}

/// Gives the memory of an array that nobody holds any more back to the column it came from.
fn reuse(column: &mut Column, data: ArrayData) {
    let (_, _, _, _, buffers, children) = data.into_parts();
    let mut buffers = buffers.into_iter();
    let mut children = children.into_iter();
    match &mut column.data {
        Data::Int { values, .. } | Data::Timestamp(values) => refill(values, buffers.next()),
        Data::Float(values) => refill(values, buffers.next()),
        Data::Text(texts) | Data::Json(texts) => {
            refill_offsets(&mut texts.offsets, buffers.next());
            refill(&mut texts.values, buffers.next());
        }
        Data::List { offsets, items } => {
            refill_offsets(offsets, buffers.next());
            if let Some(child) = children.next() {
                reuse(items, child);
            }
        }
        Data::Struct(group) => {
            group.members.iter_mut().zip(children).for_each(|(member, child)| reuse(&mut member.column, child));
        }
        Data::Unknown | Data::Bool(_) => {}
    }
}

fn refill<T: ArrowNativeType>(values: &mut Vec<T>, buffer: Option<Buffer>) {
    if let (true, Some(Ok(mut memory))) = (values.is_empty(), buffer.map(Buffer::into_vec::<T>)) {
        memory.clear();
        *values = memory;
    }
}

fn refill_offsets(offsets: &mut Vec<i32>, buffer: Option<Buffer>) {
    if let ([0], Some(Ok(mut memory))) = (offsets.as_slice(), buffer.map(Buffer::into_vec::<i32>)) {
        memory.clear();
        memory.push(0);
        *offsets = memory;
    }
}
