//! The two designs that are compared: the service's and the naive one.

use super::{BenchError, client::Client, stage::Stage};

/// One of them, with a message that is about to be watched.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) stage: Stage,
    pub(super) client: Client,
    pub(super) message: String,
}

impl Side {
    pub(super) async fn own() -> Result<Self, BenchError> {
        let stage = Stage::set().await?;
        let client = stage.client().await?;
        Ok(Self {
            name: "throughline",
            message: client.create_message_of(1).await?,
            stage,
            client,
        })
    }

    pub(super) async fn naive() -> Result<Self, BenchError> {
        let stage = Stage::set_naive().await?;
        Ok(Self {
            name: "naive",
            message: "watched".to_owned(),
            client: stage.client().await?,
            stage,
        })
    }
}
