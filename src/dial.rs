//! The way to a service: an address as people write it, and the connection to it. The
//! worker and the subcommands come by it.

use std::{error::Error, time::Duration};

use http::uri::{Scheme, Uri};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// Why an address can't be dialled.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It is not the address of a service.
    #[error(
        "an address is needed like 127.0.0.1:50051, http://127.0.0.1:50051 or https://example.com"
    )]
    Address,
    /// There is nothing to check the server's certificate with, or no name to check.
    #[error("TLS, which https needs, can't be set up: {}", innermost(.0))]
    Tls(#[from] tonic::transport::Error),
}

/// What began a chain of errors, which those above it often leave unsaid.
pub(crate) fn innermost<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

/// A connection to `server` that is made when it is first needed, and again when it
/// breaks.
///
/// # Errors
/// Where that is no address, or TLS can't be had.
pub fn dial(server: &str) -> Result<Channel, DialError> {
    let uri = address(server)?;
    let is_encrypted = uri.scheme() == Some(&Scheme::HTTPS);
    let endpoint = Endpoint::from(uri)
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_while_idle(true);
    let endpoint = match is_encrypted {
        true => endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?,
        false => endpoint,
    };
    Ok(endpoint.connect_lazy())
}

/// The address with its scheme: without one it is what `serve` prints, and plain HTTP.
fn address(server: &str) -> Result<Uri, DialError> {
    let server = server.trim();
    let (scheme, rest) = match server.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("http".to_owned(), server),
    };
    let uri: Uri = format!("{scheme}://{rest}")
        .parse()
        .map_err(|_| DialError::Address)?;
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    match has_host && matches!(scheme.as_str(), "http" | "https") {
        true => Ok(uri),
        false => Err(DialError::Address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_as_people_write_them() {
        for (written, dialled) in [
            ("127.0.0.1:50051", "http://127.0.0.1:50051/"),
            ("localhost:50051", "http://localhost:50051/"),
            ("[::1]:50051", "http://[::1]:50051/"),
            ("example.com", "http://example.com/"),
            (" http://example.com:1/\n", "http://example.com:1/"),
            ("HTTPS://example.com", "https://example.com/"),
        ] {
            let uri = address(written).unwrap();
            assert_eq!(uri.to_string(), dialled, "{written}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for written in [
            "",
            "http://",
            ":50051",
            "http://:50051",
            "ftp://example.com",
            "unix:///run/service",
            "two words",
        ] {
            let error = dial(written).unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:50051"), "{written}: {error}");
        }
    }
}
