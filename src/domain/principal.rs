//! Who asks, and whether they may.

use super::{ids::UserId, refusal::Refusal};

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody was asked to prove who they are: everything is theirs.
    Anonymous,
    /// A user, who sees what they own and nothing else.
    User(UserId),
}

impl Principal {
    /// Refuses what belongs to somebody else in the words for what does not
    /// exist, so that ids cannot be probed.
    pub fn authorize(&self, owner: &UserId, unknown: Refusal) -> Result<(), Refusal> {
        match self {
            Self::Anonymous => Ok(()),
            Self::User(user) if user == owner => Ok(()),
            Self::User(_) => Err(unknown),
        }
    }

    /// The only owner whose things this principal may touch, if there is one.
    pub fn owner(&self) -> Option<&UserId> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(user),
        }
    }
}
