//! Random commands at the service and at a model: after every step the service
//! is where the model is, and the fold of the log is what is stored.

mod blocks;
mod model;
mod tasks;

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use throughline::{
    proto as v1,
    wire::{content::block_from_v1, task::task_from_v1},
};
use tonic::Code;

use self::model::Model;
use crate::support::{Clients, World, fold, text_block};

/// Longer than the test takes.
const LONG: Duration = Duration::from_secs(3_600);

/// What is done to the message. Numbers pick among what there is.
#[derive(Debug, Clone)]
enum Step {
    Append { block: Option<usize>, text: String },
    AppendAt { offset: u64, text: String },
    AddText { open: bool, size: usize },
    AddImage { size: usize },
    Seal { block: usize },
    Replace { block: usize, text: String },
    StartTask,
    Progress { task: usize, progress: f64 },
    Finish { task: usize, size: usize },
    Fail { task: usize },
    Cancel { task: usize },
    Publish,
    RequestCancel,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let text = "[a-zäß€🙂]{1,12}";
    // On both sides of what stays inline.
    let size = prop_oneof![0..100usize, 9_990..10_010usize];
    prop_oneof![
        8 => (prop::option::weighted(0.4, 0..8usize), text)
            .prop_map(|(block, text)| Step::Append { block, text }),
        2 => (0..20u64, text).prop_map(|(offset, text)| Step::AppendAt { offset, text }),
        3 => (any::<bool>(), size.clone()).prop_map(|(open, size)| Step::AddText { open, size }),
        1 => size.clone().prop_map(|size| Step::AddImage { size }),
        2 => (0..8usize).prop_map(|block| Step::Seal { block }),
        1 => (0..8usize, text).prop_map(|(block, text)| Step::Replace { block, text }),
        2 => Just(Step::StartTask),
        2 => (0..4usize, 0.0..=1.0).prop_map(|(task, progress)| Step::Progress { task, progress }),
        1 => (0..4usize, size).prop_map(|(task, size)| Step::Finish { task, size }),
        1 => (0..4usize).prop_map(|task| Step::Fail { task }),
        1 => (0..4usize).prop_map(|task| Step::Cancel { task }),
        1 => Just(Step::Publish),
        1 => Just(Step::RequestCancel),
        1 => Just(Step::End),
    ]
}

/// The service's message and the model's, side by side.
struct Pair {
    clients: [Clients; 2],
    message: String,
    model: Model,
    turn: usize,
}

type Outcome = Result<(), Code>;

impl Pair {
    fn client(&mut self) -> Clients {
        self.turn += 1;
        self.clients[self.turn % 2].clone()
    }

    fn id(&self, kind: &str) -> String {
        format!("{kind}{}", self.turn)
    }

    /// Takes a step on both sides; they must agree on whether it succeeds.
    async fn take(&mut self, step: &Step) {
        let client = self.client();
        let (expected, actual) = match step.clone() {
            Step::Append { block, text } => self.append(&client, block, None, &text).await,
            Step::AppendAt { offset, text } => {
                self.append(&client, None, Some(offset), &text).await
            }
            Step::AddText { open, size } => self.add_text(&client, open, size).await,
            Step::AddImage { size } => self.add_image(&client, size).await,
            Step::Seal { block } => self.update(&client, block, None).await,
            Step::Replace { block, text } => self.update(&client, block, Some(text)).await,
            Step::StartTask => self.start_task(&client).await,
            Step::Progress { task, progress } => {
                let update = v1::UpdateTaskRequest {
                    status: v1::TaskStatus::Processing.into(),
                    progress: Some(progress),
                    ..Default::default()
                };
                self.update_task(&client, task, update).await
            }
            Step::Finish { task, size } => {
                let update = v1::UpdateTaskRequest {
                    status: v1::TaskStatus::Completed.into(),
                    content: Some(text_block(&"r".repeat(size))),
                    outcome: outcome(size),
                    ..Default::default()
                };
                self.update_task(&client, task, update).await
            }
            Step::Fail { task } => {
                let update = v1::UpdateTaskRequest {
                    status: v1::TaskStatus::Failed.into(),
                    error: "no luck".into(),
                    ..Default::default()
                };
                self.update_task(&client, task, update).await
            }
            Step::Cancel { task } => self.cancel(&client, task).await,
            Step::Publish => {
                let expected = self.unless_ended();
                let actual = client.publish(&self.message, "news").await;
                (expected, actual.map(drop).map_err(|status| status.code()))
            }
            Step::RequestCancel => {
                self.model.cancel_requested |= !self.model.ended;
                let actual = client.cancel(&self.message, LONG).await;
                (Ok(()), actual.map(drop).map_err(|status| status.code()))
            }
            Step::End => self.end(&client).await,
        };
        assert_eq!(actual, expected, "{step:?} at {:?}", self.model);
        self.compare().await;
    }

