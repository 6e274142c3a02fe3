//! The right to write a message.

use std::time::Duration;

use super::{Engine, EngineError, View, clock};
use crate::{
    domain::{
        Time,
        ids::{Label, MessageId},
        lease::Claim,
        principal::Principal,
    },
    store::Loaded,
};

/// How often a claim is decided on before others are let go first. Only other
/// claims and commits come between, not text that is appended.
const DECISIONS_MAX: usize = 64;

/// A wish for the right to write a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterRequest {
    /// Which message.
    pub message: MessageId,
    /// Who wants to write it.
    pub writer: Label,
    /// How long the lease shall last after the last write.
    pub ttl: Duration,
    /// Take it from another writer.
    pub takeover: bool,
}

/// The right to write a message.
#[derive(Debug, Clone)]
pub struct WriterGrant {
    /// Goes into every later write.
    pub fence: u64,
    /// When the lease runs out, if nothing is written until then.
    pub lease_expire_time: Time,
    /// The message as the writer finds it.
    pub view: View,
}

impl Engine {
    /// Takes or renews the right to write a message.
    pub async fn acquire_writer(
        &self,
        principal: &Principal,
        wanted: &WriterRequest,
    ) -> Result<WriterGrant, EngineError> {
        let claim = Claim {
            writer: wanted.writer.clone(),
            ttl: wanted.ttl,
            grace: self.options.writer_grace,
            takeover: wanted.takeover,
        };
        for _ in 0..DECISIONS_MAX {
            let loaded = self.load_for(principal, &wanted.message).await?;
            let now = clock::now();
            let leased = loaded.message.leased(&claim, now)?;
            let fence = leased.fence;
            let committed = self.commit(&loaded, leased, Vec::new(), None, now).await?;
            if committed.is_some() {
                // Anew, since others could append until they were fenced.
                let view = async {
                    let message = self.load_for(principal, &wanted.message).await?.message;
                    self.view(message).await
                };
                return Ok(WriterGrant {
                    fence,
                    lease_expire_time: now + wanted.ttl,
                    view: view.await.map_err(EngineError::after_a_write)?,
                });
            }
        }
        Err(EngineError::Contended)
    }

    /// Takes the right to append from those who are in the way of what is due.
    pub(super) async fn fence_off(&self, loaded: &Loaded, now: Time) -> Result<(), EngineError> {
        let leased = loaded.message.fenced_off(now);
        let committed = self.commit(loaded, leased, Vec::new(), None, now);
        committed.await.map(drop)
    }
}
