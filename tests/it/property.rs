//! Random commands at the service and at a model: after every step the service
//! is where the model is, and the fold of the log is what is stored.

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

use crate::support::{Clients, World, fold, image_block, text_block};

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

/// What the message should be, in the simplest terms.
#[derive(Debug, Default)]
struct Model {
    blocks: Vec<ModelBlock>,
    tasks: Vec<ModelTask>,
    cancel_requested: bool,
    ended: bool,
}

#[derive(Debug, Clone)]
struct ModelBlock {
    id: String,
    /// The text of a TEXT block.
    text: Option<String>,
    open: bool,
    placeholder: bool,
}

#[derive(Debug, Clone)]
struct ModelTask {
    id: String,
    block: String,
    status: v1::TaskStatus,
    progress: f64,
    outcome: Option<v1::TaskOutcome>,
}

impl Model {
    fn text(&self) -> String {
        self.blocks
            .iter()
            .filter_map(|block| block.text.as_deref())
            .collect()
    }

    fn tail(&mut self) -> Option<&mut ModelBlock> {
        self.blocks.last_mut().filter(|block| block.open)
    }

    fn block(&mut self, id: &str) -> &mut ModelBlock {
        self.blocks.iter_mut().find(|block| block.id == id).unwrap()
    }

    fn add(&mut self, id: String, text: Option<String>, open: bool) {
        self.blocks.push(ModelBlock {
            id,
            text,
            open,
            placeholder: false,
        });
    }

    fn append(&mut self, new_id: &str, text: &str) {
        match self.tail() {
            Some(tail) => tail.text.as_mut().unwrap().push_str(text),
            None => self.add(new_id.to_owned(), Some(text.to_owned()), true),
        }
    }
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

    async fn append(
        &mut self,
        client: &Clients,
        block: Option<usize>,
        offset: Option<u64>,
        text: &str,
    ) -> (Outcome, Outcome) {
        let picked = block.and_then(|block| self.model.blocks.get(block).cloned());
        let request = v1::AppendTextRequest {
            message_id: self.message.clone(),
            block_id: picked
                .as_ref()
                .map(|block| block.id.clone())
                .unwrap_or_default(),
            delta: text.into(),
            expected_offset: offset,
            ..Default::default()
        };
        let answer = client.append_with(request).await;
        let expected = match (&picked, offset) {
            _ if self.model.ended => Err(Code::FailedPrecondition),
            (Some(block), _) if !block.open => Err(Code::FailedPrecondition),
            (None, Some(offset)) => {
                let tail = self
                    .model
                    .tail()
                    .and_then(|tail| tail.text.clone())
                    .unwrap_or_default();
                let is_there = tail
                    .as_bytes()
                    .get(offset as usize..)
                    .is_some_and(|rest| rest.starts_with(text.as_bytes()));
                match offset == tail.len() as u64 {
                    _ if is_there => {
                        return (Ok(()), answer.map(drop).map_err(|status| status.code()));
                    }
                    true => Ok(()),
                    false => Err(Code::Aborted),
                }
            }
            _ => Ok(()),
        };
        if let (Ok(()), Ok(answer)) = (&expected, &answer) {
            match picked {
                Some(block) => self
                    .model
                    .block(&block.id)
                    .text
                    .as_mut()
                    .unwrap()
                    .push_str(text),
                None => self.model.append(&answer.block_id, text),
            }
        }
        (expected, answer.map(drop).map_err(|status| status.code()))
    }

    async fn add_text(&mut self, client: &Clients, open: bool, size: usize) -> (Outcome, Outcome) {
        let text = "t".repeat(size);
        let state = match open {
            true => v1::BlockState::Open,
            false => v1::BlockState::Unspecified,
        };
        let block = v1::ContentBlock {
            block_id: self.id("text"),
            state: state.into(),
            ..text_block(&text)
        };
        let expected = self.unless_ended();
        if expected.is_ok() {
            self.model.add(block.block_id.clone(), Some(text), open);
        }
        let actual = client.add(&self.message, block).await;
        (expected, actual.map(drop).map_err(|status| status.code()))
    }

    async fn add_image(&mut self, client: &Clients, size: usize) -> (Outcome, Outcome) {
        let block = v1::ContentBlock {
            block_id: self.id("image"),
            ..image_block(vec![1; size])
        };
        let expected = self.unless_ended();
        if expected.is_ok() {
            self.model.add(block.block_id.clone(), None, false);
        }
        let actual = client.add(&self.message, block).await;
        (expected, actual.map(drop).map_err(|status| status.code()))
    }

