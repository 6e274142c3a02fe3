//! What the service can do. Every door calls this, and adds no rule of its own.
//!
//! A write loads, decides and commits ([`Engine::write`]), or appends text
//! without loading anything ([`Engine::append_text`]). A watch replays, then
//! follows ([`Engine::watch`]).

mod append;
mod append_batch;
mod claims;
mod clock;
mod committer;
mod content;
mod error;
mod events;
mod grant;
mod listing;
mod loopback;
mod messages;
mod notices;
mod replays;
mod session_place;
mod sessions;
mod step;
mod submit;
mod sweeper;
mod tickets;
mod view;
mod watch;
mod watch_session;
mod write;
mod writers;

pub use self::clock::{fresh_id, now};
pub use self::{
    append::{AppendOutcome, AppendRequest},
    append_batch::AppendBatch,
    claims::{ClaimRequest, Claimed},
    content::{ContentReader, ContentSource},
    error::EngineError,
    events::EventPage,
    grant::Renewed,
    listing::{MessagePage, PageRequest, SessionPage},
    messages::{Cleanup, Created},
    notices::{News, Notice, Notices},
    session_place::SessionPlace,
    step::Step,
    submit::SubmitRequest,
    view::{Seen, View},
    watch::WatchRequest,
    write::{Receipt, Request, Written},
    writers::{WriterGrant, WriterRequest},
};

use std::time::Duration;

use tokio::task::JoinSet;

use self::{claims::Claims, committer::Committer, loopback::Loopback, replays::Replays};
use crate::{store::Store, tail::Hub};

/// What the service does by itself, and when.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How long a writer lease that has run out can still be renewed or taken,
    /// before the message is interrupted.
    pub writer_grace: Duration,
    /// How many tasks may wait in one queue.
    pub queue_limit: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            writer_grace: Duration::from_secs(5),
            queue_limit: 100_000,
        }
    }
}

/// The service, without its doors. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    store: Store,
    hub: Hub,
    committer: Committer,
    loopback: Loopback,
    claims: Claims,
    replays: Replays,
    options: EngineOptions,
}

impl Engine {
    /// A service on this store, whose watches follow this hub. Its tasks end
    /// after the hub has begun to drain and the last clone is dropped.
    pub fn start(store: Store, hub: Hub, options: EngineOptions, tasks: &mut JoinSet<()>) -> Self {
        let (claims, joining) = Claims::new();
        let loopback = Loopback::new(store.clone(), hub.clone());
        let engine = Self {
            claims,
            committer: Committer::start(store.clone(), loopback.clone(), tasks),
            loopback,
            replays: Replays::default(),
            store,
            hub,
            options,
        };
        tasks.spawn(engine.clone().sweep_forever(engine.hub.drain().clone()));
        engine.start_claims(joining, tasks);
        engine
    }

    /// What the service does by itself, and when.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// What is followed here.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Where everything is kept.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
