//! Requests of workers, and of those who submit tasks, as the engine understands
//! them.

use std::{collections::BTreeSet, time::Duration};

use tonic::Status;

use super::{fields, writes};
use crate::{
    api::status::invalid,
    domain::{
        Metadata,
        claim::{Renewal, Worker},
        command::StartTask,
        content::ContentKind,
        ids::{BlockId, Label, MessageId, SessionId, TaskId},
        limits,
        principal::Principal,
        task::{Attempt, Checkpoint, Workflow},
    },
    engine::{ClaimRequest, Claimed, Renewed, SubmitRequest},
    proto as v1,
    wire::{
        task::{attempt_to_v1, task_of_message_to_v1, workflow_from_v1},
        values::{metadata_to_v1, time_to_v1},
    },
};

/// Where a submitted task says what is to be done.
const DESCRIPTION: &str = "task_description";

pub(super) fn claim(
    principal: Principal,
    request: &v1::ClaimTaskRequest,
) -> Result<ClaimRequest, Status> {
    let labels = |field: &str, names: &[String]| {
        let labels = names.iter().enumerate();
        let labels =
            labels.map(|(at, name)| fields::id(&format!("{field}[{at}]"), name, Label::parse));
        labels.collect::<Result<Vec<_>, _>>()
    };
    let types = labels("task_types", &request.task_types)?;
    let queues = labels("queues", &request.queues)?;
    let queues: BTreeSet<_> = types.into_iter().chain(queues).collect();
    if queues.is_empty() {
        return Err(invalid("task_types", "must name a type, or queues a queue"));
    }
    if queues.len() > limits::CLAIM_QUEUES_MAX {
        let problem = format!("must be at most {}", limits::CLAIM_QUEUES_MAX);
        return Err(invalid("task_types", problem));
    }
    let range = limits::LEASE_MIN..=limits::LEASE_MAX;
    let lease = fields::optional_duration("lease", request.lease.as_ref(), range)?;
    let range = Duration::ZERO..=limits::CLAIM_WAIT_MAX;
    let wait = fields::optional_duration("wait", request.wait.as_ref(), range)?;
    let history = usize::try_from(request.history_size);
    Ok(ClaimRequest {
        principal,
        queues: queues.into_iter().collect(),
        worker: Worker {
            name: fields::id("worker_id", &request.worker_id, Label::parse)?,
            lease: lease.unwrap_or(limits::LEASE_DEFAULT),
        },
        wait: wait.unwrap_or_default(),
        history: history
            .map_err(|_| invalid("history_size", "must not be negative"))?
            .min(limits::PAGE_SIZE_MAX),
    })
}

pub(super) fn claimed(claimed: Option<Claimed>) -> v1::ClaimTaskResponse {
    claimed.and_then(granted).unwrap_or_default()
}

fn granted(claimed: Claimed) -> Option<v1::ClaimTaskResponse> {
    let task = claimed.task()?;
    Some(v1::ClaimTaskResponse {
        task: Some(task_of_message_to_v1(task, &claimed.message)),
        lease_expire_time: task.held().map(|lease| time_to_v1(lease.end)),
        checkpoint: metadata_to_v1(&task.checkpoint.data),
        lease: Some(attempt_to_v1(&task.last_attempt())),
        history: claimed.history,
    })
}

pub(super) fn renewals(request: v1::RenewTaskRequest) -> Result<Vec<(MessageId, Renewal)>, Status> {
    let worker = fields::optional_id("worker_id", &request.worker_id, Label::parse)?;
    if request.renewals.len() > limits::RENEWALS_MAX {
        let problem = format!("must be at most {}", limits::RENEWALS_MAX);
        return Err(invalid("renewals", problem));
    }
    let renewals = request.renewals.into_iter().enumerate();
    renewals
        .map(|(at, renewal)| self::renewal(&format!("renewals[{at}]"), renewal, worker.clone()))
        .collect()
}

fn renewal(
    field: &str,
    renewal: v1::TaskRenewal,
    worker: Option<Label>,
) -> Result<(MessageId, Renewal), Status> {
    let within = |name: &str| format!("{field}.{name}");
    let message = fields::id(&within("message_id"), &renewal.message_id, MessageId::parse)?;
    let attempt = Attempt {
        task: fields::id(&within("task_id"), &renewal.task_id, TaskId::parse)?,
        number: fields::attempt(&within("attempt"), renewal.attempt)?,
    };
    fields::progress(&within("progress"), renewal.progress)?;
    let status_text = renewal.status_text.as_deref().unwrap_or_default();
    fields::text(&within("status_text"), status_text, limits::LINE_BYTES_MAX)?;
    let renewal = Renewal {
        attempt,
        worker,
        progress: renewal.progress,
        checkpoint: checkpoint(within, &renewal)?,
        status_text: renewal.status_text,
    };
    Ok((message, renewal))
}

