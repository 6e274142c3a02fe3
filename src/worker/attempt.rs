//! One attempt at a task, from the claim to the update that ends it.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::{
    budget::{self, Meter},
    cancel,
    checkpoint::{Checkpoints, Left},
    client::{CallError, Client},
    clock::{self, fresh_id},
    config::WorkerOptions,
    conversation,
    failure::Failure,
    llm::Model,
    output::{Output, cut},
    params::Params,
    progress::Progress,
    stop::{Stop, StopSignal},
    tools::Toolbox,
    workflow::{self, Answer, Work},
};
use crate::proto::{
    self as v1, ContentBlock, StopReason, TaskStatus, Workflow, content_block::Content,
    text_content,
};

/// What an error may have.
const ERROR_BYTES_MAX: usize = 4_096;

/// The longest that a task waits for its next attempt because an endpoint asks for it.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10 * 60);

/// What all attempts of a worker share.
pub(super) struct Shared {
    pub(super) options: WorkerOptions,
    pub(super) client: Client,
    pub(super) model: Model,
    pub(super) toolbox: Toolbox,
}

/// How an attempt came to its end.
enum End {
    Answered(Answer),
    Failed(Failure),
    Stopped(Stop),
}

/// Works on a task until it is done, fails or is to stop, and says so.
pub(super) async fn carry_out(
    shared: &Shared,
    claimed: v1::ClaimTaskResponse,
    signal: &StopSignal,
) {
    let Some(task) = &claimed.task else { return };
    debug!(
        task.id = task.task_id,
        task.attempt = task.attempt,
        "working on a task"
    );
    let left = Left::read(claimed.checkpoint.as_ref());
    let work = match prepare(shared, &claimed, task, left, signal) {
        Ok(work) => work,
        Err(failure) => {
            let outcome = outcome(failure.reason(), v1::TaskUsage::default());
            return report(shared, task, failed(&failure, outcome)).await;
        }
    };
    let end = tokio::select! {
        biased;
        why = signal.stopped() => End::Stopped(why),
        () = listen(shared, task, signal) => End::Stopped(Stop::LeaseLost),
        end = workflow::run(&work) => match end {
            Ok(answer) => End::Answered(answer),
            // A write finds that out before the watch and the leases do.
            Err(Failure::Call(CallError::LeaseLost(_))) => End::Stopped(Stop::LeaseLost),
            Err(failure) => End::Failed(failure),
        },
    };
    finish(shared, task, &work, end).await;
}

/// Hears of cancels. The signal tells; this never ends by itself.
async fn listen(shared: &Shared, task: &v1::Task, signal: &StopSignal) {
    cancel::listen(&shared.client, task, signal).await;
    std::future::pending::<()>().await;
}

fn prepare(
    shared: &Shared,
    claimed: &v1::ClaimTaskResponse,
    task: &v1::Task,
    left: Left,
    signal: &StopSignal,
) -> Result<Work, Failure> {
    let (client, options) = (&shared.client, &shared.options);
    let params = Params::of(task, options)?;
    let mut limits = params.limits(&options.limits);
    if let Some(time) = budget::time_for(task, clock::now()) {
        limits.time = limits.time.min(time);
    }
    Ok(Work {
        workflow: workflow_of(task),
        conversation: conversation::of(&claimed.history, task, &params.task_description),
        tuning: params.tuning(),
        max_iterations: task.max_iterations,
        model: shared.model.clone(),
        meter: Meter::new(&limits, left.usage),
        output: Output::new(client, task, signal),
        prompts: options.prompts.clone(),
        toolbox: shared.toolbox.clone(),
        progress: Progress::new(client, task),
        checkpoints: Checkpoints::new(client, &options.name, task, &left),
        request: params.task_description,
        system: params.system_prompt,
        limits,
        left,
    })
}

/// StartTask names a type only.
fn workflow_of(task: &v1::Task) -> Workflow {
    match (task.workflow(), task.task_type.as_str()) {
        (Workflow::Unspecified, "critic") => Workflow::Critic,
        (Workflow::Unspecified, "planner") => Workflow::Planner,
        (Workflow::Unspecified, _) => Workflow::Simple,
        (workflow, _) => workflow,
    }
}

async fn finish(shared: &Shared, task: &v1::Task, work: &Work, end: End) {
    let used = work.meter.used();
    let update = match end {
        End::Stopped(Stop::LeaseLost) => {
            return info!(
                task.id = task.task_id,
                task.attempt = task.attempt,
                "the lease of a task was lost"
            );
        }
        End::Stopped(Stop::CancelRequested) => v1::UpdateTaskRequest {
            status: TaskStatus::Cancelled.into(),
            outcome: Some(outcome(StopReason::Cancelled, used)),
            ..Default::default()
        },
        End::Stopped(Stop::Draining) => v1::UpdateTaskRequest {
            status: TaskStatus::Pending.into(),
            ..Default::default()
        },
        End::Failed(failure) => {
            warn!(
                task.id = task.task_id,
                task.attempt = task.attempt,
                error = failure.kind(),
                "an attempt failed"
            );
            let reason = failure.reason();
            failed(&failure, outcome(reason, used))
        }
        End::Answered(answer) => completed(answer, used),
    };
    let goes_on = update.retryable || update.status() == TaskStatus::Pending;
    if goes_on && let Err(error) = work.checkpoints.save_usage(&work.meter).await {
        debug!(%error, "what an attempt used is not saved");
    }
    report(shared, task, update).await;
}

fn completed(answer: Answer, used: v1::TaskUsage) -> v1::UpdateTaskRequest {
    let content = answer.text.map(|text| {
        Content::Text(v1::TextContent {
            source: Some(text_content::Source::Text(text)),
        })
    });
    v1::UpdateTaskRequest {
        status: TaskStatus::Completed.into(),
        content: content.map(|content| ContentBlock {
            content: Some(content),
            ..Default::default()
        }),
        outcome: Some(outcome(answer.reason, used)),
        ..Default::default()
    }
}

fn failed(failure: &Failure, outcome: v1::TaskOutcome) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        status: TaskStatus::Failed.into(),
        error: cut(&failure.to_string(), ERROR_BYTES_MAX).to_owned(),
        retryable: failure.is_retryable(),
        retry_delay: failure
            .retry_after()
            .and_then(|delay| prost_types::Duration::try_from(delay.min(RETRY_DELAY_MAX)).ok()),
        outcome: Some(outcome),
        ..Default::default()
    }
}

fn outcome(reason: StopReason, used: v1::TaskUsage) -> v1::TaskOutcome {
    v1::TaskOutcome {
        stop_reason: reason.into(),
        usage: Some(used),
    }
}

async fn report(shared: &Shared, task: &v1::Task, update: v1::UpdateTaskRequest) {
    let update = v1::UpdateTaskRequest {
        message_id: task.message_id.clone(),
        task_id: task.task_id.clone(),
        attempt: task.attempt,
        request_id: fresh_id(),
        ..update
    };
    match shared.client.update_task(update).await {
        Ok(_) => debug!(task.id = task.task_id, "a task is done with"),
        // It is offered again when its lease has run out.
        Err(error) => {
            warn!(task.id = task.task_id, %error, "the end of an attempt can't be reported")
        }
    }
}
