//! Content out of line: when it goes there, and how it is read.

use sha2::{Digest, Sha256};
use throughline::proto::{self as v1, content_block::Content};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    Clients, World, image_block, media_blocks, named, open, reason, reference, refusal, text_block,
    textual_blocks,
};

const INLINE_MAX: usize = 10_000;
const MEDIA_TYPES: [&str; 12] = [
    "text/plain",
    "text/markdown",
    "text/html",
    "application/json",
    "text/plain",
    "text/plain",
    "application/json",
    "text/plain",
    "image/png",
    "audio/mpeg",
    "video/mp4",
    "application/pdf",
];

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON of so many bytes, since that may be any kind's text.
fn text_of(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length - 2))
}

/// A block of every kind with content of so many bytes.
fn every_kind(length: usize) -> Vec<v1::ContentBlock> {
    let text = text_of(length);
    let mut blocks = textual_blocks(&text).to_vec();
    blocks.extend(media_blocks(text.as_bytes()));
    blocks
}

fn of_block(block: &str) -> v1::ReadContentRequest {
    v1::ReadContentRequest {
        message_id: "m".into(),
        block_id: block.into(),
        ..Default::default()
    }
}

fn of_content(content_id: &str) -> v1::ReadContentRequest {
    v1::ReadContentRequest {
        content_id: content_id.into(),
        ..Default::default()
    }
}

/// Content with the first chunk's description, whose chunks are consecutive.
async fn read(
    clients: &Clients,
    request: v1::ReadContentRequest,
) -> Result<(v1::ContentRef, Vec<u8>), tonic::Status> {
    let mut expected = request.offset;
    let mut messages = clients.messages.clone();
    let mut chunks = messages.read_content(request).await?.into_inner();
    let mut described = None;
    let mut data = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        assert!(chunk.data.len() <= 256 * 1024);
        assert_eq!(chunk.offset, expected);
        expected += i64::try_from(chunk.data.len()).unwrap();
        assert_eq!(chunk.content.is_some(), described.is_none());
        described = described.or(chunk.content);
        data.extend_from_slice(&chunk.data);
    }
    Ok((described.unwrap(), data))
}

#[tokio::test]
async fn content_of_any_kind_over_10_000_bytes_is_kept_out_of_line() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let content = text_of(INLINE_MAX + 1);
    for block in every_kind(INLINE_MAX + 1) {
        clients.add("m", block).await.unwrap();
    }
    let blocks = world.b().get("m").await.unwrap().blocks;
    for (index, block) in blocks.iter().enumerate() {
        let found = reference(block).unwrap();
        let expected = v1::ContentRef {
            content_id: found.content_id.clone(),
            size: content.len() as i64,
            media_type: MEDIA_TYPES[index].into(),
            sha256: sha256(content.as_bytes()),
        };
        assert_eq!(*found, expected, "{block:?}");
        let key = format!("content:{}", found.content_id);
        let stored: String = world.redis.run(&["HGET", &key, "data"]).await;
        assert_eq!(stored, content);

        let by_content = read(&world.b(), of_content(&found.content_id)).await;
        let by_block = read(&world.b(), of_block(&block.block_id)).await;
        for answer in [by_content, by_block] {
            let (described, data) = answer.unwrap();
            assert_eq!(described, expected);
            assert_eq!(data, content.as_bytes());
        }
    }
    assert_eq!(blocks.len(), 12);
    let events = clients.events("m").await;
    let size: usize = events.iter().map(prost::Message::encoded_len).sum();
    assert!(size < INLINE_MAX, "the log has references only");
}

