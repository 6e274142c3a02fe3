//! Rows for what reads, erases and inspects messages.

use prost_types::{Duration, FieldMask};
use throughline::proto as v1;

use super::table::Table;

pub(super) async fn rows(table: &mut Table) {
    list_messages(table).await;
    list_events(table).await;
    read_content(table).await;
    watch_message(table).await;
    cleanup_messages(table).await;

    get_message(table).await;
    let good = v1::DeleteMessageRequest {
        message_id: "m".into(),
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    let good = v1::InspectMessageRequest {
        message_id: "m".into(),
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
}

async fn get_message(table: &mut Table) {
    let good = v1::GetMessageRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    for path in [
        "",
        "nothing",
        "blocks.text",
        "text,blocks",
        &"x".repeat(5_000),
    ] {
        let request = v1::GetMessageRequest {
            read_mask: Some(FieldMask {
                paths: vec!["text".into(), path.into()],
            }),
            ..good.clone()
        };
        table.row("read_mask", "no field", request).await;
    }
}

async fn list_messages(table: &mut Table) {
    let good = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    table
        .required_id("session_id", &good, |r| &mut r.session_id)
        .await;
    table
        .page(&good, |r| &mut r.page_size, |r| &mut r.page_token)
        .await;
    for skip in [-1, i32::MIN] {
        let request = v1::ListMessagesRequest {
            skip,
            ..good.clone()
        };
        table.row("skip", "negative", request).await;
    }
}

async fn list_events(table: &mut Table) {
    let good = v1::ListEventsRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.cursor("cursor", &good, |r| &mut r.cursor).await;
    table
        .cursor("page_token", &good, |r| &mut r.page_token)
        .await;
    let request = v1::ListEventsRequest {
        cursor: "$".into(),
        ..good.clone()
    };
    table.row("cursor", "$", request).await;
    let request = v1::ListEventsRequest {
        page_token: "$".into(),
        ..good.clone()
    };
    table.row("page_token", "$", request).await;
    for page_size in [-1, i32::MIN] {
        let request = v1::ListEventsRequest {
            page_size,
            ..good.clone()
        };
        table.row("page_size", "negative", request).await;
    }
}

async fn read_content(table: &mut Table) {
    let good = v1::ReadContentRequest {
        message_id: "m".into(),
        block_id: "b".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table
        .required_id("block_id", &good, |r| &mut r.block_id)
        .await;
    let stored = v1::ReadContentRequest {
        content_id: "c".into(),
        ..Default::default()
    };
    table.id("content_id", &stored, |r| &mut r.content_id).await;
    for (message_id, block_id) in [("m", "b"), ("m", ""), ("", "b")] {
        let request = v1::ReadContentRequest {
            message_id: message_id.into(),
            block_id: block_id.into(),
            ..stored.clone()
        };
        table.row("content_id", "not alone", request).await;
    }
    for bad in [-1, i64::MIN] {
        let mut request = good.clone();
        request.offset = bad;
        table.row("offset", "negative", request).await;
        let mut request = good.clone();
        request.limit = bad;
        table.row("limit", "negative", request).await;
    }
}

async fn watch_message(table: &mut Table) {
    let good = v1::WatchMessageRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.cursor("cursor", &good, |r| &mut r.cursor).await;
    table
        .choice("event_types", &[0], &good, |r, value| {
            r.event_types = vec![v1::EventType::TextDelta.into(), value];
        })
        .await;
    table.duration("max_wait", &good, |r| &mut r.max_wait).await;
}

async fn cleanup_messages(table: &mut Table) {
    let good = v1::CleanupMessagesRequest {
        older_than: Some(Duration::default()),
        session_id: "s".into(),
        validate_only: false,
    };
    table.id("session_id", &good, |r| &mut r.session_id).await;
    table
        .duration("older_than", &good, |r| &mut r.older_than)
        .await;
    let request = v1::CleanupMessagesRequest {
        older_than: None,
        ..good
    };
    table.row("older_than", "missing", request).await;
}
