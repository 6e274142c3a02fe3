//! What a stream of writes is told.

use tonic::{Status, codec::EncodeBuf};
use tonic_types::StatusExt;

use super::{codec::Encodable, result};
use crate::{
    engine::{AppendOutcome, Receipt},
    proto::{self as v1, write_ack::Outcome, write_message_response::Response},
    wire::ack::AppendAck,
};

/// A `WriteMessageResponse`.
pub(super) enum WriteAnswer {
    /// An append was made: by far the most common.
    Appended { index: u64, outcome: AppendOutcome },
    /// Anything else.
    Other(Box<v1::WriteMessageResponse>),
}

impl WriteAnswer {
    /// The answer to the write of this number, which is no append or was refused.
    pub(super) fn ack(index: u64, outcome: Result<(Receipt, String), Status>) -> Self {
        let (outcome, block_id) = match outcome {
            Ok((receipt, block_id)) => (Outcome::Result(result(receipt)), block_id),
            Err(status) => (Outcome::Error(write_error(&status)), String::new()),
        };
        Self::of(Response::Ack(v1::WriteAck {
            index,
            outcome: Some(outcome),
            block_id,
            offset: 0,
        }))
    }

    pub(super) fn notice(notice: v1::WriteNotice) -> Self {
        Self::of(Response::Notice(notice))
    }

    fn of(response: Response) -> Self {
        Self::Other(Box::new(v1::WriteMessageResponse {
            response: Some(response),
        }))
    }
}

impl Encodable for WriteAnswer {
    fn encode(self, bytes: &mut EncodeBuf<'_>) {
        match self {
            Self::Appended { index, outcome } => AppendAck {
                index,
                cursor: outcome.receipt.cursor,
                deduplicated: outcome.receipt.deduplicated,
                cancel_requested: outcome.receipt.cancel_requested,
                block: outcome.block.as_str(),
                offset: outcome.offset,
            }
            .encode(bytes),
            Self::Other(response) => response.encode(bytes),
        }
    }
}

/// A refusal of one write, which does not end the stream.
fn write_error(status: &Status) -> v1::WriteError {
    let (reason, metadata) = match status.get_details_error_info() {
        Some(info) => (info.reason, info.metadata),
        None => Default::default(),
    };
    v1::WriteError {
        code: status.code().into(),
        reason,
        message: status.message().to_owned(),
        metadata,
    }
}
