//! What is written is what prost-reflect writes.

use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value as Json;

use super::*;
use crate::{
    api::web::json::{POOL, printer, write},
    proto as v1,
};

/// What prost-reflect makes of a message.
fn reflected(name: &str, message: &[u8]) -> Json {
    let descriptor = POOL.get_message_by_name(name).unwrap();
    let message = DynamicMessage::decode(descriptor, message).unwrap();
    let options = SerializeOptions::new();
    let json = message.serialize_with_options(serde_json::value::Serializer, &options);
    as_doubles(json.unwrap())
}

/// 5 and 5.0 are the same number.
fn as_doubles(json: Json) -> Json {
    match json {
        Json::Number(number) => number.as_f64().into(),
        Json::Array(list) => list.into_iter().map(as_doubles).collect(),
        Json::Object(object) => object
            .into_iter()
            .map(|(key, value)| (key, as_doubles(value)))
            .collect(),
        other => other,
    }
}

fn assert_same(name: &str, message: impl Message) {
    let name = format!("throughline.v1.{name}");
    let bytes = Bytes::from(message.encode_to_vec());
    let descriptor = POOL.get_message_by_name(&name).unwrap();
    let printed = write(&descriptor, &bytes).unwrap();
    let printed = as_doubles(serde_json::from_slice(&printed).unwrap());
    assert_eq!(printed, reflected(&name, &bytes), "{name}");
}

fn value(kind: V) -> Value {
    Value { kind: Some(kind) }
}

fn anything() -> Struct {
    let list = ListValue {
        values: vec![
            value(V::BoolValue(true)),
            value(V::NullValue(0)),
            value(V::NumberValue(-0.25)),
        ],
    };
    let fields = [
        ("list", value(V::ListValue(list))),
        ("whole", value(V::NumberValue(5.0))),
        ("large", value(V::NumberValue(1e300))),
        (
            "te\"xt\u{1}",
            value(V::StringValue("line\nbreak 🌍 </script>".into())),
        ),
        ("object", value(V::StructValue(Struct::default()))),
    ];
    Struct {
        fields: fields.map(|(key, value)| (key.to_owned(), value)).into(),
    }
}

fn time() -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_795_442_076,
        nanos: 620_245_000,
    })
}

#[test]
fn an_event_is_written_as_reflection_does() {
    let delta = v1::TextDelta {
        block_id: "b".into(),
        offset: u64::MAX,
        delta: "\u{7f}\\ \" \t ü".into(),
    };
    assert_same(
        "Event",
        v1::Event {
            cursor: "3-17".into(),
            sequence: 3,
            event_type: v1::EventType::TextDelta.into(),
            time: time(),
            payload: Some(v1::event::Payload::TextDelta(delta)),
            ..Default::default()
        },
    );
    let custom = v1::Custom {
        name: "n".into(),
        data: Some(anything()),
    };
    assert_same(
        "Event",
        v1::Event {
            event_type: 99,
            payload: Some(v1::event::Payload::Custom(custom)),
            ..Default::default()
        },
    );
}

#[test]
fn a_message_is_written_as_reflection_does() {
    let audio = v1::AudioContent {
        duration: Some(Duration {
            seconds: 3,
            nanos: 500_000_000,
        }),
        size: i64::MIN,
        source: Some(v1::audio_content::Source::Data(Bytes::from_static(&[
            0, 255, 62, 63,
        ]))),
        ..Default::default()
    };
    let block = |content| v1::ContentBlock {
        content: Some(content),
        metadata: Some(anything()),
        ..Default::default()
    };
    use v1::content_block::Content;
    assert_same(
        "Message",
        v1::Message {
            blocks: vec![
                block(Content::Audio(audio)),
                block(Content::Text(v1::TextContent::default())),
                v1::ContentBlock::default(),
            ],
            tasks: vec![v1::Task {
                progress: 0.1 + 0.2,
                attempt: u32::MAX,
                ..Default::default()
            }],
            metadata: Some(Struct::default()),
            text_truncated: true,
            create_time: time(),
            ..Default::default()
        },
    );
    assert_same("Message", v1::Message::default());
}

#[test]
fn lists_maps_and_masks_are_written_as_reflection_does() {
    let error = v1::WriteError {
        code: -1,
        metadata: [
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]
        .into(),
        ..Default::default()
    };
    assert_same("WriteError", error);
    let list = v1::ListTasksRequest {
        statuses: vec![1, 2, 77],
        ..Default::default()
    };
    assert_same("ListTasksRequest", list);
    let update = v1::UpdateSessionRequest {
        update_mask: Some(FieldMask {
            paths: vec!["metadata".into(), "state".into()],
        }),
        ..Default::default()
    };
    assert_same("UpdateSessionRequest", update);
}

#[test]
fn the_contract_has_only_kinds_that_can_be_written() {
    for message in POOL.all_messages() {
        if !message.full_name().starts_with("throughline.v1.") {
            continue;
        }
        for field in message.fields() {
            assert!(
                Shape::of(&field, &printer().names).is_some(),
                "{}",
                field.full_name()
            );
        }
    }
}

#[test]
fn what_is_no_message_is_not_written() {
    let cut = Bytes::from_static(&[0x0a, 200, 1]);
    assert_eq!(printer().to_json("throughline.v1.Event", &cut), None);
}
