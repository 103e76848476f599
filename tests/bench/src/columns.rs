//! Columns under construction, one type a kind of value.

use std::sync::Arc;

use anyhow::Context;
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, StringArray, StructArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields};

use crate::text::Text;

/// A column that reads its values from the text.
pub trait Column: Default {
    /// Reads a value.
    fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()>;
    /// Appends a row without a value.
    fn null(&mut self);
    /// The number of rows.
    fn rows(&self) -> usize;
    /// The bytes of the rows, roughly.
    fn bytes(&self) -> usize;
    /// The type in Arrow.
    fn data_type() -> DataType;
    /// Takes the rows.
    fn array(&mut self) -> anyhow::Result<ArrayRef>;
}

/// Reads the `null` that stands here.
#[cold]
fn null(text: &mut Text<'_>) -> anyhow::Result<()> {
    if text.take("null") { Ok(()) } else { text.unexpected() }
}

/// Which rows have a value.
#[derive(Debug)]
pub struct Validity(NullBufferBuilder);

impl Default for Validity {
    fn default() -> Self {
        Self(NullBufferBuilder::new(1024))
    }
}

impl Validity {
    #[inline(always)]
    pub(crate) fn push(&mut self, valid: bool) {
        if valid { self.0.append_non_null() } else { self.0.append_null() }
    }

    pub(crate) fn take(&mut self) -> Option<arrow_buffer::NullBuffer> {
        self.0.finish()
    }
}

/// Whole numbers.
#[derive(Debug, Default)]
pub struct Int {
    values: Vec<i64>,
    valid: Validity,
}

impl Column for Int {
    #[inline(always)]
    fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        let start = text.place();
        let negative = text.byte() == b'-';
        if negative {
            text.step();
        }
        let (value, digits) = text.digits(0);
        if digits == 0 {
            return self.other(text);
        }
        let value = if digits <= 18 {
            // Eighteen digits are always below 2^63.
            if negative { -(value as i64) } else { value as i64 }
        } else {
            text.since(start)?.parse()?
        };
        self.values.push(value);
        self.valid.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.values.push(0);
        self.valid.push(false);
    }

    fn rows(&self) -> usize {
        self.values.len()
    }

    fn bytes(&self) -> usize {
        self.values.len() * 8
    }

    fn data_type() -> DataType {
        DataType::Int64
    }

    fn array(&mut self) -> anyhow::Result<ArrayRef> {
        Ok(Arc::new(Int64Array::try_new(ScalarBuffer::from(renew(&mut self.values)), self.valid.take())?))
    }
}

impl Int {
    #[cold]
    fn other(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        null(text)?;
        self.null();
        Ok(())
    }
}

/// Numbers with a fraction.
#[derive(Debug, Default)]
pub struct Float {
    values: Vec<f64>,
    valid: Validity,
}

/// Powers of ten that `f64` holds exactly, as many as are of use here.
const TENS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

impl Column for Float {
    #[inline(always)]
    fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        let start = text.place();
        let (whole, digits) = text.digits(0);
        let mut fraction = 0;
        let mut value = whole;
        if digits > 0 && text.byte() == b'.' {
            text.step();
            (value, fraction) = text.digits(whole);
        }
        // With at most fifteen digits both numbers are exact, and the division is rounded once.
        let exact = digits > 0 && digits + fraction <= 15 && !matches!(text.byte(), b'e' | b'E' | b'.');
        let value = match TENS.get(fraction) {
            Some(power) if exact => value as f64 / power,
            _ => return self.other(text, start),
        };
        self.values.push(value);
        self.valid.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.values.push(0.0);
        self.valid.push(false);
    }

    fn rows(&self) -> usize {
        self.values.len()
    }

    fn bytes(&self) -> usize {
        self.values.len() * 8
    }

    fn data_type() -> DataType {
        DataType::Float64
    }

    fn array(&mut self) -> anyhow::Result<ArrayRef> {
        Ok(Arc::new(Float64Array::try_new(ScalarBuffer::from(renew(&mut self.values)), self.valid.take())?))
    }
}

impl Float {
    #[cold]
    fn other(&mut self, text: &mut Text<'_>, start: usize) -> anyhow::Result<()> {
        if text.place() == start && text.byte() == b'n' {
            null(text)?;
            self.null();
            return Ok(());
        }
        self.values.push(text.since(start)?.parse()?);
        self.valid.push(true);
        Ok(())
    }
}

/// `true` and `false`.
#[derive(Debug, Default)]
pub struct Bool {
    bits: Vec<u64>,
    rows: usize,
    valid: Validity,
}

