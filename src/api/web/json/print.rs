//! Writes protobuf as canonical JSON without making objects of it first: an event
//! is written in a tenth of the time that prost-reflect takes.

use std::{collections::HashMap, io::Write};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint},
};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use prost_types::{Duration, FieldMask, ListValue, Struct, Timestamp, Value, value::Kind as V};

/// Doubles beyond this are not all whole numbers any more.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// All message types, each with what is to be known to write it.
pub(in crate::api::web) struct Printer {
    types: Vec<Type>,
    names: HashMap<String, usize>,
}

enum Type {
    /// By number.
    Fields(Vec<Option<Field>>),
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    List,
}

struct Field {
    /// With quotes and colon.
    key: String,
    shape: Shape,
    many: Many,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Many {
    No,
    List,
    Map,
}

enum Shape {
    Bool,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Double,
    Text,
    Bytes,
    /// The names of its values, quoted.
    Enum(HashMap<i32, String>),
    Message(usize),
}

/// A value as it lies in protobuf.
enum Raw {
    Number(u64),
    Bytes(Bytes),
}

impl Printer {
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let messages: Vec<_> = pool.all_messages().collect();
        let names: HashMap<_, _> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| (message.full_name().to_owned(), index))
            .collect();
        let types = messages.iter().map(|message| Type::of(message, &names));
        Self {
            types: types.collect(),
            names,
        }
    }

    /// A message of a type; none where it is not of that type.
    pub(super) fn to_json(&self, name: &str, message: &Bytes) -> Option<Bytes> {
        let mut out = Vec::with_capacity(2 * message.len() + 2);
        self.put(self.index(name)?, message.clone(), &mut out)?;
        Some(out.into())
    }

    /// Writes a message of a type of `throughline.v1`; none where it is not of
    /// that type.
    pub(in crate::api::web) fn put_named(
        &self,
        name: &str,
        message: Bytes,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        self.put(self.index(&format!("throughline.v1.{name}"))?, message, out)
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    fn put(&self, index: usize, message: Bytes, out: &mut Vec<u8>) -> Option<()> {
        match self.types.get(index)? {
            Type::Fields(fields) => self.put_fields(fields, message, out)?,
            Type::Timestamp => put_text(&Timestamp::decode(message).ok()?.to_string(), out),
            Type::Duration => put_text(&Duration::decode(message).ok()?.to_string(), out),
            Type::FieldMask => put_text(&mask(&FieldMask::decode(message).ok()?), out),
            Type::Struct => put_struct(&Struct::decode(message).ok()?, out),
            Type::Value => put_value(&Value::decode(message).ok()?, out),
            Type::List => put_list(&ListValue::decode(message).ok()?, out),
        }
        Some(())
    }

    fn put_fields(
        &self,
        fields: &[Option<Field>],
        mut message: Bytes,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        out.push(b'{');
        let mut open: Option<(u32, Many)> = None;
        let mut is_first = true;
        while !message.is_empty() {
            let (number, wire_type) = decode_key(&mut message).ok()?;
            let raw = next_value(wire_type, &mut message)?;
            let Some(Some(field)) = fields.get(number as usize) else {
                continue;
            };
            // The elements of a list follow one another, as prost writes them.
            if open.is_some_and(|(last, _)| last == number) {
                out.push(b',');
            } else {
                close(open.take(), out);
                if !std::mem::take(&mut is_first) {
                    out.push(b',');
                }
                out.extend_from_slice(field.key.as_bytes());
                match field.many {
                    Many::No => {}
                    Many::List => out.push(b'['),
                    Many::Map => out.push(b'{'),
                }
                open = (field.many != Many::No).then_some((number, field.many));
            }
            self.put_field(field, raw, out)?;
        }
        close(open, out);
        out.push(b'}');
        Some(())
    }

    fn put_field(&self, field: &Field, raw: Raw, out: &mut Vec<u8>) -> Option<()> {
        match (field.many, &field.shape, raw) {
            (Many::Map, Shape::Message(entry), Raw::Bytes(entry_bytes)) => {
                self.put_entry(*entry, entry_bytes, out)
            }
            (Many::List, shape, Raw::Bytes(packed)) if shape.is_packed() => {
                self.put_packed(shape, packed, out)
            }
            (_, shape, raw) => self.put_one(shape, raw, out),
        }
    }

    fn put_packed(&self, shape: &Shape, mut packed: Bytes, out: &mut Vec<u8>) -> Option<()> {
        let mut is_first = true;
        while !packed.is_empty() {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            let raw = next_value(shape.wire_type(), &mut packed)?;
            self.put_one(shape, raw, out)?;
        }
        Some(())
    }

    /// An entry of a map from texts.
    fn put_entry(&self, entry: usize, mut bytes: Bytes, out: &mut Vec<u8>) -> Option<()> {
        let Type::Fields(fields) = self.types.get(entry)? else {
            return None;
        };
        let mut parts = [Raw::Bytes(Bytes::new()), Raw::Bytes(Bytes::new())];
        while !bytes.is_empty() {
            let (number, wire_type) = decode_key(&mut bytes).ok()?;
            let part = parts.get_mut((number as usize).checked_sub(1)?)?;
            *part = next_value(wire_type, &mut bytes)?;
        }
        let [key, value] = parts;
        self.put_one(&Shape::Text, key, out)?;
        out.push(b':');
        self.put_one(&fields.get(2)?.as_ref()?.shape, value, out)
    }

    fn put_one(&self, shape: &Shape, raw: Raw, out: &mut Vec<u8>) -> Option<()> {
        match (shape, raw) {
            (Shape::Bool, Raw::Number(number)) => {
                out.extend_from_slice(if number == 0 { b"false" } else { b"true" });
            }
            // Truncated as protobuf has it.
            (Shape::Int32, Raw::Number(number)) => put_number(number as i32, out),
            (Shape::Uint32, Raw::Number(number)) => put_number(number as u32, out),
            (Shape::Int64, Raw::Number(number)) => {
                put_quoted(number.cast_signed(), out);
            }
            (Shape::Uint64, Raw::Number(number)) => put_quoted(number, out),
            (Shape::Double, Raw::Number(bits)) => put_double(f64::from_bits(bits), out),
            (Shape::Text, Raw::Bytes(text)) => put_text(std::str::from_utf8(&text).ok()?, out),
            (Shape::Bytes, Raw::Bytes(bytes)) => {
                put_quoted(Base64Display::new(&bytes, &STANDARD), out);
            }
            (Shape::Enum(names), Raw::Number(number)) => {
                let number = number as i32;
                match names.get(&number) {
                    Some(name) => out.extend_from_slice(name.as_bytes()),
                    None => put_number(number, out),
                }
            }
            (Shape::Message(index), Raw::Bytes(message)) => self.put(*index, message, out)?,
            _ => return None,
        }
        Some(())
    }
}