fn checkpoint(
    within: impl Fn(&str) -> String,
    renewal: &v1::TaskRenewal,
) -> Result<Option<Checkpoint>, Status> {
    let field = within("kept_block_ids");
    let named = &renewal.kept_block_ids;
    let Some(data) = &renewal.checkpoint else {
        return match named.is_empty() {
            true => Ok(None),
            false => Err(invalid(&field, "must be empty without a checkpoint")),
        };
    };
    if named.len() > limits::KEPT_BLOCKS_MAX {
        let problem = format!("must be at most {}", limits::KEPT_BLOCKS_MAX);
        return Err(invalid(&field, problem));
    }
    let kept = named.iter().enumerate();
    let kept = kept.map(|(at, id)| fields::id(&format!("{field}[{at}]"), id, BlockId::parse));
    Ok(Some(Checkpoint {
        data: fields::metadata(&within("checkpoint"), Some(data))?,
        kept: kept.collect::<Result<_, _>>()?,
    }))
}

pub(super) fn renewed(
    (message, renewal): &(MessageId, Renewal),
    renewed: Renewed,
) -> v1::TaskRenewalResult {
    let (status, end) = match renewed {
        Renewed::Lost => (v1::RenewalStatus::Lost, None),
        Renewed::Held {
            end,
            cancel_requested: true,
        } => (v1::RenewalStatus::CancelRequested, Some(end)),
        Renewed::Held { end, .. } => (v1::RenewalStatus::Ok, Some(end)),
    };
    v1::TaskRenewalResult {
        message_id: message.to_string(),
        task_id: renewal.attempt.task.to_string(),
        status: status.into(),
        lease_expire_time: end.map(time_to_v1),
    }
}

pub(super) fn submit(
    principal: Principal,
    mut request: v1::SubmitTaskRequest,
) -> Result<SubmitRequest, Status> {
    let session = fields::id("session_id", &request.session_id, SessionId::parse)?;
    let request_id = std::mem::take(&mut request.request_id);
    let repeat = fields::repeat("SubmitTask", &request_id, &request)?;
    let message = match &repeat {
        // A repeat shall find the message that the first one has made.
        Some((id, _)) if request.message_id.is_empty() => fields::derived_message(&session, id)?,
        _ => fields::id_or_fresh("message_id", &request.message_id, MessageId::parse)?,
    };
    let workflow = fields::known("workflow", request.workflow)?;
    let workflow = workflow_from_v1(workflow).unwrap_or(Workflow::Simple);
    let kind = fields::id("workflow", workflow.name(), Label::parse)?;
    let queue = fields::optional_id("queue", &request.queue, Label::parse)?;
    Ok(SubmitRequest {
        principal,
        session,
        message,
        repeat,
        start: StartTask {
            id: fields::id_or_fresh("task_id", &request.task_id, TaskId::parse)?,
            queue: queue.unwrap_or_else(|| kind.clone()),
            kind,
            params: params(&request)?,
            max_attempts: writes::max_attempts(request.max_attempts),
            timeout: writes::timeout("timeout", request.timeout.as_ref())?,
            attempt_timeout: writes::timeout("attempt_timeout", request.attempt_timeout.as_ref())?,
            block: fields::id_or_fresh("block_id", "", BlockId::parse)?,
            content_kind: Some(ContentKind::Text),
            metadata: Metadata::new(),
            workflow: Some(workflow),
            max_iterations: request.max_iterations,
            ends_message: false,
        },
    })
}

fn params(request: &v1::SubmitTaskRequest) -> Result<Metadata, Status> {
    let description = &request.task_description;
    if description.is_empty() {
        return Err(invalid(DESCRIPTION, "must be given"));
    }
    let mut params = fields::metadata("params", request.params.as_ref())?;
    if params.contains_key(DESCRIPTION) {
        let problem = "must have no task_description of its own";
        return Err(invalid("params", problem));
    }
    params.insert(DESCRIPTION.to_owned(), description.clone().into());
    fields::object_within(DESCRIPTION, &params)?;
    Ok(params)
}
