//! AdminService.

use tonic::{Request, Response};

use super::{Answer, fields, open, servers::admin_service_server::AdminService};
use crate::{
    api::status::from_engine,
    domain::{ids::MessageId, limits},
    engine::Engine,
    proto as v1,
    wire::{task::task_of_message_to_v1, values::duration_to_v1},
};

pub(super) struct Admin(pub(super) Engine);

#[tonic::async_trait]
impl AdminService for Admin {
    async fn inspect_message(
        &self,
        request: Request<v1::InspectMessageRequest>,
    ) -> Answer<v1::InspectMessageResponse> {
        let (principal, request) = open(request);
        let id = fields::id("message_id", &request.message_id, MessageId::parse)?;
        let (view, inspected) = self.0.inspect(&principal, &id).await.map_err(from_engine)?;
        let message = &view.message;
        let keys = inspected.keys.iter().map(|(key, ttl)| v1::RedisKey {
            key: key.clone(),
            ttl: ttl.map(duration_to_v1),
        });
        let first = inspected.first;
        Ok(Response::new(v1::InspectMessageResponse {
            pending_tasks: message
                .open_tasks()
                .map(|task| task_of_message_to_v1(task, message))
                .collect(),
            complete: message.is_terminal(),
            keys: keys.collect(),
            log: Some(v1::LogBounds {
                first_sequence: first.sequence,
                last_sequence: message.head.sequence,
                first_cursor: first.to_string(),
                last_cursor: message.head.to_string(),
                entries: i64::try_from(inspected.entries).unwrap_or(i64::MAX),
            }),
            message: Some(view.to_v1()),
        }))
    }

    async fn get_server_info(
        &self,
        _: Request<v1::GetServerInfoRequest>,
    ) -> Answer<v1::GetServerInfoResponse> {
        Ok(Response::new(v1::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            redis_version: self.0.store().redis_version().to_owned(),
            limits: Some(limits_to_v1(&self.0)),
        }))
    }
}

fn limits_to_v1(engine: &Engine) -> v1::Limits {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let page_size = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let options = engine.store().options();
    v1::Limits {
        id_bytes: count(limits::ID_BYTES_MAX),
        metadata_bytes: count(limits::METADATA_BYTES_MAX),
        metadata_depth: count(limits::METADATA_DEPTH_MAX),
        delta_bytes: count(limits::DELTA_BYTES_MAX),
        block_bytes: count(limits::BLOCK_BYTES_MAX),
        blocks_per_message: count(limits::BLOCKS_MAX),
        open_tasks_per_message: count(limits::OPEN_TASKS_MAX),
        frame_bytes: count(limits::FRAME_BYTES_MAX),
        inline_content_bytes: count(limits::INLINE_BYTES_MAX),
        default_page_size: page_size(limits::PAGE_SIZE_DEFAULT),
        max_page_size: page_size(limits::PAGE_SIZE_MAX),
        retained_entries: options.retained_entries.into(),
        message_ttl: Some(duration_to_v1(options.message_ttl)),
        content_ttl: Some(duration_to_v1(options.content_ttl)),
        session_ttl: Some(duration_to_v1(options.session_ttl)),
        min_writer_ttl: Some(duration_to_v1(limits::WRITER_TTL_MIN)),
        max_writer_ttl: Some(duration_to_v1(limits::WRITER_TTL_MAX)),
        writer_grace: Some(duration_to_v1(engine.options().writer_grace)),
        max_cancel_grace: Some(duration_to_v1(limits::CANCEL_GRACE_MAX)),
        tasks_per_queue: i64::try_from(engine.options().queue_limit).unwrap_or(i64::MAX),
        min_task_lease: Some(duration_to_v1(limits::LEASE_MIN)),
        max_task_lease: Some(duration_to_v1(limits::LEASE_MAX)),
        max_claim_wait: Some(duration_to_v1(limits::CLAIM_WAIT_MAX)),
        heartbeat_interval: Some(duration_to_v1(engine.hub().heartbeat())),
    }
}
