//! A text that is never shown.

use std::{
    fmt::{self, Debug, Display, Formatter},
    str::FromStr,
};

use tonic::codegen::http::HeaderValue;

/// The key of a model's endpoint. Neither its Debug nor its Display says anything.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`, without the whitespace around it, which a file often ends with.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// There is nothing to keep.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header `authorization` that carries it. None where a header can't.
    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `text` without the secret, should it say it.
    pub(super) fn redact(&self, text: &str) -> String {
        match self.0.is_empty() {
            true => text.to_owned(),
            false => text.replace(&self.0, "[redacted]"),
        }
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Display for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("sk-1234\n");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(secret.redact("bad key sk-1234"), "bad key [redacted]");
        let header = secret.bearer().unwrap();
        assert_eq!(header, "Bearer sk-1234");
        assert!(!format!("{header:?}").contains("1234"));
    }
}
