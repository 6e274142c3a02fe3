//! Rows for TaskService.

use throughline::proto as v1;

use super::{queue, table::Table};
use crate::support::{image_block, text_block};

pub(super) async fn rows(table: &mut Table) {
    start_task(table).await;
    placeholder(table).await;
    update_task(table).await;
    cancel_task(table).await;
    list_tasks(table).await;
    queue::rows(table).await;

    let good = v1::GetTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table
        .required_id("task_id", &good, |r| &mut r.task_id)
        .await;
}

fn start() -> v1::StartTaskRequest {
    v1::StartTaskRequest {
        message_id: "m".into(),
        task_type: "image_generation".into(),
        placeholder: Some(v1::ContentBlock::default()),
        ..Default::default()
    }
}

fn placeholder_of(request: &mut v1::StartTaskRequest) -> &mut v1::ContentBlock {
    request.placeholder.as_mut().unwrap()
}

async fn start_task(table: &mut Table) {
    let good = start();
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table.id("task_id", &good, |r| &mut r.task_id).await;
    table
        .required_id("task_type", &good, |r| &mut r.task_type)
        .await;
    table.object("params", &good, |r| &mut r.params).await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    table.id("queue", &good, |r| &mut r.queue).await;
    queue::timeouts(table, &good, |r| &mut r.timeout, |r| &mut r.attempt_timeout).await;
}

async fn placeholder(table: &mut Table) {
    let good = start();
    table
        .id("placeholder.block_id", &good, |r| {
            &mut placeholder_of(r).block_id
        })
        .await;
    table
        .choice("placeholder.content_type", &[], &good, |r, value| {
            placeholder_of(r).content_type = value;
        })
        .await;
    table
        .object("placeholder.metadata", &good, |r| {
            &mut placeholder_of(r).metadata
        })
        .await;
    table
        .choice("placeholder.state", &[1, 2, 3], &good, |r, state| {
            placeholder_of(r).state = state;
        })
        .await;
    for content in [text_block("x").content, image_block(vec![1]).content] {
        let mut request = good.clone();
        placeholder_of(&mut request).content = content;
        table.row("placeholder.content", "there", request).await;
    }
    let mut request = good.clone();
    placeholder_of(&mut request).task_id = "t".into();
    table.row("placeholder.task_id", "there", request).await;
    let mut request = good.clone();
    placeholder_of(&mut request).error = "failed".into();
    table.row("placeholder.error", "there", request).await;
}

async fn update_task(table: &mut Table) {
    const STATUS_TEXT_BYTES_MAX: usize = 1_024;
    const ERROR_BYTES_MAX: usize = 4_096;
    let good = v1::UpdateTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
        status: v1::TaskStatus::Failed.into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table
        .required_id("task_id", &good, |r| &mut r.task_id)
        .await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    table
        .choice("status", &[], &good, |r, status| r.status = status)
        .await;
    let bad = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -f64::MIN_POSITIVE,
        -1.0,
        1.0 + f64::EPSILON,
        100.0,
        f64::MAX,
        f64::MIN,
    ];
    for progress in bad {
        let request = v1::UpdateTaskRequest {
            progress: Some(progress),
            ..good.clone()
        };
        table.row("progress", &progress.to_string(), request).await;
    }
    table
        .text("status_text", STATUS_TEXT_BYTES_MAX, &good, |r| {
            r.status_text.get_or_insert_default()
        })
        .await;
    table
        .text("error", ERROR_BYTES_MAX, &good, |r| &mut r.error)
        .await;
    for status in [
        v1::TaskStatus::Unspecified,
        v1::TaskStatus::Pending,
        v1::TaskStatus::Processing,
        v1::TaskStatus::Completed,
    ] {
        let request = v1::UpdateTaskRequest {
            status: status.into(),
            error: "but nothing failed".into(),
            ..good.clone()
        };
        table.row("error", "there", request).await;
    }
    outcome(table, &good).await;
}

async fn outcome(table: &mut Table, good: &v1::UpdateTaskRequest) {
    let said = v1::TaskOutcome {
        stop_reason: v1::StopReason::Done.into(),
        usage: Some(v1::TaskUsage::default()),
    };
    for status in [
        v1::TaskStatus::Unspecified,
        v1::TaskStatus::Pending,
        v1::TaskStatus::Processing,
    ] {
        for (attempt, outcome) in [(0, said), (1, v1::TaskOutcome::default())] {
            let request = v1::UpdateTaskRequest {
                status: status.into(),
                attempt,
                outcome: Some(outcome),
                ..good.clone()
            };
            let what = format!("there in {status:?}");
            table.row("outcome", &what, request).await;
        }
    }
    table
        .choice("outcome.stop_reason", &[], good, |r, reason| {
            r.outcome.get_or_insert_default().stop_reason = reason;
        })
        .await;
}

async fn cancel_task(table: &mut Table) {
    const REASON_BYTES_MAX: usize = 4_096;
    let good = v1::CancelTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table
        .required_id("task_id", &good, |r| &mut r.task_id)
        .await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    table
        .text("reason", REASON_BYTES_MAX, &good, |r| &mut r.reason)
        .await;
}

async fn list_tasks(table: &mut Table) {
    let good = v1::ListTasksRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    table
        .required_id("message_id", &good, |r| &mut r.message_id)
        .await;
    table
        .page(&good, |r| &mut r.page_size, |r| &mut r.page_token)
        .await;
    table
        .choice("statuses", &[0], &good, |r, status| {
            r.statuses = vec![v1::TaskStatus::Pending.into(), status];
        })
        .await;
}