impl Type {
    fn of(message: &MessageDescriptor, names: &HashMap<String, usize>) -> Self {
        match message.full_name() {
            "google.protobuf.Timestamp" => Self::Timestamp,
            "google.protobuf.Duration" => Self::Duration,
            "google.protobuf.FieldMask" => Self::FieldMask,
            "google.protobuf.Struct" => Self::Struct,
            "google.protobuf.Value" => Self::Value,
            "google.protobuf.ListValue" => Self::List,
            _ => Self::Fields(fields(message, names)),
        }
    }
}

fn fields(message: &MessageDescriptor, names: &HashMap<String, usize>) -> Vec<Option<Field>> {
    let mut fields = Vec::new();
    for descriptor in message.fields() {
        let number = descriptor.number() as usize;
        if fields.len() <= number {
            fields.resize_with(number + 1, || None);
        }
        fields[number] = Shape::of(&descriptor, names).map(|shape| Field {
            key: format!("\"{}\":", descriptor.json_name()),
            shape,
            many: match (descriptor.is_map(), descriptor.is_list()) {
                (true, _) => Many::Map,
                (_, true) => Many::List,
                _ => Many::No,
            },
        });
    }
    fields
}

impl Shape {
    /// None for the kinds that the contract does not use.
    fn of(field: &FieldDescriptor, names: &HashMap<String, usize>) -> Option<Self> {
        Some(match field.kind() {
            Kind::Bool => Self::Bool,
            Kind::Int32 => Self::Int32,
            Kind::Uint32 => Self::Uint32,
            Kind::Int64 => Self::Int64,
            Kind::Uint64 => Self::Uint64,
            Kind::Double => Self::Double,
            Kind::String => Self::Text,
            Kind::Bytes => Self::Bytes,
            Kind::Enum(kind) => Self::Enum(
                kind.values()
                    .map(|value| (value.number(), format!("\"{}\"", value.name())))
                    .collect(),
            ),
            Kind::Message(message) => Self::Message(*names.get(message.full_name())?),
            _ => return None,
        })
    }

    fn is_packed(&self) -> bool {
        self.wire_type() != WireType::LengthDelimited
    }

    fn wire_type(&self) -> WireType {
        match self {
            Self::Text | Self::Bytes | Self::Message(_) => WireType::LengthDelimited,
            Self::Double => WireType::SixtyFourBit,
            _ => WireType::Varint,
        }
    }
}

fn next_value(wire_type: WireType, bytes: &mut Bytes) -> Option<Raw> {
    use bytes::Buf;
    Some(match wire_type {
        WireType::Varint => Raw::Number(decode_varint(bytes).ok()?),
        WireType::SixtyFourBit => Raw::Number(bytes.try_get_u64_le().ok()?),
        WireType::ThirtyTwoBit => Raw::Number(bytes.try_get_u32_le().ok()?.into()),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
            Raw::Bytes((length <= bytes.len()).then(|| bytes.split_to(length))?)
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    })
}

fn close(open: Option<(u32, Many)>, out: &mut Vec<u8>) {
    match open {
        Some((_, Many::List)) => out.push(b']'),
        Some((_, Many::Map)) => out.push(b'}'),
        _ => {}
    }
}

fn mask(mask: &FieldMask) -> String {
    mask.paths.join(",")
}

pub(in crate::api::web) fn put_text(text: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail, nor does a text.
    let _ = serde_json::to_writer(out, text);
}

fn put_number(number: impl std::fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{number}");
}

fn put_quoted(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "\"{value}\"");
}

fn put_double(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if number.is_infinite() {
        put_quoted(
            if number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            },
            out,
        );
    } else if number.fract() == 0.0 && number.abs() < WHOLE_MAX {
        put_number(number as i64, out);
    } else {
        let _ = serde_json::to_writer(out, &number);
    }
}

fn put_struct(object: &Struct, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (key, value)) in object.fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_text(key, out);
        out.push(b':');
        put_value(value, out);
    }
    out.push(b'}');
}

fn put_list(list: &ListValue, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, value) in list.values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_value(value, out);
    }
    out.push(b']');
}

fn put_value(value: &Value, out: &mut Vec<u8>) {
    match &value.kind {
        None | Some(V::NullValue(_)) => out.extend_from_slice(b"null"),
        Some(V::NumberValue(number)) => put_double(*number, out),
        Some(V::StringValue(text)) => put_text(text, out),
        Some(V::BoolValue(yes)) => put_number(yes, out),
        Some(V::StructValue(object)) => put_struct(object, out),
        Some(V::ListValue(list)) => put_list(list, out),
    }
}

#[cfg(test)]
mod tests;
