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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::MessageId;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn unknown() -> Refusal {
        Refusal::MessageUnknown(MessageId::parse("m").unwrap())
    }

    #[test]
    fn everything_is_open_where_nobody_is_asked_who_they_are() {
        let anonymous = Principal::Anonymous;
        assert_eq!(anonymous.authorize(&user("a"), unknown()), Ok(()));
        assert_eq!(anonymous.owner(), None);
    }

    #[test]
    fn a_user_may_touch_what_is_their_own() {
        let principal = Principal::User(user("a"));
        assert_eq!(principal.authorize(&user("a"), unknown()), Ok(()));
        assert_eq!(principal.owner(), Some(&user("a")));
    }

    #[test]
    fn what_is_another_users_is_refused_as_if_it_did_not_exist() {
        let principal = Principal::User(user("a"));
        for other in ["b", "A", "aa"] {
            assert_eq!(principal.authorize(&user(other), unknown()), Err(unknown()));
        }
    }
}
