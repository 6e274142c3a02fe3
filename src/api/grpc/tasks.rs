//! TaskService.

use tonic::{Request, Response, Status};

use super::{
    Answer, claims, fields, open, page_token, result,
    servers::task_service_server::TaskService,
    writes::{self, Write},
};
use crate::{
    api::status::{from_engine, invalid},
    domain::{
        ids::{MessageId, TaskId},
        message::Message,
        refusal::Refusal,
        task::TaskStatus,
    },
    engine::{Engine, EngineError, Written},
    proto as v1,
    wire::task::{status_from_v1, task_of_message_to_v1},
};

pub(super) struct Tasks(pub(super) Engine);

impl Tasks {
    /// Makes a write about a task, which is what its detail names.
    async fn write(&self, write: Write) -> Result<(Written, Option<v1::Task>), Status> {
        let Write { request, command } = write;
        let written = self
            .0
            .write(&request, &command)
            .await
            .map_err(from_engine)?;
        let task = task_of(&written);
        Ok((written, task))
    }
}

/// The task that a write was about.
fn task_of(written: &Written) -> Option<v1::Task> {
    let id = TaskId::parse(&written.detail).ok()?;
    find(&written.message, &id)
}

fn find(message: &Message, id: &TaskId) -> Option<v1::Task> {
    message
        .task(id)
        .map(|task| task_of_message_to_v1(task, message))
}

#[tonic::async_trait]
impl TaskService for Tasks {
    async fn start_task(
        &self,
        request: Request<v1::StartTaskRequest>,
    ) -> Answer<v1::StartTaskResponse> {
        let (principal, request) = open(request);
        let (written, task) = self.write(writes::start_task(principal, request)?).await?;
        Ok(Response::new(v1::StartTaskResponse {
            result: Some(result(written.receipt)),
            task,
        }))
    }

    async fn update_task(
        &self,
        request: Request<v1::UpdateTaskRequest>,
    ) -> Answer<v1::UpdateTaskResponse> {
        let (principal, request) = open(request);
        let (written, task) = self.write(writes::update_task(principal, request)?).await?;
        Ok(Response::new(v1::UpdateTaskResponse {
            result: Some(result(written.receipt)),
            task,
        }))
    }

    async fn get_task(&self, request: Request<v1::GetTaskRequest>) -> Answer<v1::GetTaskResponse> {
        let (principal, request) = open(request);
        let message = fields::id("message_id", &request.message_id, MessageId::parse)?;
        let id = fields::id("task_id", &request.task_id, TaskId::parse)?;
        let view = self
            .0
            .message_without_text(&principal, &message)
            .await
            .map_err(from_engine)?;
        let task = find(&view.message, &id)
            .ok_or_else(|| from_engine(EngineError::Refused(Refusal::TaskUnknown(id))))?;
        Ok(Response::new(v1::GetTaskResponse { task: Some(task) }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answer<v1::ListTasksResponse> {
        let (principal, request) = open(request);
        let message = fields::id("message_id", &request.message_id, MessageId::parse)?;
        let statuses = request.statuses.iter().map(|status| {
            status_from_v1(fields::known("statuses", *status)?)
                .ok_or_else(|| invalid("statuses", "must name statuses"))
        });
        let statuses: Vec<TaskStatus> = statuses.collect::<Result<_, _>>()?;
        let size = fields::page_size(request.page_size)?;
        let after = page_token::read(&request.page_token, TaskId::parse)?;
        let view = self
            .0
            .message_without_text(&principal, &message)
            .await
            .map_err(from_engine)?;

        // The place of a task is its number within the message.
        let first = after.map_or(0, |(number, _)| number.saturating_add(1));
        let wanted = view
            .message
            .tasks
            .iter()
            .zip(0u64..)
            .filter(|(task, number)| {
                let is_wanted = statuses.is_empty() || statuses.contains(&task.status);
                *number >= first && is_wanted
            });
        // All tasks of a message together fit into an answer.
        let mut page = v1::ListTasksResponse::default();
        let mut last = None;
        for (task, number) in wanted {
            if page.tasks.len() == size {
                page.next_page_token = page_token::write(last);
                break;
            }
            page.tasks.push(task_of_message_to_v1(task, &view.message));
            last = Some((number, task.id.clone()));
        }
        Ok(Response::new(page))
    }

    async fn cancel_task(
        &self,
        request: Request<v1::CancelTaskRequest>,
    ) -> Answer<v1::CancelTaskResponse> {
        let (principal, request) = open(request);
        let (written, task) = self.write(writes::cancel_task(principal, request)?).await?;
        Ok(Response::new(v1::CancelTaskResponse {
            result: Some(result(written.receipt)),
            task,
        }))
    }

    async fn submit_task(
        &self,
        request: Request<v1::SubmitTaskRequest>,
    ) -> Answer<v1::SubmitTaskResponse> {
        let (principal, request) = open(request);
        let submit = claims::submit(principal, request)?;
        let written = self.0.submit(&submit).await.map_err(from_engine)?;
        let task = task_of(&written);
        Ok(Response::new(v1::SubmitTaskResponse {
            result: Some(result(written.receipt)),
            task,
        }))
    }

    async fn claim_task(
        &self,
        request: Request<v1::ClaimTaskRequest>,
    ) -> Answer<v1::ClaimTaskResponse> {
        let (principal, request) = open(request);
        let claim = claims::claim(principal, &request)?;
        let claimed = self.0.claim(claim).await.map_err(from_engine)?;
        Ok(Response::new(claims::claimed(claimed)))
    }

    async fn renew_task(
        &self,
        request: Request<v1::RenewTaskRequest>,
    ) -> Answer<v1::RenewTaskResponse> {
        let (principal, request) = open(request);
        let renewals = claims::renewals(request)?;
        let renewed = self.0.renew(&principal, &renewals).await;
        let renewed = renewed.map_err(from_engine)?;
        let results = renewals.iter().zip(renewed);
        Ok(Response::new(v1::RenewTaskResponse {
            results: results
                .map(|(renewal, renewed)| claims::renewed(renewal, renewed))
                .collect(),
        }))
    }
}
