//! The service against a real Redis. Each test starts its own.

mod support;

mod golden;
mod inputs;
mod property;
mod repeats;
mod watch_endings;
mod watch_starts;
mod writes;
