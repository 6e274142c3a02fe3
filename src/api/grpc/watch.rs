//! WatchMessage and WatchSession: what to watch, and the frames.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use tokio_stream::StreamExt;
use tonic::Request;

use super::{Answer, fields, open};
use crate::{
    api::{
        status::{from_engine, invalid},
        watch_body::{Unsent, Way},
    },
    domain::ids::{MessageId, SessionId},
    engine::{Engine, SessionPlace, WatchRequest},
    proto as v1,
    wire::values::duration_from_v1,
};

pub(super) type Frames = Unsent<v1::WatchMessageResponse>;
pub(super) type SessionFrames = Unsent<v1::WatchSessionResponse>;

pub(super) fn watch_session(
    engine: &Engine,
    request: Request<v1::WatchSessionRequest>,
) -> Answer<SessionFrames> {
    let way = Way::of(request.extensions());
    let (principal, request) = open(request);
    let session = fields::id("session_id", &request.session_id, SessionId::parse)?;
    let resume = match request.resume_token.as_str() {
        "" => None,
        token => {
            let resume = SessionPlace::parse(token);
            let problem = "must be the resume_token of a frame";
            Some(resume.ok_or_else(|| invalid("resume_token", problem))?)
        }
    };
    let frames = engine.watch_session(principal, session, resume);
    let chunks = frames.map(|frame| frame.map(Bytes::from).map_err(from_engine));
    Ok(way.answer(chunks))
}

pub(super) fn watch(engine: &Engine, request: Request<v1::WatchMessageRequest>) -> Answer<Frames> {
    let way = Way::of(request.extensions());
    let (principal, request) = open(request);
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
        session: fields::optional_id("session_id", &request.session_id, SessionId::parse)?,
        start: request
            .cursor
            .parse()
            .map_err(|problem| invalid("cursor", problem))?,
        fail_on_gap: request.fail_on_gap,
        wait_for_create: request.wait_for_create.then_some(Duration::MAX),
        event_types: types.collect::<Result<HashSet<_>, _>>()?,
        max_wait: max_wait
            .map(|wait| duration_from_v1(wait, "max_wait"))
            .transpose()?,
    };
    let steps = engine.watch(request);
    let chunks = steps.map(|step| step.map(Bytes::from).map_err(from_engine));
    Ok(way.answer(chunks))
}
