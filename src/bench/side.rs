//! The two designs that are compared: the service's and the naive one.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{BenchError, client::Client, stage::Stage};

/// One of them, with a message that is about to be watched.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) stage: Stage,
    pub(super) client: Client,
    pub(super) message: String,
    /// Numbers the messages of the naive design, which are made by writing them.
    named: Option<AtomicU64>,
}

impl Side {
    pub(super) async fn own() -> Result<Self, BenchError> {
        Self::of("throughline", Stage::set().await?, None).await
    }

    pub(super) async fn naive() -> Result<Self, BenchError> {
        Self::of("naive", Stage::set_naive().await?, Some(AtomicU64::new(0))).await
    }

    async fn of(
        name: &'static str,
        stage: Stage,
        named: Option<AtomicU64>,
    ) -> Result<Self, BenchError> {
        let mut side = Self {
            name,
            client: stage.client().await?,
            stage,
            message: String::new(),
            named,
        };
        side.message = side.create_message_of(1).await?;
        Ok(side)
    }

    /// A new message whose open text has at least one byte, and about so many.
    pub(super) async fn create_message_of(&self, bytes: usize) -> Result<String, BenchError> {
        let Some(named) = &self.named else {
            return self.client.create_message_of(bytes).await;
        };
        let message = named.fetch_add(1, Ordering::Relaxed).to_string();
        self.client.fill(&message, bytes).await?;
        Ok(message)
    }
}
