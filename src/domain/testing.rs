//! What tests of the rules begin with.

use super::{
    Metadata, Time,
    event::{Change, Event},
    ids::{MessageId, SessionId, UserId},
    message::{Message, Role},
};

/// So many seconds after the message began.
pub(super) fn at(seconds: u64) -> Time {
    let begin = Time::from_timestamp(1_700_000_000, 0).unwrap();
    begin + std::time::Duration::from_secs(seconds)
}

/// A message that has just begun.
pub(super) fn message() -> Message {
    let first = Event {
        sequence: 1,
        time: at(0),
        change: Change::Started {
            role: Role::Assistant,
            metadata: Metadata::new(),
            parent: None,
        },
    };
    Message::started(
        MessageId::parse("m").unwrap(),
        SessionId::parse("s").unwrap(),
        UserId::parse("u").unwrap(),
        &first,
    )
    .unwrap()
}
