//! By which names the service may be called.
//!
//! A page can give its own name the address of this machine after it was loaded
//! (DNS rebinding), and what it sends there then is of its own origin: it may read
//! all answers. It can't say another name than its own. So a service that only this
//! machine can call answers by those names alone that are nobody else's.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Request, header::HOST, uri::Authority};

use super::cors::Origin;

/// The names that it answers to.
#[derive(Clone, Debug)]
pub(super) enum Hosts {
    Any,
    /// Those of this machine, and of pages that may call anyway.
    LocalAnd(Arc<[String]>),
}

impl Hosts {
    /// Of a service at this address, which pages of these origins may call.
    pub(super) fn of(address: SocketAddr, origins: &[Origin]) -> Self {
        let is_private = address.ip().to_canonical().is_loopback();
        if !is_private || origins.iter().any(Origin::is_any) {
            return Self::Any;
        }
        let named = origins.iter().filter_map(Origin::authority);
        Self::LocalAnd(named.map(|named| name(&named)).collect())
    }

    /// Whether a request may go on. One without a host is none of a browser's.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> bool {
        let Self::LocalAnd(named) = self else {
            return true;
        };
        if let Some(host) = request.uri().authority() {
            return is_admitted(host, named);
        }
        let host = request.headers().get(HOST);
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return true;
        };
        Authority::try_from(host.as_bytes()).is_ok_and(|host| is_admitted(&host, named))
    }
}

fn is_admitted(host: &Authority, named: &[String]) -> bool {
    let name = name(host);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = name == "localhost" || name.ends_with(".localhost");
    is_local || address.parse::<IpAddr>().is_ok() || named.contains(&name)
}

/// The name of a host without its port, in one of its spellings.
fn name(host: &Authority) -> String {
    let name = host.host();
    name.strip_suffix('.').unwrap_or(name).to_lowercase()
}
