//! Messages as JSON Schema: as the service writes them, and as it takes them,
//! which is more liberal: null means the default, numbers may be texts, enums
//! may be short.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::comments;
use crate::api::web::short;

/// What ids and names look like.
pub(super) const ID: &str = "^[A-Za-z0-9._~-]{1,128}$";
const ID_OR_NONE: &str = "^[A-Za-z0-9._~-]{0,128}$";

/// Fields that are ids by another name.
const NAMES: [&str; 2] = ["queue", "task_type"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// The named schemas of a document.
#[derive(Default)]
pub(super) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    pub(super) fn into_components(self) -> Map<String, Value> {
        self.0.into_iter().collect()
    }

    /// A body that is a request but for some of its fields, and whether one of
    /// the others must be given.
    pub(super) fn of_request(
        &mut self,
        request: &MessageDescriptor,
        leaves_out: impl Fn(&str) -> bool,
    ) -> (Value, bool) {
        let fields: Vec<_> = request
            .fields()
            .filter(|field| !leaves_out(field.name()))
            .collect();
        let required = fields.iter().any(comments::is_required);
        (self.object(request, &fields, Direction::In), required)
    }

    /// A field in a query.
    pub(super) fn of_parameter(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Int32 => json!({"type": "integer", "minimum": 0, "maximum": i32::MAX}),
            Kind::Enum(of) if field.is_list() => {
                let names: Vec<_> = of
                    .values()
                    .skip(1)
                    .map(|value| value.name().to_owned())
                    .collect();
                json!({"type": "array", "items": {"enum": names}})
            }
            _ if field.is_list() => json!({"type": "array", "items": {"type": "string"}}),
            _ => text(field, Direction::Out),
        }
    }

    pub(super) fn reference(&mut self, message: &MessageDescriptor, direction: Direction) -> Value {
        if let Some(known) = well_known(message, direction) {
            return known;
        }
        let name = match direction {
            Direction::In => format!("{}Input", message.name()),
            Direction::Out => message.name().to_owned(),
        };
        if !self.0.contains_key(&name) {
            // Messages that contain themselves find this.
            self.0.insert(name.clone(), json!({}));
            let fields: Vec<_> = message.fields().collect();
            let schema = self.object(message, &fields, direction);
            self.0.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    fn object(
        &mut self,
        message: &MessageDescriptor,
        fields: &[FieldDescriptor],
        direction: Direction,
    ) -> Value {
        let is_shown = |field: &&FieldDescriptor| {
            direction == Direction::Out || !comments::is_output_only(field)
        };
        let (choices, plain): (Vec<_>, Vec<_>) = fields
            .iter()
            .filter(is_shown)
            .partition(|field| direction == Direction::In && is_choice(field));
        let mut variants = vec![self.variant(message, &plain, None, direction)];
        for choice in &choices {
            if choice.name() != "content_ref" {
                variants.push(self.variant(message, &plain, Some(choice), direction));
            }
        }
        // Null says that it is not this one.
        for variant in &mut variants {
            for choice in &choices {
                let name = choice.json_name();
                if variant["properties"].get(name).is_none() {
                    variant["properties"][name] = json!({"type": "null"});
                }
            }
        }
        let mut schema = match variants.len() {
            1 => variants.remove(0),
            _ => json!({"anyOf": variants}),
        };
        schema["description"] = json!(comments::of_message(message));
        schema
    }

    /// An object with one of a choice of fields.
    fn variant(
        &mut self,
        message: &MessageDescriptor,
        plain: &[&FieldDescriptor],
        choice: Option<&FieldDescriptor>,
        direction: Direction,
    ) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in plain.iter().copied().chain(choice) {
            let mut schema = self.field(message, field, direction);
            let comment = comments::of_field(field);
            if !comment.is_empty() {
                schema["description"] = json!(comment);
            }
            properties.insert(field.json_name().to_owned(), schema);
            let is_required = direction == Direction::In && comments::is_required(field);
            if is_required || Some(field) == choice {
                required.push(field.json_name().to_owned());
            }
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    fn field(
        &mut self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        direction: Direction,
    ) -> Value {
        if direction == Direction::In
            && message.name() == "StartTaskRequest"
            && field.name() == "placeholder"
        {
            return placeholder(field);
        }
        let is_nullable =
            direction == Direction::In && !comments::is_required(field) && !is_choice(field);
        let one = self.value(field, direction);
        let schema = if field.is_map() {
            json!({"type": "object", "additionalProperties": {"type": "string"}})
        } else if field.is_list() {
            json!({"type": "array", "items": one})
        } else {
            one
        };
        match is_nullable {
            true => nullable(schema),
            false => schema,
        }
    }

    fn value(&mut self, field: &FieldDescriptor, direction: Direction) -> Value {
        let is_out = direction == Direction::Out;
        match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Int32 if is_out => json!({"type": "integer"}),
            Kind::Uint32 if is_out => json!({"type": "integer", "minimum": 0}),
            Kind::Int64 | Kind::Uint64 if is_out => {
                json!({"type": "string", "pattern": "^-?[0-9]+$"})
            }
            Kind::Int32 => bounded(i32::MIN, i32::MAX),
            Kind::Uint32 => bounded(u32::MIN, u32::MAX),
            Kind::Int64 => whole("^-?[0-9]{1,19}$"),
            Kind::Uint64 => whole("^[0-9]{1,20}$"),
            Kind::Double if is_out => json!({"type": "number"}),
            Kind::Double => json!({
                "type": ["number", "string"],
                "minimum": 0,
                "maximum": 1,
                "pattern": r"^(0(\.[0-9]{1,9})?|1)$",
            }),
            Kind::Bytes if is_out => json!({"type": "string", "contentEncoding": "base64"}),
            // Either alphabet, padded or not.
            Kind::Bytes => json!({"type": "string", "pattern": "^[A-Za-z0-9+/_-]*={0,2}$"}),
            Kind::Enum(of) if is_out => {
                let names: Vec<_> = of.values().map(|value| value.name().to_owned()).collect();
                json!({"type": "string", "enum": names})
            }
            Kind::Enum(of) => {
                // 0 says nothing, which is not enough where something is required.
                let skipped = usize::from(comments::is_required(field));
                let values = of.values().skip(skipped).flat_map(|value| {
                    let names = [Some(value.name().to_owned()), short::name(&value)];
                    let names = names.into_iter().flatten().map(Value::from);
                    names.chain([value.number().into()]).collect::<Vec<_>>()
                });
                json!({"enum": values.collect::<Vec<_>>()})
            }
            Kind::Message(of) => self.reference(&of, direction),
            _ => text(field, direction),
        }
    }
}

/// A whole number, or a text of it.
fn whole(pattern: &str) -> Value {
    json!({"type": ["integer", "string"], "pattern": pattern})
}

/// One of 32 bits; the bounds of 64 cannot be told by most who read JSON.
fn bounded<N: Into<Value>>(min: N, max: N) -> Value {
    let mut schema = whole("^-?[0-9]{1,10}$");
    schema["minimum"] = min.into();
    schema["maximum"] = max.into();
    schema
}

fn is_choice(field: &FieldDescriptor) -> bool {
    field
        .containing_oneof()
        .is_some_and(|oneof| !oneof.is_synthetic())
}

fn text(field: &FieldDescriptor, direction: Direction) -> Value {
    if matches!(field.kind(), Kind::Message(_)) {
        return json!({"type": "string", "pattern": "^[0-9]{1,9}(\\.[0-9]{1,9})?s$"});
    }
    let is_id = (field.name().ends_with("_id") && field.name() != "call_id")
        || NAMES.contains(&field.name())
        || comments::of_field(field).contains("1 to 128 of [A-Za-z0-9._~-]");
    if is_id && direction == Direction::In || field.name() == "user_id" {
        let pattern = if comments::is_required(field) {
            ID
        } else {
            ID_OR_NONE
        };
        return json!({"type": "string", "pattern": pattern});
    }
    let mut schema = json!({"type": "string"});
    if direction == Direction::In && comments::is_required(field) {
        schema["minLength"] = json!(1);
    }
    // As long as it may be where each character is one byte.
    if let Some(max) = comments::bytes_max(field)
        && direction == Direction::In
    {
        schema["maxLength"] = json!(max);
    }
    schema
}

fn nullable(mut schema: Value) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
        return schema;
    }
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(one) => *one = json!([one.clone(), "null"]),
        None => return json!({"anyOf": [schema, {"type": "null"}]}),
    }
    schema
}

