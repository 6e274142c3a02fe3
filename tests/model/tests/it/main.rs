//! The scripted model, asked over HTTP.

mod answers;
mod checks;
mod client;
mod faults;
mod quirks;
mod rules;
