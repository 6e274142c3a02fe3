//! Sessions.

use super::values::{metadata_to_v1, time_to_v1};
use crate::{domain::session::Session, proto as v1};

/// A session for clients.
pub fn session_to_v1(session: &Session, message_count: u64) -> v1::Session {
    let state = match session.close_time {
        None => v1::SessionState::Active,
        Some(_) => v1::SessionState::Closed,
    };
    v1::Session {
        session_id: session.id.to_string(),
        user_id: session.user.to_string(),
        metadata: metadata_to_v1(&session.metadata),
        state: state.into(),
        create_time: Some(time_to_v1(session.create_time)),
        update_time: Some(time_to_v1(session.update_time)),
        close_time: session.close_time.map(time_to_v1),
        message_count: i64::try_from(message_count).unwrap_or(i64::MAX),
    }
}