/// Types of protobuf that have a form of their own in JSON.
fn well_known(message: &MessageDescriptor, direction: Direction) -> Option<Value> {
    Some(match (message.full_name(), direction) {
        ("google.protobuf.Timestamp", _) => json!({"type": "string", "format": "date-time"}),
        ("google.protobuf.Duration", Direction::Out) => json!({"type": "string"}),
        ("google.protobuf.Duration", Direction::In) => {
            json!({"type": "string", "pattern": "^[0-9]{1,6}(\\.[0-9]{1,9})?s$"})
        }
        ("google.protobuf.FieldMask", _) => json!({"type": "string"}),
        ("google.protobuf.Struct", _) => json!({"type": "object"}),
        _ => return None,
    })
}

/// A block of which only is said what is to come.
fn placeholder(field: &FieldDescriptor) -> Value {
    json!({
        "type": ["object", "null"],
        "description": comments::of_field(field),
        "properties": {
            "blockId": {"type": ["string", "null"], "pattern": ID_OR_NONE},
            "contentType": {"type": ["string", "null"], "enum": ["text", "image", "audio", "video", "file", "code", "markdown", "html", "json", "thinking", "tool_call", "tool_result", null]},
            "metadata": {"type": ["object", "null"]},
        },
        "additionalProperties": false,
    })
}

/// A message of the user as one text with its type.
pub(super) fn short_message() -> Value {
    let types: Vec<_> = short::TEXTS.into_iter().chain(short::MEDIA).collect();
    json!({
        "type": "object",
        "description": "A whole message of the user: its text, or where a medium is",
        "required": ["content"],
        "properties": {
            "content": {"type": "string"},
            "type": {"type": "string", "enum": types, "default": "text"},
            "metadata": {"type": ["object", "null"]},
            "messageId": {"type": ["string", "null"], "pattern": ID_OR_NONE},
        },
        "additionalProperties": false,
    })
}
