//! Steps that write text and blocks, on both sides.

use throughline::proto as v1;
use tonic::Code;

use super::{Outcome, Pair};
use crate::support::{Clients, image_block, text_block};

impl Pair {
    pub(super) async fn append(
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

    pub(super) async fn add_text(
        &mut self,
        client: &Clients,
        open: bool,
        size: usize,
    ) -> (Outcome, Outcome) {
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

    pub(super) async fn add_image(&mut self, client: &Clients, size: usize) -> (Outcome, Outcome) {
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
    pub(super) async fn update(
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
}
