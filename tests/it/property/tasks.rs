//! Steps that start, work on and end tasks, on both sides.

use throughline::proto as v1;
use tonic::Code;

use super::{
    Outcome, Pair,
    model::{ModelBlock, ModelTask, is_terminal},
};
use crate::support::Clients;

impl Pair {
    pub(super) async fn start_task(&mut self, client: &Clients) -> (Outcome, Outcome) {
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

    pub(super) async fn update_task(
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
            let model = self.model.task(&picked.id);
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

    pub(super) async fn cancel(&mut self, client: &Clients, task: usize) -> (Outcome, Outcome) {
        let Some(picked) = self.model.tasks.get(task).cloned() else {
            return (Ok(()), Ok(()));
        };
        let expected = match picked.status {
            v1::TaskStatus::Completed | v1::TaskStatus::Failed => Err(Code::FailedPrecondition),
            _ => Ok(()),
        };
        if expected.is_ok() {
            self.model.cancel(&picked.id);
        }
        let request = v1::CancelTaskRequest {
            message_id: self.message.clone(),
            task_id: picked.id,
            ..Default::default()
        };
        let actual = client.tasks.clone().cancel_task(request).await;
        (expected, actual.map(drop).map_err(|status| status.code()))
    }
}
