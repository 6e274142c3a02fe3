//! Hears at once that somebody asks for a cancel, or that the task is over, also
//! while a model says nothing.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Code;

use super::{
    client::Client,
    spread::spread,
    stop::{Stop, StopSignal},
};
use crate::proto::{self as v1, EventType, event::Payload, watch_message_response::Frame};

const REPEAT_DELAY: Duration = Duration::from_secs(1);

/// Watches the task's message until the attempt is to stop. Dropped with the attempt.
pub(super) async fn listen(client: &Client, task: &v1::Task, signal: &StopSignal) {
    loop {
        match watch(client, task).await {
            Ok(Some(why)) => return signal.stop(why),
            Err(status) if status.code() == Code::NotFound => return signal.stop(Stop::LeaseLost),
            // The connection ended, not the message. Leases tell what is missed.
            Ok(None) | Err(_) => sleep(spread(REPEAT_DELAY)).await,
        }
    }
}

async fn watch(client: &Client, task: &v1::Task) -> Result<Option<Stop>, tonic::Status> {
    let types = [
        EventType::CancelRequested,
        EventType::TaskCancelled,
        EventType::TaskFailed,
    ];
    let request = v1::WatchMessageRequest {
        message_id: task.message_id.clone(),
        event_types: types.map(Into::into).to_vec(),
        ..Default::default()
    };
    let mut frames = client
        .messages
        .clone()
        .watch_message(request)
        .await?
        .into_inner();
    while let Some(frame) = frames.message().await? {
        let why = frame.frame.and_then(|frame| reason(frame, &task.task_id));
        if why.is_some() {
            return Ok(why);
        }
    }
    Ok(None)
}

/// What a frame means for the attempt.
fn reason(frame: Frame, task_id: &str) -> Option<Stop> {
    match frame {
        Frame::Snapshot(message) if message.cancel_requested => Some(Stop::CancelRequested),
        Frame::Event(event) => match event.payload? {
            Payload::CancelRequested(_) => Some(Stop::CancelRequested),
            Payload::TaskCancelled(ended) => is_of(ended.task, task_id),
            Payload::TaskFailed(ended) => is_of(ended.task, task_id),
            _ => None,
        },
        Frame::End(end) => match end.reason() {
            v1::WatchEndReason::ServerDraining => None,
            _ => Some(Stop::LeaseLost),
        },
        _ => None,
    }
}

fn is_of(task: Option<v1::Task>, task_id: &str) -> Option<Stop> {
    let is_ours = task.is_some_and(|task| task.task_id == task_id);
    is_ours.then_some(Stop::LeaseLost)
}
