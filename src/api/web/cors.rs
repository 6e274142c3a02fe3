//! Which pages may call the service. Pages that it serves itself may; those of
//! other origins only where the operator says so. A browser asks first for most
//! of what changes something, and what it sends unasked is looked at as well.

use std::{str::FromStr, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
    },
    uri::Authority,
};
use tonic::body::Body;

/// How long a browser may remember what it was told.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, DELETE");
/// What scripts may read beside the body: the status of gRPC-Web above all.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "grpc-status, grpc-message, grpc-status-details-bin, content-range, etag, retry-after",
);

/// Where a page comes from, as in `https://example.com`; `*` for everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// What is no origin.
#[derive(Debug, thiserror::Error)]
#[error("must be a scheme and a host as in https://example.com, or *")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let origin = match text {
            "*" => text.to_owned(),
            _ => as_browsers_write(text).ok_or(InvalidOrigin)?,
        };
        origin.parse().map(Self).map_err(|_| InvalidOrigin)
    }
}

/// An origin as browsers send it: in lower case, without the port that goes without
/// saying. None where it is none.
fn as_browsers_write(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let uri: Uri = text.parse().ok()?;
    let (scheme, host) = (uri.scheme_str()?, uri.host()?);
    let port = uri
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    // Whatever else there is, as a user's name or a path, is no part of an origin.
    if host.is_empty() || format!("{scheme}://{host}{port}") != text {
        return None;
    }
    match (scheme, port.as_str()) {
        ("http", ":80") | ("https", ":443") => Some(format!("{scheme}://{host}")),
        _ => Some(text),
    }
}

impl Origin {
    pub(super) fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Host and port; none of all origins.
    pub(super) fn authority(&self) -> Option<Authority> {
        let uri = Uri::try_from(self.0.as_bytes()).ok()?;
        uri.into_parts().authority.filter(|_| !self.is_any())
    }
}

/// The origins that may call.
#[derive(Clone, Debug)]
pub(super) struct Cors(Arc<[Origin]>);

/// The origin that a response is for, if it is another than the service's own.
pub(super) struct Grant(Option<HeaderValue>);

/// A page of an origin that may not call has sent a request.
pub(super) struct Foreign;

impl Cors {
    pub(super) fn of(origins: &[Origin]) -> Self {
        Self(origins.into())
    }

    /// The answer to a browser that asks what it may send.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let asked = request.headers();
        if request.method() != Method::OPTIONS || !asked.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            return None;
        }
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let grant = self.grant(asked.get(ORIGIN));
        let headers = response.headers_mut();
        if grant.0.is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
        }
        grant.mark(headers);
        Some(response)
    }

    /// Whether a request may go on.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Grant, Foreign> {
        let grant = self.grant(request.headers().get(ORIGIN));
        let is_safe = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        match is_safe || grant.0.is_some() || is_of_this_host(request) {
            true => Ok(grant),
            false => Err(Foreign),
        }
    }

    fn grant(&self, origin: Option<&HeaderValue>) -> Grant {
        let allows = |origin: &&HeaderValue| {
            let mut allowed = self.0.iter();
            allowed.any(|allowed| allowed.is_any() || allowed.0 == *origin)
        };
        Grant(origin.filter(allows).cloned())
    }
}

impl Grant {
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        let Some(origin) = &self.0 else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

/// Whether a request comes from a page of this host, or from no page at all.
fn is_of_this_host<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| {
        request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
    });
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.split_once("://"));
    host.is_some() && origin.map(|(_, host)| host) == host
}
