//! Every RPC as a method of its request, for tables of them.

use std::fmt::Debug;

use throughline::proto as v1;
use tonic::Status;

use super::Clients;

/// A request that can be sent.
pub trait Rpc: Clone + Debug {
    /// Makes the call; of a stream it waits for the first answer.
    async fn send(self, clients: &Clients) -> Result<(), Status>;
}

macro_rules! rpcs {
    ($($service:ident { $($method:ident($request:ident)),* $(,)? })*) => {$($(
        impl Rpc for v1::$request {
            async fn send(self, clients: &Clients) -> Result<(), Status> {
                clients.$service.clone().$method(self).await.map(drop)
            }
        }
    )*)*};
}

rpcs! {
    sessions {
        create_session(CreateSessionRequest),
        get_session(GetSessionRequest),
        list_sessions(ListSessionsRequest),
        update_session(UpdateSessionRequest),
        close_session(CloseSessionRequest),
        delete_session(DeleteSessionRequest),
    }
    messages {
        create_message(CreateMessageRequest),
        get_message(GetMessageRequest),
        list_messages(ListMessagesRequest),
        append_text(AppendTextRequest),
        add_content(AddContentRequest),
        update_content(UpdateContentRequest),
        publish_event(PublishEventRequest),
        end_message(EndMessageRequest),
        request_cancel(RequestCancelRequest),
        acquire_writer(AcquireWriterRequest),
        list_events(ListEventsRequest),
        delete_message(DeleteMessageRequest),
        cleanup_messages(CleanupMessagesRequest),
    }
    tasks {
        start_task(StartTaskRequest),
        update_task(UpdateTaskRequest),
        get_task(GetTaskRequest),
        list_tasks(ListTasksRequest),
        cancel_task(CancelTaskRequest),
        submit_task(SubmitTaskRequest),
        claim_task(ClaimTaskRequest),
        renew_task(RenewTaskRequest),
    }
    admin {
        inspect_message(InspectMessageRequest),
        get_server_info(GetServerInfoRequest),
    }
}

macro_rules! streams {
    ($($service:ident.$method:ident($request:ident)),* $(,)?) => {$(
        impl Rpc for v1::$request {
            async fn send(self, clients: &Clients) -> Result<(), Status> {
                let answer = clients.$service.clone().$method(self).await?;
                answer.into_inner().message().await.map(drop)
            }
        }
    )*};
}

streams! {
    sessions.watch_session(WatchSessionRequest),
    messages.read_content(ReadContentRequest),
    messages.watch_message(WatchMessageRequest),
}
