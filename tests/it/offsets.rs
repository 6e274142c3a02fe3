//! Appends that say where in the text they belong.

use throughline::proto as v1;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{World, named, reason, refusal, text_block};

fn at(offset: u64, delta: &str) -> v1::AppendTextRequest {
    v1::AppendTextRequest {
        message_id: "m".into(),
        delta: delta.into(),
        expected_offset: Some(offset),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_append_at_an_offset_is_made_once() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for (offset, delta) in [(0, "héllo"), (6, " wörld")] {
        let first = clients.append_with(at(offset, delta)).await.unwrap();
        assert_eq!(first.offset, offset);
        assert!(!first.result.as_ref().unwrap().deduplicated);
        let again = world.b().append_with(at(offset, delta)).await.unwrap();
        assert!(again.result.as_ref().unwrap().deduplicated);
        assert_eq!(
            (again.block_id, again.offset),
            (first.block_id, first.offset)
        );
        assert_eq!(
            again.result.unwrap().sequence,
            first.result.unwrap().sequence
        );
    }
    // Also parts of what was appended, and several appends in one.
    for (offset, delta) in [(0, "h"), (0, "héllo wörld"), (4, "lo w")] {
        let again = clients.append_with(at(offset, delta)).await.unwrap();
        assert!(again.result.unwrap().deduplicated, "{delta} at {offset}");
    }
    assert_eq!(clients.get("m").await.unwrap().text, "héllo wörld");
}

#[tokio::test]
async fn an_append_at_another_offset_is_told_the_true_length() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let length_told = |request: v1::AppendTextRequest| {
        let clients = clients.clone();
        async move {
            let status = clients.append_with(request).await.unwrap_err();
            assert_eq!(status.code(), Code::Aborted);
            assert_eq!(reason(&status), "OFFSET_MISMATCH");
            let info = status.get_details_error_info().unwrap();
            info.metadata["length"].parse::<u64>().unwrap()
        }
    };
    assert_eq!(length_told(at(1, "x")).await, 0, "there is no block yet");
    let block = clients.append("m", "hello").await.unwrap().block_id;
    assert_eq!(length_told(at(0, "hallo")).await, 5, "other bytes");
    assert_eq!(
        length_told(at(3, "lo!")).await,
        5,
        "longer than what is there"
    );
    assert_eq!(length_told(at(6, "x")).await, 5);
    assert_eq!(length_told(at(u64::MAX, "x")).await, 5);
    assert_eq!(length_told(at(u64::MAX / 2, "x")).await, 5);
    let named = v1::AppendTextRequest {
        block_id: block,
        ..at(4, "x")
    };
    assert_eq!(length_told(named).await, 5);
    assert_eq!(clients.get("m").await.unwrap().text, "hello");
}

#[tokio::test]
async fn an_append_at_an_offset_of_a_sealed_block_is_compared_first() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let long = "x".repeat(20_000);
    for (id, text) in [("short", "hello"), ("long", long.as_str())] {
        clients.add("m", named(id, text_block(text))).await.unwrap();
        let append = |offset, delta: &str| {
            let request = v1::AppendTextRequest {
                block_id: id.into(),
                ..at(offset, delta)
            };
            let clients = clients.clone();
            async move { clients.append_with(request).await }
        };
        let length = text.len() as u64;
        let sealed = (Code::FailedPrecondition, "BLOCK_SEALED".to_owned());
        assert_eq!(refusal(append(length, "x").await), sealed, "{id}");
        let status = append(length + 1, "x").await.unwrap_err();
        assert_eq!(reason(&status), "OFFSET_MISMATCH", "{id}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["length"], length.to_string(), "{id}");
        let again = append(0, &text[..5]).await.unwrap();
        assert!(again.result.unwrap().deduplicated, "{id}");
    }
}
