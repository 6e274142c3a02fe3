//! The fields of an RPC's request, as they are gathered from path, query, headers
//! and body.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The fields of an RPC's request.
pub(super) type Fields = Map<String, Value>;

/// Sets a field, whichever way it may have been spelled before.
pub(super) fn set(of: &MessageDescriptor, fields: &mut Fields, path: &str, value: Value) {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let Some(field) = of.get_field_by_name(name) else {
        return;
    };
    match (rest, field.kind()) {
        (Some(rest), Kind::Message(inner)) => {
            let object = fields.entry(name).or_insert_with(|| json!({}));
            if let Value::Object(object) = object {
                set(&inner, object, rest, value);
            }
        }
        _ => {
            fields.remove(field.json_name());
            fields.insert(name.to_owned(), value);
        }
    }
}
