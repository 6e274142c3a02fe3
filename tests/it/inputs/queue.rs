//! Rows for queued tasks, and for what is written under their leases.

use std::time::Duration;

use throughline::proto as v1;

use super::table::Table;
use crate::support::{Rpc, named, text_block};

pub(super) async fn rows(table: &mut Table) {
    submit_task(table).await;
    claim_task(table).await;
    renew_task(table).await;
    retry(table).await;
    leases(table).await;
}

fn duration(duration: Duration) -> prost_types::Duration {
    duration.try_into().unwrap()
}

/// Rows for how long a task and an attempt may take.
pub(super) async fn timeouts<R: Rpc>(
    table: &mut Table,
    good: &R,
    timeout: fn(&mut R) -> &mut Option<prost_types::Duration>,
    attempt_timeout: fn(&mut R) -> &mut Option<prost_types::Duration>,
) {
    for (field, set) in [("timeout", timeout), ("attempt_timeout", attempt_timeout)] {
        table.duration(field, good, set).await;
        for bad in [Duration::ZERO, Duration::from_secs(30 * 24 * 3_600 + 1)] {
            let mut request = good.clone();
            *set(&mut request) = Some(duration(bad));
            table.row(field, &format!("{bad:?}"), request).await;
        }
    }
}

async fn submit_task(table: &mut Table) {
    let good = v1::SubmitTaskRequest {
        session_id: "s".into(),
        task_description: "do it".into(),
        ..Default::default()
    };
    table
        .required_id("session_id", &good, |r| &mut r.session_id)
        .await;
    table.id("message_id", &good, |r| &mut r.message_id).await;
    table.id("task_id", &good, |r| &mut r.task_id).await;
    table.id("queue", &good, |r| &mut r.queue).await;
    table.id("request_id", &good, |r| &mut r.request_id).await;
    table.object("params", &good, |r| &mut r.params).await;
    table
        .choice("workflow", &[], &good, |r, value| r.workflow = value)
        .await;
    timeouts(table, &good, |r| &mut r.timeout, |r| &mut r.attempt_timeout).await;
    for (what, bad) in [
        ("empty", String::new()),
        ("too long", "x".repeat(16 * 1024)),
    ] {
        let request = v1::SubmitTaskRequest {
            task_description: bad,
            ..good.clone()
        };
        table.row("task_description", what, request).await;
    }
    let request = v1::SubmitTaskRequest {
        params: Some(crate::support::object(
            serde_json::json!({ "task_description": "something else" }),
        )),
        ..good
    };
    table.row("params", "with a description", request).await;
}

async fn claim_task(table: &mut Table) {
    let good = v1::ClaimTaskRequest {
        task_types: vec!["image_generation".into()],
        worker_id: "w".into(),
        ..Default::default()
    };
    table
        .required_id("worker_id", &good, |r| &mut r.worker_id)
        .await;
    table
        .required_id("task_types[0]", &good, |r| &mut r.task_types[0])
        .await;
    let of_queue = v1::ClaimTaskRequest {
        queues: vec!["good".into(), "gpu".into()],
        ..good.clone()
    };
    table
        .required_id("queues[1]", &of_queue, |r| &mut r.queues[1])
        .await;
    let bad_types = [Vec::new(), (0..65).map(|n| n.to_string()).collect()];
    for task_types in bad_types {
        let what = format!("{} of them", task_types.len());
        let request = v1::ClaimTaskRequest {
            task_types,
            ..good.clone()
        };
        table.row("task_types", &what, request).await;
    }
    table.duration("lease", &good, |r| &mut r.lease).await;
    table.duration("wait", &good, |r| &mut r.wait).await;
    for bad in [0, 4_999, 900_001] {
        let request = v1::ClaimTaskRequest {
            lease: Some(duration(Duration::from_millis(bad))),
            ..good.clone()
        };
        table.row("lease", &format!("{bad} ms"), request).await;
    }
    let request = v1::ClaimTaskRequest {
        wait: Some(duration(Duration::from_secs(601))),
        ..good.clone()
    };
    table.row("wait", "too long", request).await;
    for history_size in [-1, i32::MIN] {
        let request = v1::ClaimTaskRequest {
            history_size,
            ..good.clone()
        };
        table
            .row("history_size", &history_size.to_string(), request)
            .await;
    }
}

