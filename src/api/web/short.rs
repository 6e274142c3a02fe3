//! What REST takes beside canonical JSON, as the first design had it: a message
//! as one text with its type, and short names of values.

use prost_reflect::{EnumDescriptor, EnumValueDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};
use tonic::Status;

use super::fields::Fields;
use crate::api::status::invalid;

/// Types of content that are made of text.
pub(super) const TEXTS: [&str; 6] = ["text", "code", "markdown", "html", "json", "thinking"];
/// Types that have an address.
pub(super) const MEDIA: [&str; 4] = ["image", "audio", "video", "file"];

/// CreateMessage's request: as it is, or from `content` and its `type`, which
/// are a whole message of the user unless it says otherwise.
pub(super) fn message(mut body: Fields) -> Result<Fields, Status> {
    let Some(content) = body.remove("content") else {
        return Ok(body);
    };
    if !content.is_string() {
        return Err(invalid("content", "must be a text"));
    }
    let kind = body.remove("type").unwrap_or_else(|| "text".into());
    let kind = kind.as_str().unwrap_or_default();
    let source = match kind {
        kind if TEXTS.contains(&kind) => "text",
        kind if MEDIA.contains(&kind) => "url",
        _ => {
            return Err(invalid(
                "type",
                "must be a type of content, as text or image",
            ));
        }
    };
    let blocks = json!([{ kind: { source: content } }]);
    if body.insert("blocks".to_owned(), blocks).is_some() {
        return Err(invalid("content", "must not be given beside blocks"));
    }
    body.entry("role").or_insert_with(|| "ROLE_USER".into());
    body.entry("complete").or_insert(true.into());
    Ok(body)
}

/// Writes short names of values in full: `planner` means `WORKFLOW_PLANNER`.
pub(super) fn complete(of: &MessageDescriptor, fields: &mut Fields) {
    if of.full_name().starts_with("google.protobuf.") {
        return;
    }
    for (name, value) in fields {
        let field = of
            .get_field_by_name(name)
            .or_else(|| of.get_field_by_json_name(name));
        match (field.map(|field| field.kind()), value) {
            (Some(kind), Value::Array(list)) => {
                list.iter_mut().for_each(|value| complete_one(&kind, value));
            }
            (Some(kind), value) => complete_one(&kind, value),
            (None, _) => {}
        }
    }
}

fn complete_one(kind: &Kind, value: &mut Value) {
    match (kind, value) {
        (Kind::Message(of), Value::Object(fields)) => complete(of, fields),
        (Kind::Enum(kind), Value::String(name)) => {
            if let Some(full) = full_name(kind, name) {
                *name = full;
            }
        }
        _ => {}
    }
}

/// The short name of an enum's value.
pub(super) fn name(value: &EnumValueDescriptor) -> Option<String> {
    let name = value.name().strip_prefix(&prefix(value.parent_enum())?)?;
    Some(name.to_lowercase())
}

fn prefix(of: &EnumDescriptor) -> Option<String> {
    let unspecified = of.get_value(0)?;
    let prefix = unspecified.name().strip_suffix("UNSPECIFIED")?;
    Some(prefix.to_owned())
}

/// The name of an enum's value that has a short one.
fn full_name(of: &EnumDescriptor, short: &str) -> Option<String> {
    let prefix = prefix(of)?;
    let full = format!("{prefix}{}", short.to_uppercase());
    of.get_value_by_name(&full).map(|_| full)
}