impl Column for Bool {
    #[inline(always)]
    fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        let value = if text.take("true") {
            true
        } else if text.take("false") {
            false
        } else {
            null(text)?;
            self.null();
            return Ok(());
        };
        self.push(value);
        self.valid.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.push(false);
        self.valid.push(false);
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.bits.len() * 8
    }

    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn array(&mut self) -> anyhow::Result<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        let bits = BooleanBuffer::new(Buffer::from_vec(renew(&mut self.bits)), 0, rows);
        Ok(Arc::new(BooleanArray::new(bits, self.valid.take())))
    }
}

impl Bool {
    #[inline(always)]
    fn push(&mut self, value: bool) {
        let bit = u64::from(value) << (self.rows % 64);
        match self.bits.last_mut() {
            Some(word) if !self.rows.is_multiple_of(64) => *word |= bit,
            _ => self.bits.push(bit),
        }
        self.rows += 1;
    }
}

/// Texts.
#[derive(Debug)]
pub struct Str {
    /// Longer than what is used of it, so that a block can be written before its end is known.
    values: Vec<u8>,
    offsets: Vec<i32>,
    valid: Validity,
}

impl Default for Str {
    fn default() -> Self {
        Self { values: Vec::new(), offsets: vec![0], valid: Validity::default() }
    }
}

impl Column for Str {
    #[inline(always)]
    fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        if text.byte() != b'"' {
            return self.other(text);
        }
        let end = self.end();
        let end = text.string(&mut self.values, end)?;
        // A row group is far below 2 GiB.
        self.offsets.push(end as i32);
        self.valid.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.offsets.push(self.end() as i32);
        self.valid.push(false);
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn bytes(&self) -> usize {
        self.end() + self.rows() * 4
    }

    fn data_type() -> DataType {
        DataType::Utf8
    }

    fn array(&mut self) -> anyhow::Result<ArrayRef> {
        let end = self.end();
        let capacity = self.values.len();
        let mut values = std::mem::replace(&mut self.values, vec![0; capacity]);
        values.truncate(end);
        let mut fresh = Vec::with_capacity(self.offsets.len() + 1024);
        fresh.push(0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, fresh)));
        // Checks that the values are UTF-8: the only look at it.
        Ok(Arc::new(StringArray::try_new(offsets, Buffer::from_vec(values), self.valid.take())?))
    }
}

impl Str {
    #[inline(always)]
    fn end(&self) -> usize {
        self.offsets.last().map_or(0, |end| *end as usize)
    }

    #[cold]
    fn other(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        null(text)?;
        self.null();
        Ok(())
    }
}

/// A field that never had a value.
#[derive(Debug, Default)]
pub struct Nothing {
    rows: usize,
}

impl Column for Nothing {
    #[inline(always)]
    fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        if !text.take("null") {
            return text.unexpected();
        }
        self.rows += 1;
        Ok(())
    }

    fn null(&mut self) {
        self.rows += 1;
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        0
    }

    fn data_type() -> DataType {
        DataType::Null
    }

    fn array(&mut self) -> anyhow::Result<ArrayRef> {
        Ok(Arc::new(NullArray::new(std::mem::take(&mut self.rows))))
    }
}

/// Arrays.
#[derive(Debug)]
pub struct List<T> {
    items: T,
    offsets: Vec<i32>,
    valid: Validity,
}

impl<T: Column> Default for List<T> {
    fn default() -> Self {
        Self { items: T::default(), offsets: vec![0], valid: Validity::default() }
    }
}

impl<T: Column> Column for List<T> {
    #[inline(always)]
    fn read(&mut self, text: &mut Text<'_>) -> anyhow::Result<()> {
        if text.byte() != b'[' {
            null(text)?;
            self.null();
            return Ok(());
        }
        text.step();
        text.space();
        if text.byte() == b']' {
            text.step();
        } else {
            loop {
                self.items.read(text)?;
                text.space();
                match text.byte() {
                    b',' => text.step(),
                    b']' => break text.step(),
                    _ => return text.unexpected(),
                }
                text.space();
            }
        }
        self.offsets.push(i32::try_from(self.items.rows()).context("a list of more than 2^31 items")?);
        self.valid.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.valid.push(false);
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn bytes(&self) -> usize {
        self.items.bytes() + self.rows() * 4
    }

    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new("element", T::data_type(), true)))
    }

    fn array(&mut self) -> anyhow::Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, vec![0])));
        let item = Arc::new(Field::new("element", T::data_type(), true));
        Ok(Arc::new(ListArray::try_new(item, offsets, self.items.array()?, self.valid.take())?))
    }
}

/// Makes an object's column out of its fields'.
pub(crate) fn object(
    fields: Fields,
    arrays: Vec<ArrayRef>,
    validity: &mut Validity,
    rows: usize,
) -> anyhow::Result<ArrayRef> {
    Ok(Arc::new(StructArray::try_new_with_length(fields, arrays, validity.take(), rows)?))
}

/// Takes the values, and leaves an empty vector that is as large: the next rows will be much like these.
fn renew<T>(values: &mut Vec<T>) -> Vec<T> {
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity))
}
