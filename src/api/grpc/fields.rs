//! Fields of requests: parsed once, refused by name.

use std::{ops::RangeInclusive, time::Duration};

use prost_types::Struct;
use sha2::{Digest, Sha256};
use tonic::Status;

use crate::{
    api::status::invalid,
    domain::{
        Metadata,
        command::Right,
        ids::{InvalidId, MessageId, RequestId, SessionId, TaskId},
        limits,
        offload::sha256_hex,
        principal::Principal,
        task::Attempt,
    },
    engine::{Request, fresh_id},
    proto as v1,
    wire::values::{duration_from_v1, metadata_from_v1},
};

/// An id that must be there.
pub(super) fn id<T>(
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, InvalidId>,
) -> Result<T, Status> {
    parse(text).map_err(|problem| invalid(field, problem))
}

/// An id that may be left out.
pub(super) fn optional_id<T>(
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, InvalidId>,
) -> Result<Option<T>, Status> {
    match text {
        "" => Ok(None),
        text => id(field, text, parse).map(Some),
    }
}

/// An id that is drawn where it is left out.
pub(super) fn id_or_fresh<T>(
    field: &str,
    text: &str,
    parse: fn(&str) -> Result<T, InvalidId>,
) -> Result<T, Status> {
    match text {
        "" => id(field, &fresh_id(), parse),
        text => id(field, text, parse),
    }
}

/// A free-form object of at most 16 KiB, not nested too deep to be read again.
pub(super) fn metadata(field: &str, object: Option<&Struct>) -> Result<Metadata, Status> {
    let metadata = metadata_from_v1(object, field)?;
    let depth = 1 + metadata.values().map(depth).max().unwrap_or_default();
    if depth > limits::METADATA_DEPTH_MAX {
        let problem = format!("must be nested at most {} deep", limits::METADATA_DEPTH_MAX);
        return Err(invalid(field, problem));
    }
    object_within(field, &metadata)?;
    Ok(metadata)
}

/// An object of at most 16 KiB.
pub(super) fn object_within(field: &str, object: &Metadata) -> Result<(), Status> {
    let length = serde_json::to_string(object).map_or(0, |json| json.len());
    length_within(field, length, limits::METADATA_BYTES_MAX)
}

/// How many objects and lists are in one another.
fn depth(value: &serde_json::Value) -> usize {
    use serde_json::Value as Json;
    match value {
        Json::Object(object) => 1 + object.values().map(depth).max().unwrap_or_default(),
        Json::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 0,
    }
}

/// A text of at most `max` bytes.
pub(super) fn text(field: &str, text: &str, max: usize) -> Result<(), Status> {
    length_within(field, text.len(), max)
}

pub(super) fn length_within(field: &str, length: usize, max: usize) -> Result<(), Status> {
    if length > max {
        let problem = format!("must be at most {max} bytes long, not {length}");
        return Err(invalid(field, problem));
    }
    Ok(())
}

/// The lease that a write is made under, if it names one.
pub(super) fn lease(lease: Option<&v1::TaskLease>) -> Result<Option<Attempt>, Status> {
    lease
        .map(|lease| {
            Ok(Attempt {
                task: id("lease.task_id", &lease.task_id, TaskId::parse)?,
                number: attempt("lease.attempt", lease.attempt)?,
            })
        })
        .transpose()
}

/// The number of an attempt; they begin with 1.
pub(super) fn attempt(field: &str, number: u32) -> Result<u32, Status> {
    match number {
        0 => Err(invalid(field, "must be given")),
        number => Ok(number),
    }
}

/// A number between 0 and 1.
pub(super) fn progress(field: &str, progress: Option<f64>) -> Result<(), Status> {
    if progress.is_some_and(|progress| !(0.0..=1.0).contains(&progress)) {
        return Err(invalid(field, "must be between 0 and 1"));
    }
    Ok(())
}

/// A value of an enum that this version knows.
pub(super) fn known<T: TryFrom<i32>>(field: &str, value: i32) -> Result<T, Status> {
    T::try_from(value).map_err(|_| invalid(field, format!("has no value {value}")))
}

/// A duration that may be left out.
pub(super) fn optional_duration(
    field: &str,
    duration: Option<&prost_types::Duration>,
    range: RangeInclusive<Duration>,
) -> Result<Option<Duration>, Status> {
    let Some(duration) = duration else {
        return Ok(None);
    };
    let duration = duration_from_v1(duration, field)?;
    if !range.contains(&duration) {
        let (min, max) = range.into_inner();
        let problem = format!("must be between {min:?} and {max:?}");
        return Err(invalid(field, problem));
    }
    Ok(Some(duration))
}

/// A page size: 0 means the default, too many mean the most.
pub(super) fn page_size(size: i32) -> Result<usize, Status> {
    match usize::try_from(size) {
        Err(_) => Err(invalid("page_size", "must not be negative")),
        Ok(0) => Ok(limits::PAGE_SIZE_DEFAULT),
        Ok(size) => Ok(size.min(limits::PAGE_SIZE_MAX)),
    }
}

/// What every write carries. `payload` is the request without its request id,
/// of this method.
pub(super) fn request(
    principal: Principal,
    method: &str,
    message_id: &str,
    right: Right,
    request_id: &str,
    payload: &impl prost::Message,
) -> Result<Request, Status> {
    let repeat = repeat(method, request_id, payload)?;
    Ok(Request {
        principal,
        message: id("message_id", message_id, MessageId::parse)?,
        right,
        repeat,
    })
}

/// What a repeat is recognised by. `payload` is the request without its request id,
/// of this method.
pub(super) fn repeat(
    method: &str,
    request_id: &str,
    payload: &impl prost::Message,
) -> Result<Option<(RequestId, String)>, Status> {
    let id = optional_id("request_id", request_id, RequestId::parse)?;
    Ok(id.map(|id| (id, fingerprint(method, payload))))
}

/// The id of a message that is made by a request which names none: the same for
/// each repeat.
pub(super) fn derived_message(
    session: &SessionId,
    request: &RequestId,
) -> Result<MessageId, Status> {
    let digest = sha256_hex(format!("{session} {request}").as_bytes());
    id("message_id", &digest[..32], MessageId::parse)
}

/// A digest of a request: 64 bits tell payloads of one request id apart. The
/// requests of two methods may be the same bytes.
fn fingerprint(method: &str, payload: &impl prost::Message) -> String {
    let digest = Sha256::new()
        .chain_update(method)
        .chain_update(payload.encode_to_vec())
        .finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
