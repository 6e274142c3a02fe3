//! The service, a scripted model, and a worker between them.

use clap::Parser;
use serde_json::{Value, json};
use throughline::{
    proto::{self as v1, TaskStatus, Workflow},
    worker::{Worker, config::AgentArgs},
};

use super::endpoint::{Act, Asked, Endpoint};
use crate::support::{Clients, World, eventually};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    agents: AgentArgs,
}

/// Redis, two instances, a scripted model, and a worker at the second instance.
pub struct Stage {
    pub world: World,
    pub model: Endpoint,
    pub worker: Option<Worker>,
}

impl Stage {
    pub async fn set(script: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static) -> Self {
        Self::with(&[], script).await
    }

    /// With these flags of the worker.
    pub async fn with(
        flags: &[&str],
        script: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        let mut stage = Self::without_worker(script).await;
        stage.hire(flags);
        stage
    }

    pub async fn without_worker(
        script: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        // As the program does: an error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let world = World::start().await;
        world.a().session("s").await;
        Self {
            world,
            model: Endpoint::start(script).await,
            worker: None,
        }
    }

    /// Starts a worker, in the place of another if there is one.
    pub fn hire(&mut self, flags: &[&str]) {
        let url = self.model.url.clone();
        self.hire_at(&url, flags);
    }

    /// The same with another model than the stage's.
    pub fn hire_at(&mut self, model_url: &str, flags: &[&str]) {
        let quick = [
            "worker",
            "--llm-model",
            "m",
            "--llm-retry-delay-max",
            "50ms",
        ];
        let url = ["--llm-url", model_url, "--worker-lease", "5s"];
        let all = [&quick[..], &url[..], flags].concat();
        let options = Flags::try_parse_from(all).unwrap().agents;
        let server = format!("http://{}", self.world.services[1].address);
        let options = options.options(server).unwrap();
        self.worker = Some(Worker::start(options).unwrap());
    }

    pub fn clients(&self) -> Clients {
        self.world.a()
    }

    /// Submits a task that has one attempt.
    pub async fn submit(&self, workflow: Workflow, text: &str) -> v1::Task {
        self.submit_with(request(workflow, text)).await
    }

    pub async fn submit_with(&self, request: v1::SubmitTaskRequest) -> v1::Task {
        let answer = self.clients().submit(request).await.unwrap();
        answer.task.unwrap()
    }

    /// Waits until a task has ended.
    pub async fn ended(&self, task: &v1::Task) -> Ended {
        let clients = self.clients();
        let get = || clients.task(&task.message_id, &task.task_id);
        let is_open =
            |task: &v1::Task| matches!(task.status(), TaskStatus::Pending | TaskStatus::Processing);
        eventually("the task's end", || async { !is_open(&get().await) }).await;
        Ended {
            task: get().await,
            message: clients.get(&task.message_id).await.unwrap(),
        }
    }

    /// Submits a task and waits until it has ended.
    pub async fn done(&self, workflow: Workflow, text: &str) -> Ended {
        let task = self.submit(workflow, text).await;
        self.ended(&task).await
    }
}

/// A task of one attempt.
pub fn request(workflow: Workflow, text: &str) -> v1::SubmitTaskRequest {
    v1::SubmitTaskRequest {
        session_id: "s".into(),
        task_description: text.into(),
        workflow: workflow.into(),
        max_attempts: 1,
        ..Default::default()
    }
}

/// A number among a task's params.
pub fn limit(name: &str, value: u32) -> Option<prost_types::Struct> {
    let number = prost_types::value::Kind::NumberValue(value.into());
    let value = prost_types::Value { kind: Some(number) };
    Some(prost_types::Struct {
        fields: [(name.to_owned(), value)].into(),
    })
}

/// A task that has ended, and its message.
#[derive(Debug)]
pub struct Ended {
    pub task: v1::Task,
    pub message: v1::Message,
}

impl Ended {
    pub fn reason(&self) -> v1::StopReason {
        self.task.outcome.as_ref().unwrap().stop_reason()
    }

    pub fn usage(&self) -> v1::TaskUsage {
        self.task.outcome.as_ref().unwrap().usage.unwrap()
    }

    /// Status, reason and text.
    pub fn result(&self) -> (TaskStatus, v1::StopReason, &str) {
        (self.task.status(), self.reason(), self.message.text.trim())
    }

    /// Whether the task ended well without an answer, which none may.
    pub fn is_empty_success(&self) -> bool {
        self.task.status() == TaskStatus::Completed && self.message.text.trim().is_empty()
    }

    pub fn kinds(&self) -> Vec<v1::ContentType> {
        self.message
            .blocks
            .iter()
            .map(v1::ContentBlock::content_type)
            .collect()
    }
}

pub fn judgement(rating: &str) -> Value {
    json!({"rating": rating, "feedback": "more", "focus_areas": ["all"]})
}

/// A plan of steps, each of so many subtasks named after it.
pub fn plan(steps: &[usize]) -> Value {
    let steps = steps.iter().enumerate().map(|(step, subtasks)| {
        let subtasks =
            (0..*subtasks).map(|at| json!({"description": format!("piece-{step}-{at}")}));
        json!({"description": format!("step-{step}"), "subtasks": subtasks.collect::<Vec<_>>()})
    });
    json!({"steps": steps.collect::<Vec<_>>(), "is_complete": false})
}

pub fn complete() -> Value {
    json!({"steps": [], "is_complete": true})
}
