//! WatchMessage: what to watch, and the frames.

use std::{collections::HashSet, pin::Pin};

use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::fields;
use crate::{
    api::status::{from_engine, invalid},
    domain::{ids::MessageId, principal::Principal},
    engine::{Engine, WatchRequest},
    proto as v1,
    wire::{frame::EncodedFrame, values::duration_from_v1},
};

pub(super) type Frames = Pin<Box<dyn Stream<Item = Result<EncodedFrame, Status>> + Send>>;

pub(super) fn watch(
    engine: &Engine,
    principal: Principal,
    request: &v1::WatchMessageRequest,
) -> Result<Frames, Status> {
    let types = request.event_types.iter().map(|event_type| {
        match fields::known("event_types", *event_type)? {
            v1::EventType::Unspecified => Err(invalid("event_types", "must name types")),
            known => Ok(known),
        }
    });
    let max_wait = request.max_wait.as_ref();
    let request = WatchRequest {
        principal,
        message: fields::id("message_id", &request.message_id, MessageId::parse)?,
        start: request
            .cursor
            .parse()
            .map_err(|problem| invalid("cursor", problem))?,
        fail_on_gap: request.fail_on_gap,
        wait_for_create: request.wait_for_create,
        event_types: types.collect::<Result<HashSet<_>, _>>()?,
        max_wait: max_wait
            .map(|wait| duration_from_v1(wait, "max_wait"))
            .transpose()?,
    };
    let frames = engine.watch(request);
    Ok(Box::pin(frames.map(|frame| frame.map_err(from_engine))))
}
