//! Starts and stops the service. The only floor that sees all the others, and
//! the one that owns what runs in the background.

pub mod config;
mod connection;
pub mod drain;
pub mod embedded;
mod health;
pub(crate) mod outbox;
mod redis_url;
mod reflection;
pub mod serve;
pub mod telemetry;
