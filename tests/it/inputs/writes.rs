//! Rows for what writes messages, but for the blocks they carry.

use prost_types::Duration;
use throughline::proto as v1;

use super::table::Table;
use crate::support::{named, text_block};

pub(super) async fn rows(table: &mut Table) {
    create_message(table).await;
    append_text(table).await;
    envelopes(table).await;
    publish_event(table).await;
    end_message(table).await;
    request_cancel(table).await;
    acquire_writer(table).await;
}

async fn create_message(table: &mut Table) {
    let good = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "new".into(),
        role: v1::Role::User.into(),
        ..Default::default()
    };
    table
        .required_id("session_id", &good, |r| &mut r.session_id)
        .await;
    table.id("message_id", &good, |r| &mut r.message_id).await;
    table
        .id("parent_message_id", &good, |r| &mut r.parent_message_id)
        .await;
    table
        .choice("role", &[0], &good, |r, role| r.role = role)
        .await;
    table.object("metadata", &good, |r| &mut r.metadata).await;

    let mut request = good.clone();
    request.blocks = vec![text_block("x"); 1_001];
    table.row("blocks", "too many", request).await;
    let mut request = good;
    request.blocks = vec![named("b", text_block("x")); 2];
    table
        .row("blocks[1].block_id", "that of blocks[0]", request)
        .await;
}

async fn append_text(table: &mut Table) {
    const DELTA_BYTES_MAX: usize = 256 * 1024;
    let good = v1::AppendTextRequest {
        message_id: "m".into(),
        delta: "x".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.id("block_id", &good, |r| &mut r.block_id).await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    table
        .text("delta", DELTA_BYTES_MAX, &good, |r| &mut r.delta)
        .await;
    let request = v1::AppendTextRequest {
        delta: String::new(),
        ..good
    };
    table.row("delta", "empty", request).await;
}

/// What every write of a block carries besides it.
async fn envelopes(table: &mut Table) {
    let good = v1::AddContentRequest {
        message_id: "m".into(),
        block: Some(text_block("x")),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    let request = v1::AddContentRequest {
        block: None,
        ..good
    };
    table.row("block", "missing", request).await;

    let good = v1::UpdateContentRequest {
        message_id: "m".into(),
        block: Some(named("b", text_block("x"))),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    let request = v1::UpdateContentRequest {
        block: None,
        ..good
    };
    table.row("block", "missing", request).await;
}

async fn publish_event(table: &mut Table) {
    let good = v1::PublishEventRequest {
        message_id: "m".into(),
        name: "noticed".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.required_id("name", &good, |r| &mut r.name).await;
    table.object("data", &good, |r| &mut r.data).await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
}

async fn request_cancel(table: &mut Table) {
    const REASON_BYTES_MAX: usize = 1_024;
    let good = v1::RequestCancelRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    table
        .text("reason", REASON_BYTES_MAX, &good, |r| &mut r.reason)
        .await;
    table.duration("grace", &good, |r| &mut r.grace).await;
    let request = v1::RequestCancelRequest {
        grace: Some(Duration {
            seconds: 3_600,
            nanos: 1,
        }),
        ..good
    };
    table.row("grace", "too long", request).await;
}

async fn acquire_writer(table: &mut Table) {
    let good = v1::AcquireWriterRequest {
        message_id: "m".into(),
        writer_id: "w".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table
        .required_id("writer_id", &good, |r| &mut r.writer_id)
        .await;
    table.duration("ttl", &good, |r| &mut r.ttl).await;
    for (seconds, nanos) in [(0, 0), (0, 99_999_999), (3_600, 1)] {
        let request = v1::AcquireWriterRequest {
            ttl: Some(Duration { seconds, nanos }),
            ..good.clone()
        };
        let what = format!("{seconds} s {nanos} ns");
        table.row("ttl", &what, request).await;
    }
}

async fn end_message(table: &mut Table) {
    const ERROR_BYTES_MAX: usize = 4_096;
    let good = v1::EndMessageRequest {
        message_id: "m".into(),
        state: v1::MessageState::Failed.into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    let not_for_clients = [
        v1::MessageState::Streaming.into(),
        v1::MessageState::Interrupted.into(),
    ];
    table
        .choice("state", &not_for_clients, &good, |r, state| r.state = state)
        .await;
    table
        .text("error", ERROR_BYTES_MAX, &good, |r| &mut r.error)
        .await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    for state in [v1::MessageState::Completed, v1::MessageState::Unspecified] {
        let request = v1::EndMessageRequest {
            state: state.into(),
            error: "but nothing failed".into(),
            ..good.clone()
        };
        table.row("error", "there", request).await;
    }
}