    fn unless_ended(&self) -> Outcome {
        match self.model.ended {
            true => Err(Code::FailedPrecondition),
            false => Ok(()),
        }
    }

    async fn end(&mut self, client: &Clients) -> (Outcome, Outcome) {
        self.model.end();
        let actual = client.end(&self.message, v1::MessageState::Completed).await;
        (Ok(()), actual.map(drop).map_err(|status| status.code()))
    }

    /// Service, model and fold of the log say the same.
    async fn compare(&mut self) {
        let client = self.client();
        let stored = client.get(&self.message).await.unwrap();
        assert_eq!(stored.text, self.model.text());
        let states: Vec<_> = stored
            .blocks
            .iter()
            .map(|b| (b.block_id.clone(), b.state()))
            .collect();
        let expected: Vec<_> = self
            .model
            .blocks
            .iter()
            .map(|b| (b.id.clone(), b.state()))
            .collect();
        assert_eq!(states, expected);
        let tasks: Vec<_> = stored
            .tasks
            .iter()
            .map(|t| (t.status(), t.progress, t.outcome))
            .collect();
        let expected: Vec<_> = self
            .model
            .tasks
            .iter()
            .map(|t| (t.status, t.progress, t.outcome))
            .collect();
        assert_eq!(tasks, expected);

        let folded = fold(&client.events(&self.message).await);
        assert_eq!(folded.head.to_string(), stored.cursor);
        assert_eq!(folded.is_terminal(), self.model.ended);
        let cancel_requested = self.model.cancel_requested;
        assert_eq!(folded.cancel_requested(), cancel_requested);
        assert_eq!(stored.cancel_requested, cancel_requested);
        let blocks: Vec<_> = stored
            .blocks
            .into_iter()
            .map(|b| block_from_v1(b).unwrap())
            .collect();
        assert_eq!(blocks, folded.blocks);
        let tasks: Vec<_> = stored
            .tasks
            .into_iter()
            .map(|t| task_from_v1(t).unwrap())
            .collect();
        assert_eq!(tasks, folded.tasks);
    }
}

/// What a worker says of its work on a result of this size; of every third nothing.
fn outcome(size: usize) -> Option<v1::TaskOutcome> {
    let usage = v1::TaskUsage {
        output_tokens: size as u64,
        ..Default::default()
    };
    let outcome = v1::TaskOutcome {
        stop_reason: v1::StopReason::Done.into(),
        usage: Some(usage),
    };
    (!size.is_multiple_of(3)).then_some(outcome)
}

#[tokio::test]
async fn the_fold_of_the_log_is_what_is_stored_after_every_step() {
    const CASES: usize = 40;
    let world = World::start().await;
    world.a().session("s").await;
    let mut runner = TestRunner::new(Config::default());
    for case in 0..CASES {
        let steps = vec(step(), 1..40).new_tree(&mut runner).unwrap().current();
        println!("case {case}: {steps:?}");
        let message = format!("m{case}");
        world
            .a()
            .create(&message, v1::Role::Assistant)
            .await
            .unwrap();
        let mut pair = Pair {
            clients: [world.a(), world.b()],
            message,
            model: Model::default(),
            turn: 0,
        };
        for step in &steps {
            pair.take(step).await;
        }
    }
}
