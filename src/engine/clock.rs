//! The home of what is not determined: the time, and fresh ids.

use chrono::SubsecRound;

use crate::domain::{
    Time,
    ids::{BlockId, ContentId},
    offload::BlobNames,
};

/// The time, exact to the microsecond.
#[allow(clippy::disallowed_methods, reason = "this is the clock's home")]
pub fn now() -> Time {
    chrono::Utc::now().trunc_subsecs(6)
}

/// A fresh id (UUIDv7) as text.
#[allow(clippy::disallowed_methods, reason = "this is where ids are drawn")]
pub fn fresh_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A fresh id for a block.
pub fn fresh_block() -> BlockId {
    BlockId::parse(&fresh_id()).expect("a uuid consists of hex digits and -")
}

/// Fresh names for content.
pub fn blob_names() -> BlobNames {
    let fresh = || ContentId::parse(&fresh_id()).expect("a uuid consists of hex digits and -");
    BlobNames::new(fresh)
}
