//! A place in a session, and the token that a client keeps of it.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use prost::Message as _;

use crate::domain::{Time, cursor::Cursor, ids::MessageId};

/// Messages that a token names at most: each is watched.
const OPEN_MAX: usize = 10_000;

/// A place in a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPlace {
    /// How far the session's log was read.
    pub(super) births: Cursor,
    /// How far the log of each message that has not ended.
    pub(super) open: BTreeMap<MessageId, Cursor>,
}

/// A place as a client keeps it.
#[derive(Clone, PartialEq, prost::Message)]
struct Token {
    #[prost(message, required, tag = "1")]
    births: TokenCursor,
    #[prost(message, repeated, tag = "2")]
    open: Vec<OpenMessage>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct TokenCursor {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    /// In microseconds since 1970.
    #[prost(int64, tag = "2")]
    time: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenMessage {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, required, tag = "2")]
    cursor: TokenCursor,
}

impl From<Cursor> for TokenCursor {
    fn from(cursor: Cursor) -> Self {
        Self {
            sequence: cursor.sequence,
            time: cursor.time.timestamp_micros(),
        }
    }
}

impl TokenCursor {
    fn to_cursor(self) -> Option<Cursor> {
        let time = Time::from_timestamp_micros(self.time)?;
        let sequence = (self.sequence < i64::MAX as u64).then_some(self.sequence)?;
        Some(Cursor { sequence, time })
    }
}

impl SessionPlace {
    /// Reads a token; none where it is not one of ours.
    pub fn parse(token: &str) -> Option<Self> {
        let token = Token::decode(BASE64.decode(token).ok()?.as_slice()).ok()?;
        if token.open.len() > OPEN_MAX {
            return None;
        }
        let open = token.open.iter().map(|message| {
            let id = MessageId::parse(&message.id).ok()?;
            Some((id, message.cursor.to_cursor()?))
        });
        Some(Self {
            births: token.births.to_cursor()?,
            open: open.collect::<Option<_>>()?,
        })
    }

    /// The place as a client keeps it.
    pub(super) fn token(&self) -> String {
        let open = self.open.iter().map(|(id, cursor)| OpenMessage {
            id: id.to_string(),
            cursor: (*cursor).into(),
        });
        let token = Token {
            births: self.births.into(),
            open: open.collect(),
        };
        BASE64.encode(token.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_is_written() {
        let time = Time::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let place = SessionPlace {
            births: Cursor { sequence: 3, time },
            open: BTreeMap::from([
                (MessageId::parse("a").unwrap(), Cursor { sequence: 7, time }),
                (MessageId::parse("b").unwrap(), Cursor::BEGINNING),
            ]),
        };
        assert_eq!(SessionPlace::parse(&place.token()), Some(place));
    }

    #[test]
    fn a_token_of_too_many_messages_is_refused() {
        let id = |number| MessageId::parse(&format!("m{number}")).unwrap();
        let mut place = SessionPlace {
            births: Cursor::BEGINNING,
            open: (0..OPEN_MAX).map(|n| (id(n), Cursor::BEGINNING)).collect(),
        };
        assert!(SessionPlace::parse(&place.token()).is_some());
        place.open.insert(id(OPEN_MAX), Cursor::BEGINNING);
        assert_eq!(SessionPlace::parse(&place.token()), None);
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        for text in ["x", "%%%", "AAAA", "CgA=", "\u{e4}"] {
            assert_eq!(SessionPlace::parse(text), None, "{text}");
        }
    }
}
