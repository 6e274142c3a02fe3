//! A conversation.

use super::{
    Metadata, Time,
    ids::{SessionId, UserId},
};

/// The place where a user's messages are kept together.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Unique in the service.
    pub id: SessionId,
    /// Who owns it.
    pub user: UserId,
    /// What the product keeps with it.
    pub metadata: Metadata,
    /// When it was made.
    pub create_time: Time,
    /// When it was changed, or a message was last created in it.
    pub update_time: Time,
    /// When it was closed; messages can be created before that only.
    pub close_time: Option<Time>,
}
