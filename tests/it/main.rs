//! The service against a real Redis. Each test starts its own.

mod support;

mod admin;
mod answers;
mod bench;
mod blocks;
mod cancel;
mod chat;
mod concurrency;
mod content;
mod content_parts;
mod crash;
mod creation;
mod drain;
mod errors;
mod exact;
mod golden;
mod inputs;
mod killed_connections;
mod limits;
mod listing;
mod loopback;
mod notices;
mod offsets;
mod outage;
mod pages;
mod principals;
mod property;
mod push;
mod repeats;
mod resume;
mod retention;
mod session_watch;
mod sessions;
mod slow_watchers;
mod stale;
mod sweeper;
mod tasks;
mod watch_endings;
mod watch_starts;
mod web;
#[cfg(feature = "worker")]
mod worker;
mod write_stream;
mod writer_lease;
mod writes;
