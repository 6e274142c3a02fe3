//! The worker, from tasks that are submitted on one instance to what watchers of another
//! see, with a model that says what a script says.

mod best;
mod critic;
mod endpoint;
mod ends;
mod odd;
mod planner;
mod signs;
mod simple;
mod stage;
mod tools;
