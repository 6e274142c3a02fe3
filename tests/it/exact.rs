//! What is given comes back as it was.

use throughline::proto::{self as v1, content_block::Content, event::Payload};

use crate::support::{World, image_block, inline_text, named, object, text_block};

#[tokio::test]
async fn metadata_and_bytes_are_kept_exactly() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let metadata = object(serde_json::json!({
        "null": null, "true": true, "zero": 0.0, "tiny": 5e-324, "huge": 1.7976931348623157e308,
        "third": 0.333_333_333_333_333_3, "text": "\0\u{1}\n\"\\é🙂\u{2028}", "": "empty key",
        "list": [[], {}, [1, [2, [3]]]], "object": { "ä": { "b": [null, false] } },
    }));
    let bytes: Vec<u8> = (0..=255).cycle().take(9_000).collect();
    let strange = "\0\u{feff}\r\n\u{1f468}\u{200d}\u{1f469}\u{fffd}";
    let block = |id: &str, content| v1::ContentBlock {
        metadata: Some(metadata.clone()),
        ..named(id, content)
    };
    let request = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        metadata: Some(metadata.clone()),
        blocks: vec![
            block("bytes", image_block(bytes.clone())),
            block("text", text_block(strange)),
        ],
        ..Default::default()
    };
    clients
        .clone()
        .messages
        .create_message(request)
        .await
        .unwrap();
    let start = v1::StartTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
        task_type: "search".into(),
        params: Some(metadata.clone()),
        ..Default::default()
    };
    clients.clone().tasks.start_task(start).await.unwrap();
    let publish = v1::PublishEventRequest {
        message_id: "m".into(),
        name: "noticed".into(),
        data: Some(metadata.clone()),
        ..Default::default()
    };
    clients
        .clone()
        .messages
        .publish_event(publish)
        .await
        .unwrap();

    let message = world.b().get("m").await.unwrap();
    let metadata = Some(metadata);
    assert_eq!(message.metadata, metadata);
    assert_eq!(message.tasks[0].params, metadata);
    assert_eq!(message.blocks[0].metadata, metadata);
    assert_eq!(message.blocks[1].metadata, metadata);
    assert_eq!(inline_text(&message.blocks[1]), strange);
    let image = v1::ImageContent {
        size: 9_000,
        ..match image_block(bytes).content {
            Some(Content::Image(image)) => image,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(message.blocks[0].content, Some(Content::Image(image)));
    let events = clients.events("m").await;
    let Some(Payload::Custom(custom)) = &events.last().unwrap().payload else {
        panic!("the last event is not CUSTOM")
    };
    assert_eq!(custom.data, metadata);
}
