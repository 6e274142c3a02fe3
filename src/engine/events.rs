//! Pages of the retained log.

use prost::Message as _;

use super::{Engine, EngineError};
use crate::{
    domain::{
        cursor::{Cursor, Position},
        ids::MessageId,
        limits,
        principal::Principal,
        refusal::Refusal,
    },
    proto as v1,
    store::{Page, Placed, Resume},
};

/// Entries that are read at once.
pub(super) const READ_ENTRIES: usize = 256;

/// Events of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// In order.
    pub events: Vec<v1::Event>,
    /// The last of them, where the log goes on.
    pub next: Option<Cursor>,
}

impl Engine {
    /// Lists what comes after a place; from the first event that is retained
    /// where none is given. The page ends before it exceeds a frame.
    pub async fn list_events(
        &self,
        principal: &Principal,
        message: &MessageId,
        after: Option<Position>,
        page_size: usize,
    ) -> Result<EventPage, EngineError> {
        let mut place = after;
        let mut last = None;
        let mut events = Vec::new();
        let mut size = 0;
        loop {
            let page = self.page(principal, message, place).await?;
            let head = page.head.sequence;
            for Placed { cursor, event } in following(page, place)? {
                size += event.encoded_len();
                let is_full = events.len() == page_size || size > limits::FRAME_BYTES_MAX;
                if is_full && !events.is_empty() {
                    return Ok(EventPage { events, next: last });
                }
                events.push(event);
                last = Some(cursor);
            }
            let reached = last.map(Position::from).or(after);
            if reached.is_none_or(|reached| reached.sequence >= head) {
                return Ok(EventPage { events, next: None });
            }
            place = reached;
        }
    }

    /// Reads the part of a log that begins at a place.
    pub(super) async fn page(
        &self,
        principal: &Principal,
        message: &MessageId,
        place: Option<Position>,
    ) -> Result<Page, EngineError> {
        let unknown = || Refusal::MessageUnknown(message.clone());
        let sequence = place.map_or(0, |place| place.sequence);
        let page = self.store.replay(message, sequence, READ_ENTRIES).await?;
        let page = page.ok_or_else(unknown)?;
        principal.authorize(&page.user, unknown())?;
        Ok(page)
    }
}

fn following(page: Page, place: Option<Position>) -> Result<Vec<Placed>, Refusal> {
    match place {
        None => Ok(page.events),
        Some(place) => match page.resume(place) {
            Resume::Continue(events) => Ok(events),
            Resume::Gap(_) => Err(Refusal::CursorOutOfRange),
        },
    }
}
