//! What tests of queued tasks have in common.

use std::time::Duration;

use throughline::proto as v1;
use tonic::Status;

use super::{Clients, eventually, text_block};

/// The shortest lease that there is.
pub const LEASE: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, Status>;

/// A worker that waits for a task of this type.
pub fn claim_of(task_type: &str) -> v1::ClaimTaskRequest {
    v1::ClaimTaskRequest {
        task_types: vec![task_type.into()],
        worker_id: "w".into(),
        lease: Some(prost_types::Duration::try_from(LEASE).unwrap()),
        wait: Some(prost_types::Duration::try_from(Duration::from_secs(20)).unwrap()),
        ..Default::default()
    }
}

/// The same that does not wait.
pub fn look_for(task_type: &str) -> v1::ClaimTaskRequest {
    v1::ClaimTaskRequest {
        wait: None,
        ..claim_of(task_type)
    }
}

pub fn start_of(message: &str, task: &str, task_type: &str) -> v1::StartTaskRequest {
    v1::StartTaskRequest {
        message_id: message.into(),
        task_id: task.into(),
        task_type: task_type.into(),
        placeholder: Some(v1::ContentBlock {
            content_type: v1::ContentType::Text.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// News of a task under its lease.
pub fn update_of(task: &v1::Task, status: v1::TaskStatus) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        message_id: task.message_id.clone(),
        task_id: task.task_id.clone(),
        attempt: task.attempt,
        status: status.into(),
        ..Default::default()
    }
}

/// The result of a task.
pub fn result_of(task: &v1::Task, text: &str) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        content: Some(text_block(text)),
        ..update_of(task, v1::TaskStatus::Completed)
    }
}

/// A failed attempt, after which the task is tried again at once.
pub fn failure_of(task: &v1::Task, error: &str) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        error: error.into(),
        retryable: true,
        retry_delay: Some(prost_types::Duration::default()),
        ..update_of(task, v1::TaskStatus::Failed)
    }
}

pub fn lease_of(task: &v1::Task) -> Option<v1::TaskLease> {
    Some(v1::TaskLease {
        task_id: task.task_id.clone(),
        attempt: task.attempt,
    })
}

/// Text written under a lease.
pub fn text_of(task: &v1::Task, delta: &str) -> v1::AppendTextRequest {
    v1::AppendTextRequest {
        message_id: task.message_id.clone(),
        delta: delta.into(),
        lease: lease_of(task),
        ..Default::default()
    }
}

pub fn renewal_of(task: &v1::Task) -> v1::TaskRenewal {
    v1::TaskRenewal {
        message_id: task.message_id.clone(),
        task_id: task.task_id.clone(),
        attempt: task.attempt,
        ..Default::default()
    }
}

impl Clients {
    pub async fn start(&self, request: v1::StartTaskRequest) -> Result<v1::Task> {
        let answer = self.tasks.clone().start_task(request).await?.into_inner();
        Ok(answer.task.unwrap())
    }

    /// Makes message `m` in session `s` and starts a task in it.
    pub async fn started(&self, task: &str, task_type: &str) -> v1::Task {
        self.message("m").await;
        self.start(start_of("m", task, task_type)).await.unwrap()
    }

    pub async fn try_claim(&self, request: v1::ClaimTaskRequest) -> Result<v1::ClaimTaskResponse> {
        Ok(self.tasks.clone().claim_task(request).await?.into_inner())
    }

    /// Waits for a task of this type, which comes.
    pub async fn claim(&self, task_type: &str) -> v1::Task {
        let answer = self.try_claim(claim_of(task_type)).await.unwrap();
        answer.task.expect("a task comes")
    }

    /// Whether there is no task of this type to be had.
    pub async fn finds_nothing(&self, task_type: &str) -> bool {
        let answer = self.try_claim(look_for(task_type)).await.unwrap();
        answer.task.is_none()
    }

    pub async fn renew(
        &self,
        renewals: Vec<v1::TaskRenewal>,
    ) -> Result<Vec<v1::TaskRenewalResult>> {
        let request = v1::RenewTaskRequest {
            renewals,
            ..Default::default()
        };
        Ok(self
            .tasks
            .clone()
            .renew_task(request)
            .await?
            .into_inner()
            .results)
    }

    pub async fn renewal_status(&self, task: &v1::Task) -> v1::RenewalStatus {
        self.renew(vec![renewal_of(task)]).await.unwrap()[0].status()
    }

    pub async fn submit(&self, request: v1::SubmitTaskRequest) -> Result<v1::SubmitTaskResponse> {
        Ok(self.tasks.clone().submit_task(request).await?.into_inner())
    }

    pub async fn task(&self, message: &str, task: &str) -> v1::Task {
        let request = v1::GetTaskRequest {
            message_id: message.into(),
            task_id: task.into(),
        };
        let answer = self.tasks.clone().get_task(request).await.unwrap();
        answer.into_inner().task.unwrap()
    }

    /// Waits until a task is as it should be.
    pub async fn task_becomes(&self, task: &v1::Task, status: v1::TaskStatus) -> v1::Task {
        let get = || self.task(&task.message_id, &task.task_id);
        eventually(&format!("{status:?}"), || async {
            get().await.status() == status
        })
        .await;
        get().await
    }
}