async fn renew_task(table: &mut Table) {
    fn last(request: &mut v1::RenewTaskRequest) -> &mut v1::TaskRenewal {
        &mut request.renewals[1]
    }
    let renewal = v1::TaskRenewal {
        message_id: "m".into(),
        task_id: "t".into(),
        attempt: 1,
        ..Default::default()
    };
    let good = v1::RenewTaskRequest {
        renewals: vec![renewal.clone(), renewal.clone()],
        ..Default::default()
    };
    table.id("worker_id", &good, |r| &mut r.worker_id).await;
    table
        .required_id("renewals[1].message_id", &good, |r| &mut last(r).message_id)
        .await;
    table
        .required_id("renewals[1].task_id", &good, |r| &mut last(r).task_id)
        .await;
    table
        .text("renewals[1].status_text", 1_024, &good, |r| {
            last(r).status_text.get_or_insert_default()
        })
        .await;
    table
        .object("renewals[1].checkpoint", &good, |r| &mut last(r).checkpoint)
        .await;
    kept_blocks(table, &good).await;
    for bad in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        let mut request = good.clone();
        last(&mut request).progress = Some(bad);
        table
            .row("renewals[1].progress", &bad.to_string(), request)
            .await;
    }
    let mut request = good.clone();
    last(&mut request).attempt = 0;
    table.row("renewals[1].attempt", "0", request).await;
    let request = v1::RenewTaskRequest {
        renewals: vec![renewal; 1_001],
        ..good
    };
    table.row("renewals", "too many", request).await;
}

/// Rows for the blocks that belong to a checkpoint.
async fn kept_blocks(table: &mut Table, good: &v1::RenewTaskRequest) {
    let mut good = good.clone();
    let renewal = &mut good.renewals[1];
    renewal.kept_block_ids = vec!["b".into(), "c".into()];
    let without = good.clone();
    let field = "renewals[1].kept_block_ids";
    table
        .row(field, "there without a checkpoint", without)
        .await;

    good.renewals[1].checkpoint = Some(prost_types::Struct::default());
    table
        .required_id("renewals[1].kept_block_ids[1]", &good, |r| {
            &mut r.renewals[1].kept_block_ids[1]
        })
        .await;
    good.renewals[1].kept_block_ids = vec!["b".into(); 1_001];
    table.row(field, "too many", good).await;
}

async fn retry(table: &mut Table) {
    let good = v1::UpdateTaskRequest {
        message_id: "m".into(),
        task_id: "t".into(),
        attempt: 1,
        status: v1::TaskStatus::Failed.into(),
        retryable: true,
        ..Default::default()
    };
    table
        .duration("retry_delay", &good, |r| &mut r.retry_delay)
        .await;
    let late = v1::UpdateTaskRequest {
        retry_delay: Some(duration(Duration::from_secs(24 * 3_600 + 1))),
        ..good.clone()
    };
    table.row("retry_delay", "too long", late).await;
    let final_one = v1::UpdateTaskRequest {
        retryable: false,
        retry_delay: Some(duration(Duration::from_secs(1))),
        ..good.clone()
    };
    table.row("retry_delay", "there", final_one).await;
    for status in [
        v1::TaskStatus::Unspecified,
        v1::TaskStatus::Pending,
        v1::TaskStatus::Processing,
        v1::TaskStatus::Completed,
        v1::TaskStatus::Cancelled,
    ] {
        let request = v1::UpdateTaskRequest {
            status: status.into(),
            ..good.clone()
        };
        table
            .row("retryable", &format!("true in {status:?}"), request)
            .await;
    }
    let unclaimed = v1::UpdateTaskRequest {
        attempt: 0,
        ..good.clone()
    };
    table
        .row("retryable", "true without a claim", unclaimed)
        .await;
    let with_result = v1::UpdateTaskRequest {
        content: Some(text_block("x")),
        ..good
    };
    table.row("content", "there", with_result).await;
}

/// Rows for the lease that a write names.
async fn leases(table: &mut Table) {
    macro_rules! rows {
        ($($good:expr),* $(,)?) => {$({
            let mut good = $good;
            good.lease = Some(v1::TaskLease {
                task_id: "t".into(),
                attempt: 1,
            });
            table
                .required_id("lease.task_id", &good, |r| {
                    &mut r.lease.get_or_insert_default().task_id
                })
                .await;
            good.lease.get_or_insert_default().attempt = 0;
            table.row("lease.attempt", "0", good).await;
        })*};
    }
    let message_id = || "m".to_owned();
    rows!(
        v1::AppendTextRequest {
            message_id: message_id(),
            delta: "x".into(),
            ..Default::default()
        },
        v1::AddContentRequest {
            message_id: message_id(),
            block: Some(text_block("x")),
            ..Default::default()
        },
        v1::UpdateContentRequest {
            message_id: message_id(),
            block: Some(named("b", text_block("x"))),
            ..Default::default()
        },
        v1::PublishEventRequest {
            message_id: message_id(),
            name: "noticed".into(),
            ..Default::default()
        },
        v1::EndMessageRequest {
            message_id: message_id(),
            ..Default::default()
        },
    );
}