#[tokio::test]
async fn what_goes_with_content_stays_in_the_block() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let sent = every_kind(INLINE_MAX + 1);
    for block in sent.clone() {
        clients.add("m", block).await.unwrap();
    }
    let blocks = clients.get("m").await.unwrap().blocks;
    for (sent, mut block) in sent.into_iter().zip(blocks) {
        let size = INLINE_MAX as i64 + 1;
        macro_rules! put_back {
            ($($kind:ident),*) => {
                match (sent.content.clone().unwrap(), block.content.as_mut().unwrap()) {
                    $((Content::$kind(sent), Content::$kind(kept)) => kept.source = sent.source,)*
                    other => panic!("{other:?}"),
                }
            };
        }
        put_back!(
            Text, Markdown, Html, Json, Thinking, Code, ToolCall, ToolResult, Image, Audio, Video,
            File
        );
        match block.content.as_mut().unwrap() {
            Content::Image(image) => assert_eq!(std::mem::take(&mut image.size), size),
            Content::Audio(audio) => assert_eq!(std::mem::take(&mut audio.size), size),
            Content::Video(video) => assert_eq!(std::mem::take(&mut video.size), size),
            Content::File(file) => assert_eq!(std::mem::take(&mut file.size), size),
            _ => {}
        }
        assert_eq!(block.content, sent.content);
    }
}

#[tokio::test]
async fn content_of_exactly_10_000_bytes_stays_inline() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for block in every_kind(INLINE_MAX) {
        clients.add("m", block).await.unwrap();
    }
    let content = text_of(INLINE_MAX);
    for block in clients.get("m").await.unwrap().blocks {
        assert_eq!(reference(&block), None, "{:?}", block.content_type());
        let (described, data) = read(&clients, of_block(&block.block_id)).await.unwrap();
        assert_eq!(data, content.as_bytes());
        assert_eq!(described.content_id, "");
        assert_eq!(described.size, INLINE_MAX as i64);
    }
    let keys = world.redis.keys().await;
    assert!(!keys.iter().any(|key| key.starts_with("content:")));
}

#[tokio::test]
async fn media_without_a_type_are_bytes() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let file = v1::FileContent {
        source: Some(v1::file_content::Source::Data(vec![0; 20_000].into())),
        size: 5,
        ..Default::default()
    };
    let block = v1::ContentBlock {
        content: Some(Content::File(file)),
        ..Default::default()
    };
    clients.add("m", block).await.unwrap();
    let block = &clients.get("m").await.unwrap().blocks[0];
    let found = reference(block).unwrap();
    assert_eq!(found.media_type, "application/octet-stream");
    let Some(Content::File(file)) = &block.content else {
        panic!("{block:?}")
    };
    assert_eq!(file.size, 20_000, "the service knows the size better");
}

#[tokio::test]
async fn a_streamed_text_moves_out_of_line_at_the_end_and_is_still_read_whole() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let mut text = String::new();
    for index in 0..300 {
        let delta = format!("{index:06} ein längeres Stück Text, ");
        text.push_str(&delta);
        world.either(index).append("m", &delta).await.unwrap();
    }
    let streaming = clients.get("m").await.unwrap();
    assert_eq!(reference(&streaming.blocks[0]), None, "open text is inline");
    clients.complete("m").await;

    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.text, text);
    assert!(!message.text_truncated);
    let found = reference(&message.blocks[0]).unwrap();
    assert_eq!(found.sha256, sha256(text.as_bytes()));
    assert_eq!(found.size, text.len() as i64);
    let (_, data) = read(&clients, of_content(&found.content_id)).await.unwrap();
    assert_eq!(data, text.as_bytes());

    let events = clients.events("m").await;
    let Some(v1::event::Payload::MessageEnd(end)) = &events.last().unwrap().payload else {
        panic!("the last event is not MESSAGE_END")
    };
    let sealed = &end.sealed_texts[0];
    assert_eq!(sealed.block_id, message.blocks[0].block_id);
    assert_eq!(sealed.content_ref.as_ref(), Some(found));
    let keys = world.redis.keys().await;
    assert!(!keys.iter().any(|key| key.contains(":text:")), "{keys:?}");
}

#[tokio::test]
async fn a_text_that_is_sealed_early_moves_out_of_line_then() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let text = "x".repeat(20_000);
    let block = clients.append("m", &text).await.unwrap().block_id;
    let request = v1::UpdateContentRequest {
        message_id: "m".into(),
        block: Some(v1::ContentBlock {
            block_id: block,
            ..Default::default()
        }),
        ..Default::default()
    };
    clients
        .clone()
        .messages
        .update_content(request)
        .await
        .unwrap();
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.text, text);
    let found = reference(&message.blocks[0]).unwrap();
    assert_eq!(found.sha256, sha256(text.as_bytes()));
}

