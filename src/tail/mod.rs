//! The live end of many logs, read once per process, handed to many followers.
//!
//! A [`Hub`] has one topic for each log that is followed here. Lanes read the logs,
//! each over one connection that waits for many logs at once; or Redis pushes what is
//! added to them; and what this process adds itself is handed to the topic at once. A
//! topic takes in what is next, whichever way it comes, and keeps the last events as
//! ready-made frames; a follower takes what comes after its cursor, when it can send,
//! without copying it. There is no queue for each follower, so a slow one costs
//! nothing: what it missed is in the store.

mod ahead;
mod batch;
mod crowd;
mod fates;
mod follower;
mod hub;
mod join;
mod lane;
mod push;
mod reader;
mod recent;
mod registry;
mod topic;

pub use self::{
    batch::{Batch, Frame},
    fates::{Fate, Tidings},
    follower::Follower,
    hub::Hub,
    join::join_deltas,
    topic::{News, Ready, Standing},
};
