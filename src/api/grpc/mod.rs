//! The gRPC door. A handler parses, calls the engine and converts.

mod admin;
mod answers;
mod blocks;
mod bound;
mod claims;
mod codec;
mod fields;
mod messages;
mod notices;
mod page_token;
mod read_mask;
mod sessions;
mod tasks;
mod watch;
mod write_answer;
mod write_stream;
mod writes;

use http::Extensions;
use tonic::service::Routes;

pub use self::answers::Answers;
use self::{
    admin::Admin,
    messages::Messages,
    servers::{
        admin_service_server::AdminServiceServer, message_service_server::MessageServiceServer,
        session_service_server::SessionServiceServer, task_service_server::TaskServiceServer,
    },
    sessions::Sessions,
    tasks::Tasks,
};
use crate::{
    domain::{limits, principal::Principal},
    engine::{Engine, Receipt},
    proto as v1,
};

/// The generated server traits.
mod servers {
    #![allow(clippy::all, missing_docs)]
    include!(concat!(env!("OUT_DIR"), "/servers/throughline.v1.rs"));
}

/// Largest request: a block, and what goes with it.
const REQUEST_BYTES_MAX: usize = limits::BLOCK_BYTES_MAX + 1024 * 1024;

/// The four services of `throughline.v1`, to be served below a layer that has
/// [`Stalls::guard`](crate::api::stall::Stalls::guard) look at each response.
/// Long answers are kept in `answers`, which somebody has to
/// [empty](Answers::forget_forever).
pub fn routes(engine: Engine, answers: Answers) -> Routes {
    let messages = Messages {
        engine: engine.clone(),
        answers,
    };
    let messages = MessageServiceServer::new(messages).max_decoding_message_size(REQUEST_BYTES_MAX);
    let tasks =
        TaskServiceServer::new(Tasks(engine.clone())).max_decoding_message_size(REQUEST_BYTES_MAX);
    let admin = AdminServiceServer::new(Admin(engine.clone()));
    Routes::new(SessionServiceServer::new(Sessions(engine)))
        .add_service(messages)
        .add_service(tasks)
        .add_service(admin)
}

/// Who makes a request: whoever a layer before found it to be.
fn principal(extensions: &Extensions) -> Principal {
    extensions
        .get::<Principal>()
        .cloned()
        .unwrap_or(Principal::Anonymous)
}

/// A principal and what it asks.
fn open<T>(request: tonic::Request<T>) -> (Principal, T) {
    let (_, extensions, message) = request.into_parts();
    (principal(&extensions), message)
}

fn result(receipt: Receipt) -> v1::WriteResult {
    v1::WriteResult {
        cursor: receipt.cursor.to_string(),
        sequence: receipt.cursor.sequence,
        deduplicated: receipt.deduplicated,
        cancel_requested: receipt.cancel_requested,
    }
}

type Answer<T> = Result<tonic::Response<T>, tonic::Status>;
