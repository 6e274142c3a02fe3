//! Page tokens: where the next page begins.

use tonic::Status;

use crate::{api::status::invalid, domain::ids::InvalidId};

/// The place of the last item of a page, as a token.
pub(super) fn write<T: ToString>(place: Option<(u64, T)>) -> String {
    place
        .map(|(time, id)| format!("{time}.{}", id.to_string()))
        .unwrap_or_default()
}

/// The place that a token names; none for an empty one.
pub(super) fn read<T>(
    token: &str,
    parse: fn(&str) -> Result<T, InvalidId>,
) -> Result<Option<(u64, T)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = token
        .split_once('.')
        .and_then(|(time, id)| Some((time.parse().ok()?, parse(id).ok()?)));
    place
        .map(Some)
        .ok_or_else(|| invalid("page_token", "must be the next_page_token of a page"))
}
