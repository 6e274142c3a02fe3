//! The same by bare Redis: what no service on it can do better.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    BenchError,
    client::DELTA,
    resp::{self, Redis},
    samples::millis,
    stage::Stage,
};

/// An XADD to a log with the retention of a message's. The id is Redis's own.
pub(super) fn xadd(log: &[u8], bytes: &mut Vec<u8>) {
    xadd_at(log, b"*", bytes);
}

fn xadd_at(log: &[u8], id: &[u8], bytes: &mut Vec<u8>) {
    let delta = DELTA.as_bytes();
    resp::encode(
        &[b"XADD", log, b"MAXLEN", b"~", b"1000", id, b"e", delta],
        bytes,
    );
}

/// Two connections: one adds to a log, the other waits in an XREAD for it.
pub(super) struct BlockedRead {
    writer: Redis,
    reader: Redis,
    log: &'static [u8],
    added: u64,
}

impl BlockedRead {
    pub(super) async fn open(stage: &Stage, log: &'static str) -> Result<Self, BenchError> {
        let mut opened = Self {
            writer: stage.redis().await?,
            reader: stage.redis().await?,
            log: log.as_bytes(),
            added: 0,
        };
        opened.block().await?;
        Ok(opened)
    }

    /// Adds, and waits for the other connection to have it: milliseconds from
    /// one to the other.
    pub(super) async fn deliver(&mut self) -> Result<f64, BenchError> {
        self.added += 1;
        let mut add = Vec::new();
        xadd_at(self.log, format!("0-{}", self.added).as_bytes(), &mut add);
        let begin = Instant::now();
        self.writer.send(&add).await?;
        self.reader.reply().await?;
        let elapsed = begin.elapsed();
        self.writer.reply().await?;
        self.block().await?;
        Ok(millis(elapsed))
    }

    /// Waits from now on for what comes after the last that was added: where it
    /// is added before Redis has read this, nothing is lost.
    async fn block(&mut self) -> Result<(), BenchError> {
        let after = format!("0-{}", self.added);
        let mut read = Vec::new();
        resp::encode(
            &[
                b"XREAD",
                b"BLOCK",
                b"0",
                b"STREAMS",
                self.log,
                after.as_bytes(),
            ],
            &mut read,
        );
        self.reader.send(&read).await
    }
}

/// Connections that keep Redis busy with XADDs, each with a window of them
/// unanswered and a log of its own.
pub(super) struct PipelinedXadd {
    connections: Vec<Redis>,
    window: usize,
}

impl PipelinedXadd {
    pub(super) async fn open(
        stage: &Stage,
        connections: usize,
        window: usize,
    ) -> Result<Self, BenchError> {
        let mut opened = Vec::new();
        for _ in 0..connections {
            opened.push(stage.redis().await?);
        }
        Ok(Self {
            connections: opened,
            window,
        })
    }

    /// Adds for so long. Returns how many were answered.
    pub(super) async fn add(&mut self, duration: Duration) -> Result<u64, BenchError> {
        let end = Instant::now() + duration;
        let window = self.window;
        let mut running = JoinSet::new();
        for (number, connection) in self.connections.drain(..).enumerate() {
            let log = format!("bare:log:{number}");
            running.spawn(add_until(end, connection, log, window));
        }
        let mut answered = 0;
        while let Some(ended) = running.join_next().await {
            let (connection, count) =
                ended.map_err(|_| BenchError::Unexpected("the generator panicked"))??;
            self.connections.push(connection);
            answered += count;
        }
        Ok(answered)
    }
}

async fn add_until(
    end: Instant,
    mut connection: Redis,
    log: String,
    window: usize,
) -> Result<(Redis, u64), BenchError> {
    let mut commands = Vec::new();
    for _ in 0..window {
        xadd(log.as_bytes(), &mut commands);
    }
    let mut answered = 0;
    while Instant::now() < end {
        connection.send(&commands).await?;
        for _ in 0..window {
            connection.reply().await?;
        }
        answered += window as u64;
    }
    Ok((connection, answered))
}
