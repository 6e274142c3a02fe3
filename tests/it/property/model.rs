//! What a message should be, in the simplest terms.

use throughline::proto as v1;

/// A message.
#[derive(Debug, Default)]
pub struct Model {
    pub blocks: Vec<ModelBlock>,
    pub tasks: Vec<ModelTask>,
    pub cancel_requested: bool,
    pub ended: bool,
}

#[derive(Debug, Clone)]
pub struct ModelBlock {
    pub id: String,
    /// The text of a TEXT block.
    pub text: Option<String>,
    pub open: bool,
    pub placeholder: bool,
}

#[derive(Debug, Clone)]
pub struct ModelTask {
    pub id: String,
    pub block: String,
    pub status: v1::TaskStatus,
    pub progress: f64,
    pub outcome: Option<v1::TaskOutcome>,
}

impl Model {
    pub fn text(&self) -> String {
        self.blocks
            .iter()
            .filter_map(|block| block.text.as_deref())
            .collect()
    }

    pub fn tail(&mut self) -> Option<&mut ModelBlock> {
        self.blocks.last_mut().filter(|block| block.open)
    }

    pub fn block(&mut self, id: &str) -> &mut ModelBlock {
        self.blocks.iter_mut().find(|block| block.id == id).unwrap()
    }

    pub fn add(&mut self, id: String, text: Option<String>, open: bool) {
        self.blocks.push(ModelBlock {
            id,
            text,
            open,
            placeholder: false,
        });
    }

    pub fn append(&mut self, new_id: &str, text: &str) {
        match self.tail() {
            Some(tail) => tail.text.as_mut().unwrap().push_str(text),
            None => self.add(new_id.to_owned(), Some(text.to_owned()), true),
        }
    }

    pub fn task(&mut self, id: &str) -> &mut ModelTask {
        self.tasks.iter_mut().find(|task| task.id == id).unwrap()
    }

    pub fn cancel(&mut self, id: &str) {
        let task = self.task(id);
        if !is_terminal(task.status) {
            task.status = v1::TaskStatus::Cancelled;
            let block = task.block.clone();
            self.block(&block).placeholder = false;
        }
    }

    pub fn end(&mut self) {
        self.ended = true;
        for task in self.tasks.clone() {
            self.cancel(&task.id);
        }
        for block in &mut self.blocks {
            block.open = false;
        }
    }
}

impl ModelBlock {
    pub fn state(&self) -> v1::BlockState {
        match (self.open, self.placeholder) {
            (true, _) => v1::BlockState::Open,
            (_, true) => v1::BlockState::Placeholder,
            _ => v1::BlockState::Sealed,
        }
    }
}

pub fn is_terminal(status: v1::TaskStatus) -> bool {
    use v1::TaskStatus::{Cancelled, Completed, Failed};
    matches!(status, Completed | Failed | Cancelled)
}
