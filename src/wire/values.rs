//! Times, durations and free-form objects.

use prost_types::{Duration, ListValue, Struct, Timestamp, Value, value::Kind};

use super::Malformed;
use crate::domain::{Metadata, Time};

/// A time for clients.
pub fn time_to_v1(time: Time) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// A time that was stored; `field` is named where it is missing.
pub fn time_from_v1(time: Option<&Timestamp>, field: &str) -> Result<Time, Malformed> {
    time.and_then(|time| Time::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?))
        .ok_or_else(|| Malformed::new(field, "must be a time"))
}

/// A duration for clients.
pub fn duration_to_v1(duration: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// A duration that a client sent: not negative, not over 10,000 years.
pub fn duration_from_v1(
    duration: &Duration,
    field: &str,
) -> Result<std::time::Duration, Malformed> {
    const SECONDS_MAX: u64 = 315_576_000_000;
    let seconds = u64::try_from(duration.seconds).ok();
    let nanos = u32::try_from(duration.nanos).ok();
    match (seconds, nanos) {
        (Some(seconds @ ..=SECONDS_MAX), Some(nanos @ ..=999_999_999)) => {
            Ok(std::time::Duration::new(seconds, nanos))
        }
        _ => Err(Malformed::new(
            field,
            "must be between 0 and 315,576,000,000 seconds",
        )),
    }
}

/// An object for clients; none where it is empty.
pub fn metadata_to_v1(metadata: &Metadata) -> Option<Struct> {
    (!metadata.is_empty()).then(|| struct_to_v1(metadata))
}

fn struct_to_v1(object: &Metadata) -> Struct {
    let fields = object
        .iter()
        .map(|(key, value)| (key.clone(), value_to_v1(value)));
    Struct {
        fields: fields.collect(),
    }
}

fn value_to_v1(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(*bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(value_to_v1).collect(),
        }),
        Json::Object(object) => Kind::StructValue(struct_to_v1(object)),
    };
    Value { kind: Some(kind) }
}

/// An object that a client sent. NaN and infinity are no JSON numbers.
pub fn metadata_from_v1(object: Option<&Struct>, field: &str) -> Result<Metadata, Malformed> {
    let Some(object) = object else {
        return Ok(Metadata::new());
    };
    let fields = object.fields.iter().map(|(key, value)| {
        let value = value_from_v1(value, field)?;
        Ok((key.clone(), value))
    });
    fields.collect()
}

fn value_from_v1(value: &Value, field: &str) -> Result<serde_json::Value, Malformed> {
    use serde_json::Value as Json;
    Ok(match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => Json::Bool(*bool),
        Some(Kind::NumberValue(number)) => serde_json::Number::from_f64(*number)
            .map(Json::Number)
            .ok_or_else(|| Malformed::new(field, "must not hold NaN or infinity"))?,
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::ListValue(list)) => Json::Array(
            list.values
                .iter()
                .map(|value| value_from_v1(value, field))
                .collect::<Result<_, _>>()?,
        ),
        Some(Kind::StructValue(object)) => Json::Object(metadata_from_v1(Some(object), field)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value as Json;
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<f64>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(Json::from),
            ".*".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn metadata_is_kept_exactly(value in json()) {
            let metadata = Metadata::from_iter([("key".to_owned(), value)]);
            let text = serde_json::to_string(&metadata).unwrap();
            let stored: Metadata = serde_json::from_str(&text).unwrap();
            let sent = metadata_to_v1(&stored);
            prop_assert_eq!(metadata_from_v1(sent.as_ref(), "metadata").unwrap(), metadata);
        }
    }
}
