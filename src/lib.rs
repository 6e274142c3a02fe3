//! Throughline: AI conversations in Redis, every change an event of an ordered,
//! replayable, resumable log. ARCHITECTURE.md shows the house.

pub mod api;
pub mod bench;
pub mod cli;
pub mod dial;
pub mod domain;
pub mod engine;
pub mod proto;
pub mod runtime;
pub mod store;
pub mod tail;
pub mod wire;
#[cfg(feature = "worker")]
pub mod worker;