#[tokio::test]
async fn ranges_of_content_are_read_as_asked() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let bytes: Vec<u8> = (0..=250).cycle().take(600_000).collect();
    clients
        .add("m", named("stored", image_block(bytes.clone())))
        .await
        .unwrap();
    clients
        .add("m", named("inline", image_block(bytes[..9_000].to_vec())))
        .await
        .unwrap();
    clients
        .add("m", named("empty", text_block("")))
        .await
        .unwrap();
    for (block, length) in [("stored", 600_000), ("inline", 9_000), ("empty", 0)] {
        for (offset, limit) in [
            (0, 0),
            (0, 1),
            (0, 100),
            (1, 262_144),
            (8_990, 20),
            (300_000, 0),
            (599_999, 5),
            (length, 0),
            (length, 7),
            (0, i64::MAX),
        ] {
            let request = v1::ReadContentRequest {
                offset,
                limit,
                ..of_block(block)
            };
            let answer = read(&world.b(), request).await;
            if offset > length {
                let status = answer.unwrap_err();
                assert_eq!(status.code(), Code::OutOfRange);
                assert_eq!(reason(&status), "RANGE_BEYOND_END");
                let info = status.get_details_error_info().unwrap();
                assert_eq!(info.metadata["length"], length.to_string());
                continue;
            }
            let (described, data) = answer.unwrap();
            let end = match limit {
                0 => length,
                limit => length.min(offset.saturating_add(limit)),
            };
            assert_eq!(data, bytes[offset as usize..end as usize]);
            assert_eq!(described.size, length, "of the whole");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_found() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients
        .add("m", named("b", image_block(vec![1; 20_000])))
        .await
        .unwrap();
    let content = clients.get("m").await.unwrap();
    let content = reference(&content.blocks[0]).unwrap().content_id.clone();

    let refused = |request| async { refusal(read(&world.b(), request).await) };
    let not_found = |reason: &str| (Code::NotFound, reason.to_owned());
    assert_eq!(
        refused(of_content("unknown")).await,
        not_found("CONTENT_NOT_FOUND")
    );
    assert_eq!(
        refused(of_block("unknown")).await,
        not_found("BLOCK_NOT_FOUND")
    );
    clients.delete("m").await.unwrap();
    assert_eq!(
        refused(of_content(&content)).await,
        not_found("CONTENT_NOT_FOUND")
    );
    assert_eq!(refused(of_block("b")).await, not_found("MESSAGE_NOT_FOUND"));
}

#[tokio::test]
async fn an_open_text_of_5_mb_is_sent_by_reference_and_read_whole() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let text: String = ('a'..='z').cycle().take(5_000_000).collect();
    let block = open(named("long", text_block(&text)));
    clients.add("m", block).await.unwrap();
    clients
        .add("m", named("short", text_block("the end")))
        .await
        .unwrap();

    // The client refuses answers over 4 MiB.
    let message = world.b().get("m").await.unwrap();
    assert!(message.text_truncated);
    assert!(message.text.len() > 1_000_000);
    assert!(text.starts_with(&message.text));
    let found = reference(&message.blocks[0]).unwrap();
    assert_eq!(found.content_id, "", "open text is read by block");
    assert_eq!(found.size, 5_000_000);
    let (_, short) = read(&world.b(), of_block("short")).await.unwrap();
    assert_eq!(short, b"the end");
    let (described, data) = read(&world.b(), of_block("long")).await.unwrap();
    assert_eq!(described, *found);
    assert_eq!(data, text.as_bytes());

    clients.complete("m").await;
    let message = world.b().get("m").await.unwrap();
    assert!(message.text_truncated && text.starts_with(&message.text));
    let found = reference(&message.blocks[0]).unwrap();
    assert_eq!(found.sha256, sha256(text.as_bytes()));
    let (_, data) = read(&world.b(), of_content(&found.content_id))
        .await
        .unwrap();
    assert_eq!(data, text.as_bytes());
}
