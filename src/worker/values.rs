//! Protobuf's `Struct` as JSON and back.

use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Value};

/// The fields of an object; none where `value` is no object.
pub(super) fn to_struct(value: Value) -> Struct {
    let fields = match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Struct {
        fields: fields
            .into_iter()
            .map(|(name, value)| (name, to_proto(value)))
            .collect(),
    }
}

fn to_proto(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.into_iter().map(to_proto).collect(),
        }),
        object @ Value::Object(_) => Kind::StructValue(to_struct(object)),
    };
    ProtoValue { kind: Some(kind) }
}

/// The same as a JSON object.
pub(super) fn from_struct(value: &Struct) -> Value {
    let fields = value.fields.iter();
    Value::Object(
        fields
            .map(|(name, value)| (name.clone(), from_proto(value)))
            .collect(),
    )
}

fn from_proto(value: &ProtoValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(number)) => number_from(*number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => list.values.iter().map(from_proto).collect(),
        Some(Kind::StructValue(value)) => from_struct(value),
    }
}

/// Whole numbers as such: `Struct` knows only doubles.
fn number_from(number: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let is_whole = number.fract() == 0.0 && number.abs() <= EXACT_MAX;
    match is_whole {
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and exact")]
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_back_as_it_was() {
        let value = json!({"a": [1, 2.5, null, true], "b": {"c": "text"}});
        assert_eq!(from_struct(&to_struct(value.clone())), value);
    }
}
