//! Throughline: AI conversations in Redis, every change an event of an ordered,
//! replayable, resumable log. ARCHITECTURE.md shows the house.

pub mod proto;
