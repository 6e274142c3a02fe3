//! Watchers of one message, and a writer that they keep up with.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use super::{
    BenchError, Scale,
    callers::call_in_turn,
    client::{Client, DELTA, SESSION},
    meter::Run,
    raw::{Connection, Door, Incoming, WatchFrame},
    stage::Stage,
};
use crate::proto as v1;

/// Connections that the watchers share.
const CONNECTIONS: usize = 8;
pub(super) const WINDOW_BYTES: u32 = 256 * 1024;
const CALLERS: usize = 64;
/// How many events the writer may be ahead of the average watcher.
const LAG_MAX: usize = 256;
/// Nothing that is not lost takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watchers of one message that count what is delivered to them.
pub(super) struct Audience {
    watchers: usize,
    /// One for each event that may be on its way to a watcher.
    lag: Arc<Semaphore>,
    delivered: Arc<AtomicU64>,
    reading: JoinSet<Result<(), BenchError>>,
}

impl Audience {
    /// Has so many watchers that wait for what comes from now on.
    pub(super) async fn seat(
        stage: &Stage,
        message: &str,
        watchers: usize,
    ) -> Result<Self, BenchError> {
        Self::seat_at(Door::Grpc, stage, message, watchers).await
    }

    /// Has them come through a door.
    pub(super) async fn seat_at(
        door: Door,
        stage: &Stage,
        message: &str,
        watchers: usize,
    ) -> Result<Self, BenchError> {
        let mut audience = Self {
            watchers,
            lag: Arc::new(Semaphore::new(LAG_MAX * watchers)),
            delivered: Arc::default(),
            reading: JoinSet::new(),
        };
        let opened = open_watches(door, stage, message, watchers, WINDOW_BYTES).await?;
        for (watch, place) in opened {
            let (lag, delivered) = (audience.lag.clone(), audience.delivered.clone());
            audience.reading.spawn(count(watch, place, lag, delivered));
        }
        Ok(audience)
    }

    /// Appends for one round as fast as the watchers take it. The run counts
    /// deliveries.
    pub(super) async fn deliver(
        &mut self,
        scale: &Scale,
        stage: &Stage,
        client: &Client,
        message: &str,
    ) -> Result<Run, BenchError> {
        let (client, message, lag) = (client.clone(), message.to_owned(), self.lag.clone());
        let watchers = u32::try_from(self.watchers).unwrap_or(u32::MAX);
        let before = self.delivered.load(Ordering::Relaxed);
        let meter = stage.meter()?;
        let append = move |_| {
            let (client, message, lag) = (client.clone(), message.clone(), lag.clone());
            async move {
                let room = lag.acquire_many(watchers).await;
                room.map_err(|_| BenchError::Unexpected("the watchers are gone"))?
                    .forget();
                client.append(&message, DELTA).await
            }
        };
        let written = call_in_turn(CALLERS, scale.round, append).await?;
        self.wait_for_all().await?;
        let delivered = self.delivered.load(Ordering::Relaxed) - before;
        match delivered == written * self.watchers as u64 {
            true => meter.read(delivered),
            false => Err(BenchError::Unexpected("a watcher saw an event twice")),
        }
    }

    async fn wait_for_all(&mut self) -> Result<(), BenchError> {
        let all = u32::try_from(LAG_MAX * self.watchers).unwrap_or(u32::MAX);
        tokio::select! {
            arrived = timeout(PATIENCE, self.lag.acquire_many(all)) => match arrived {
                Ok(_) => Ok(()),
                Err(_) => Err(BenchError::Unexpected("a watcher did not see every event")),
            },
            Some(Ok(ended)) = self.reading.join_next() => ended,
        }
    }
}

/// Opens watches that all have caught up, each with its place. Each may have so many
/// bytes under way.
pub(super) async fn open_watches(
    door: Door,
    stage: &Stage,
    message: &str,
    count: usize,
    window_bytes: u32,
) -> Result<Vec<(Incoming, u64)>, BenchError> {
    let address = stage.service.address();
    let connections = Connection::open_many(address, window_bytes, CONNECTIONS).await?;
    let request = watch_from_now(message);
    let path = format!("/api/v1/sessions/{SESSION}/messages/{message}/stream?last_id=$");
    let mut watches = Vec::new();
    for number in 0..count {
        let connection = &connections[number % connections.len()];
        watches.push(match door {
            Door::Grpc => connection.ask("WatchMessage", &request).await?,
            Door::Web => connection.events(&path).await?,
        });
    }
    let mut opened = Vec::new();
    for mut watch in watches {
        let place = caught_up(&mut watch).await?;
        opened.push((watch, place));
    }
    Ok(opened)
}

pub(super) fn watch_from_now(message: &str) -> v1::WatchMessageRequest {
    v1::WatchMessageRequest {
        message_id: message.to_owned(),
        cursor: "$".to_owned(),
        ..Default::default()
    }
}

/// Reads until everything that had happened was sent. Returns the place.
pub(super) async fn caught_up(watch: &mut Incoming) -> Result<u64, BenchError> {
    let mut place = None;
    while place.is_none() {
        let read = watch.read_frames(|frame| {
            if let WatchFrame::CaughtUp(sequence) = frame {
                place = Some(sequence);
            }
            Ok(())
        });
        if !read.await? {
            break;
        }
    }
    place.ok_or(BenchError::Unexpected("a watch ended"))
}

async fn count(
    mut watch: Incoming,
    mut seen: u64,
    lag: Arc<Semaphore>,
    delivered: Arc<AtomicU64>,
) -> Result<(), BenchError> {
    loop {
        let before = seen;
        let read = watch.read_frames(|frame| {
            match frame {
                // Deltas may be merged: then one frame delivers several events.
                WatchFrame::Event(sequence) => seen = sequence,
                WatchFrame::Lost => return Err(BenchError::Unexpected("a watch has a gap")),
                WatchFrame::CaughtUp(_) | WatchFrame::Other => {}
            }
            Ok(())
        });
        if !read.await? {
            return Err(BenchError::Unexpected("a watch ended"));
        }
        delivered.fetch_add(seen - before, Ordering::Relaxed);
        lag.add_permits((seen - before) as usize);
    }
}
