//! The address of a Redis, which may have a password in it.

use std::fmt::{self, Debug, Display, Formatter};

/// Where a Redis is. Its password is used, and never shown.
#[derive(Clone)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// The whole, for connecting.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for RedisUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl Display for RedisUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("a malformed URL");
        };
        let place = match (rest.rfind('@'), rest.find('?')) {
            // Either may be part of a password, so that nothing is safe to show.
            (Some(at), Some(query)) if at > query => "...",
            (at, query) => &rest[at.map_or(0, |at| at + 1)..query.unwrap_or(rest.len())],
        };
        write!(f, "{scheme}://{place}")
    }
}

impl Debug for RedisUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}
