//! Tells watchers what an attempt is doing.

use super::{
    client::{CallError, Client},
    clock::fresh_id,
    output::cut,
};
use crate::proto as v1;

/// What a status may have.
const STATUS_BYTES_MAX: usize = 1_024;

/// Tells it of one task.
pub(super) struct Progress {
    client: Client,
    task: v1::Task,
}

impl Progress {
    pub(super) fn new(client: &Client, task: &v1::Task) -> Self {
        Self {
            client: client.clone(),
            task: task.clone(),
        }
    }

    /// Names the stage, and how much is done, 0 to 1. Less than before counts as
    /// before.
    pub(super) async fn at(&self, stage: &str, done: f64) -> Result<(), CallError> {
        let update = v1::UpdateTaskRequest {
            message_id: self.task.message_id.clone(),
            task_id: self.task.task_id.clone(),
            attempt: self.task.attempt,
            progress: Some(done.clamp(0.0, 1.0)),
            status_text: Some(cut(stage, STATUS_BYTES_MAX).to_owned()),
            request_id: fresh_id(),
            ..Default::default()
        };
        self.client.update_task(update).await.map(drop)
    }
}

/// `part` of `whole`, both counted.
pub(super) fn share(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole.max(1))
}
