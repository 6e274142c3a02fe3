//! Appending text.

use super::{ContentSource, Engine, EngineError, Receipt, Request, clock};
use crate::{
    domain::{
        command::{AppendText, Command},
        ids::BlockId,
        limits,
        refusal::Refusal,
    },
    store::{Append, Appended},
};

/// Text for a block.
#[derive(Debug, Clone)]
pub struct AppendRequest {
    /// Who writes what.
    pub request: Request,
    /// Which block, and the text.
    pub append: AppendText,
}

/// Where text went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendOutcome {
    /// Its place in the log.
    pub receipt: Receipt,
    /// Its block.
    pub block: String,
    /// Its place in the block's text.
    pub offset: u64,
}

impl Engine {
    /// Appends text: one call to Redis, unless a block has to be opened for it.
    pub async fn append_text(&self, wanted: &AppendRequest) -> Result<AppendOutcome, EngineError> {
        let AppendRequest { request, append } = wanted;
        let now = clock::now();
        let appended = self
            .store
            .append(&Append {
                message: &request.message,
                block: append.block.as_ref(),
                delta: &append.delta,
                time: now,
                expected_offset: append.expected_offset,
                fence: request.fence,
                request: request
                    .repeat
                    .as_ref()
                    .map(|(id, fingerprint)| (id, fingerprint.as_str())),
                owner: request.principal.owner(),
            })
            .await?;
        let refusal = match appended {
            Appended::Done {
                cursor,
                block,
                offset,
            } => {
                return Ok(AppendOutcome {
                    receipt: Receipt::new(cursor),
                    block: block.to_string(),
                    offset,
                });
            }
            Appended::Repeated { cursor, detail } => {
                return Ok(from_detail(Receipt::of_repeat(cursor), &detail));
            }
            Appended::Applied { block, offset } => {
                return self.applied(wanted, block, offset).await;
            }
            Appended::Unopened => return self.open_and_append(wanted).await,
            Appended::Missing => Refusal::MessageUnknown(request.message.clone()),
            Appended::Terminal(state) => Refusal::MessageTerminal { state },
            Appended::Fenced => Refusal::WriterFenced {
                fence: request.fence,
            },
            Appended::Reused => Refusal::RequestIdReused,
            Appended::OffsetMismatch { length } => Refusal::OffsetMismatch {
                offset: append.expected_offset.unwrap_or_default(),
                length,
            },
            Appended::TooLong => Refusal::LimitExceeded {
                what: "bytes of the block",
                max: limits::BLOCK_BYTES_MAX as u64,
            },
        };
        Err(refusal.into())
    }

    /// Text that stands at its offset already: its own event is not searched
    /// for, the head of the log is at or after it.
    async fn applied(
        &self,
        wanted: &AppendRequest,
        block: BlockId,
        offset: u64,
    ) -> Result<AppendOutcome, EngineError> {
        let request = &wanted.request;
        let loaded = self.load_for(&request.principal, &request.message).await?;
        Ok(AppendOutcome {
            receipt: Receipt {
                deduplicated: true,
                ..Receipt::new(loaded.message.head)
            },
            block: block.to_string(),
            offset,
        })
    }

    async fn open_and_append(&self, wanted: &AppendRequest) -> Result<AppendOutcome, EngineError> {
        if let Some(outcome) = self.applied_before_sealing(wanted).await? {
            return Ok(outcome);
        }
        let command = Command::AppendText(wanted.append.clone());
        let written = self.write(&wanted.request, &command).await?;
        Ok(from_detail(written.receipt, &written.detail))
    }

    /// A block that was sealed may hold the text at its offset already, perhaps
    /// out of line.
    async fn applied_before_sealing(
        &self,
        wanted: &AppendRequest,
    ) -> Result<Option<AppendOutcome>, EngineError> {
        let AppendRequest { request, append } = wanted;
        let (Some(block), Some(offset)) = (&append.block, append.expected_offset) else {
            return Ok(None);
        };
        let source = ContentSource::Block(request.message.clone(), block.clone());
        let length = append.delta.len() as u64;
        let held = self.read_content(&request.principal, &source, offset, length);
        match held.await {
            Ok((_, held)) if held == append.delta => {
                self.applied(wanted, block.clone(), offset).await.map(Some)
            }
            Ok(_) | Err(EngineError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What an append was answered: block and offset, apart by a space.
fn from_detail(receipt: Receipt, detail: &str) -> AppendOutcome {
    let (block, offset) = detail.split_once(' ').unwrap_or((detail, "0"));
    AppendOutcome {
        receipt,
        block: block.to_owned(),
        offset: offset.parse().unwrap_or_default(),
    }
}
