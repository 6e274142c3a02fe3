//! Names of things. A value of one of these types has been checked.

use std::{fmt, sync::Arc};

use super::limits;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// An id has at least one character.
    #[error("must not be empty")]
    Empty,
    /// An id is at most 128 bytes long.
    #[error("must be at most {max} bytes long, not {length}", max = limits::ID_BYTES_MAX)]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Only `[A-Za-z0-9._~-]` may be used: an id becomes part of a Redis key.
    #[error("must consist of the characters A-Z a-z 0-9 . _ ~ -")]
    Character,
}

fn check(text: &str) -> Result<(), InvalidId> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    match text {
        "" => Err(InvalidId::Empty),
        text if text.len() > limits::ID_BYTES_MAX => Err(InvalidId::TooLong { length: text.len() }),
        text if !text.bytes().all(allowed) => Err(InvalidId::Character),
        _ => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks that `text` is 1 to 128 of `[A-Za-z0-9._~-]`.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

ids! {
    /// Names a session; unique in the service.
    SessionId;
    /// Names a user, who owns sessions.
    UserId;
    /// Names a message; unique in the service.
    MessageId;
    /// Names a block; unique within its message.
    BlockId;
    /// Names a task; unique within its message.
    TaskId;
    /// Names content that is kept out of line; unique in the service.
    ContentId;
    /// Names one write, so that its repeat is recognised.
    RequestId;
    /// Names a kind of task or a kind of event of the product's own.
    Label;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_1_to_128_unreserved_characters() {
        assert!(MessageId::parse("msg_001").is_ok());
        assert!(MessageId::parse(&"a".repeat(128)).is_ok());
        assert_eq!(MessageId::parse(""), Err(InvalidId::Empty));
        assert_eq!(
            MessageId::parse(&"a".repeat(129)),
            Err(InvalidId::TooLong { length: 129 })
        );
        for text in ["a:b", "{a}", "a\n", "a\0", "a b", "ä", "a/b", "a*"] {
            assert_eq!(MessageId::parse(text), Err(InvalidId::Character), "{text}");
        }
    }
}
