//! What a pagination answers, before it becomes bytes.

use serde_json::Value;

use super::{
    dataset::Dataset,
    records::{self, Shape},
};

/// How the records lie in the body.
#[derive(Clone, Debug, PartialEq)]
pub enum Envelope {
    /// The body is the array.
    Bare,
    /// The body is an object: the array under `items`, and these fields beside it.
    Object(Vec<(&'static str, Value)>),
}

/// One page, chosen.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The rows, in order.
    pub ids: Vec<u32>,
    /// Their surroundings.
    pub envelope: Envelope,
    /// Headers of the pagination.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// The body's JSON text.
    #[must_use]
    pub fn body(&self, data: &Dataset, shape: Shape, parent: Option<&str>) -> Vec<u8> {
        let guess = if shape == Shape::Small { 170 } else { 2200 };
        let mut out = Vec::with_capacity(self.ids.len() * guess + 256);
        match &self.envelope {
            Envelope::Bare => self.array(data, shape, parent, &mut out),
            Envelope::Object(fields) => {
                out.extend_from_slice(b"{\"items\":");
                self.array(data, shape, parent, &mut out);
                for (name, value) in fields {
                    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
                }
                out.push(b'}');
            }
        }
        out
    }

    fn array(&self, data: &Dataset, shape: Shape, parent: Option<&str>, out: &mut Vec<u8>) {
        out.push(b'[');
        for (place, id) in self.ids.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            records::write(shape, data.row(*id), parent, out);
        }
        out.push(b']');
    }
}
