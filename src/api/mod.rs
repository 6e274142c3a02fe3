//! The doors: what comes in is parsed, the engine is called, the answer is
//! converted. One table says what an error means outside.

pub mod bundle;
pub mod deadline;
pub mod grpc;
mod ready;
pub mod stall;
pub mod status;
mod watch_body;
pub mod web;