    /// Seals a block, or replaces its text and leaves it open.
    async fn update(
        &mut self,
        client: &Clients,
        block: usize,
        text: Option<String>,
    ) -> (Outcome, Outcome) {
        let Some(picked) = self.model.blocks.get(block).cloned() else {
            return (Ok(()), Ok(()));
        };
        let block = match &text {
            None => v1::ContentBlock::default(),
            Some(text) => v1::ContentBlock {
                state: v1::BlockState::Open.into(),
                ..text_block(text)
            },
        };
        let request = v1::UpdateContentRequest {
            message_id: self.message.clone(),
            block: Some(v1::ContentBlock {
                block_id: picked.id.clone(),
                ..block
            }),
            ..Default::default()
        };
        let expected = match picked.open && !self.model.ended {
            true => Ok(()),
            false => Err(Code::FailedPrecondition),
        };
        if expected.is_ok() {
            let block = self.model.block(&picked.id);
            block.open = text.is_some();
            block.text = text.or(picked.text);
        }
        let actual = client.messages.clone().update_content(request).await;
        (expected, actual.map(drop).map_err(|status| status.code()))
    }

    async fn start_task(&mut self, client: &Clients) -> (Outcome, Outcome) {
        let task = self.id("task");
        let expected = self.unless_ended();
        let answer = client.start_task(&self.message, &task).await;
        if let (Ok(()), Ok(answer)) = (&expected, &answer) {
            let block = answer.task.as_ref().unwrap().block_id.clone();
            self.model.blocks.push(ModelBlock {
                id: block.clone(),
                text: None,
                open: false,
                placeholder: true,
            });
            self.model.tasks.push(ModelTask {
                id: task,
                block,
                status: v1::TaskStatus::Pending,
                progress: 0.0,
                outcome: None,
            });
        }
        (expected, answer.map(drop).map_err(|status| status.code()))
    }

    async fn update_task(
        &mut self,
        client: &Clients,
        task: usize,
        update: v1::UpdateTaskRequest,
    ) -> (Outcome, Outcome) {
        let Some(picked) = self.model.tasks.get(task).cloned() else {
            return (Ok(()), Ok(()));
        };
        let wanted = update.status();
        let text = update.content.as_ref().map(|block| match &block.content {
            Some(v1::content_block::Content::Text(text)) => match &text.source {
                Some(v1::text_content::Source::Text(text)) => text.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
        let is_over = is_terminal(picked.status);
        let expected = match is_over {
            // Whether it is a repeat depends on content and outcome as well.
            true if wanted == picked.status => {
                let held = self.model.block(&picked.block).text.clone();
                let is_repeat = wanted == v1::TaskStatus::Failed
                    || (held == text && picked.outcome == update.outcome);
                is_repeat.then_some(()).ok_or(Code::FailedPrecondition)
            }
            true => Err(Code::FailedPrecondition),
            false => Ok(()),
        };
        if !is_over {
            let progress = match wanted {
                v1::TaskStatus::Completed => 1.0,
                _ => update.progress.unwrap_or_default().max(picked.progress),
            };
            let model = self
                .model
                .tasks
                .iter_mut()
                .find(|t| t.id == picked.id)
                .unwrap();
            (model.status, model.progress) = (wanted, progress);
            model.outcome = update.outcome;
            if is_terminal(wanted) {
                let block = self.model.block(&picked.block);
                block.placeholder = false;
                block.text = text;
            }
        }
        let request = v1::UpdateTaskRequest {
            message_id: self.message.clone(),
            task_id: picked.id,
            ..update
        };
        let actual = client.update_task(request).await;
        (expected, actual.map(drop).map_err(|status| status.code()))
    }

    async fn cancel(&mut self, client: &Clients, task: usize) -> (Outcome, Outcome) {
        let Some(picked) = self.model.tasks.get(task).cloned() else {
            return (Ok(()), Ok(()));
        };
        let expected = match picked.status {
            v1::TaskStatus::Completed | v1::TaskStatus::Failed => Err(Code::FailedPrecondition),
            _ => Ok(()),
        };
        if expected.is_ok() {
            self.cancel_in_model(&picked.id);
        }
        let request = v1::CancelTaskRequest {
            message_id: self.message.clone(),
            task_id: picked.id,
            ..Default::default()
        };
        let actual = client.tasks.clone().cancel_task(request).await;
        (expected, actual.map(drop).map_err(|status| status.code()))
    }

    fn cancel_in_model(&mut self, id: &str) {
        let task = self
            .model
            .tasks
            .iter_mut()
            .find(|task| task.id == id)
            .unwrap();
        if !is_terminal(task.status) {
            task.status = v1::TaskStatus::Cancelled;
            let block = task.block.clone();
            self.model.block(&block).placeholder = false;
        }
    }

    async fn end(&mut self, client: &Clients) -> (Outcome, Outcome) {
        self.model.ended = true;
        for task in self.model.tasks.clone() {
            self.cancel_in_model(&task.id);
        }
        for block in &mut self.model.blocks {
            block.open = false;
        }
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
            .map(|b| (b.id.clone(), state(b)))
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

fn state(block: &ModelBlock) -> v1::BlockState {
    match (block.open, block.placeholder) {
        (true, _) => v1::BlockState::Open,
        (_, true) => v1::BlockState::Placeholder,
        _ => v1::BlockState::Sealed,
    }
}

fn is_terminal(status: v1::TaskStatus) -> bool {
    use v1::TaskStatus::{Cancelled, Completed, Failed};
    matches!(status, Completed | Failed | Cancelled)
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
