//! SessionService.

use tonic::{Request, Response};

use super::{
    Answer, fields, open, page_token,
    servers::session_service_server::SessionService,
    watch::{self, SessionFrames},
};
use crate::{
    api::status::{from_engine, invalid},
    domain::{
        ids::{SessionId, UserId},
        session::Session,
    },
    engine::{Engine, PageRequest},
    proto as v1,
    wire::session::session_to_v1,
};

pub(super) struct Sessions(pub(super) Engine);

#[tonic::async_trait]
impl SessionService for Sessions {
    async fn create_session(
        &self,
        request: Request<v1::CreateSessionRequest>,
    ) -> Answer<v1::CreateSessionResponse> {
        let (principal, request) = open(request);
        let session = fields::id_or_fresh("session_id", &request.session_id, SessionId::parse)?;
        let user = fields::id("user_id", &request.user_id, UserId::parse)?;
        let metadata = fields::metadata("metadata", request.metadata.as_ref())?;
        let (session, created) = self
            .0
            .create_session(&principal, &session, &user, &metadata)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::CreateSessionResponse {
            session: Some(to_v1(session)),
            created,
        }))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Answer<v1::GetSessionResponse> {
        let (principal, request) = open(request);
        let id = fields::id("session_id", &request.session_id, SessionId::parse)?;
        let session = self.0.session(&principal, &id).await.map_err(from_engine)?;
        Ok(Response::new(v1::GetSessionResponse {
            session: Some(to_v1(session)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Answer<v1::ListSessionsResponse> {
        let (principal, request) = open(request);
        let user = fields::id("user_id", &request.user_id, UserId::parse)?;
        let page = PageRequest {
            after: page_token::read(&request.page_token, SessionId::parse)?,
            size: fields::page_size(request.page_size)?,
            skip: 0,
        };
        let page = self
            .0
            .list_sessions(&principal, &user, &page)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::ListSessionsResponse {
            sessions: page.sessions.into_iter().map(to_v1).collect(),
            next_page_token: page_token::write(page.next),
        }))
    }

    async fn update_session(
        &self,
        request: Request<v1::UpdateSessionRequest>,
    ) -> Answer<v1::UpdateSessionResponse> {
        let (principal, request) = open(request);
        let session = request
            .session
            .ok_or_else(|| invalid("session", "must be given"))?;
        let id = fields::id("session.session_id", &session.session_id, SessionId::parse)?;
        let paths = request
            .update_mask
            .map(|mask| mask.paths)
            .unwrap_or_default();
        if paths.is_empty() || paths.iter().any(|path| path != "metadata") {
            return Err(invalid(
                "update_mask",
                "must name metadata, and nothing else",
            ));
        }
        let metadata = fields::metadata("session.metadata", session.metadata.as_ref())?;
        let session = self
            .0
            .set_session_metadata(&principal, &id, &metadata)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::UpdateSessionResponse {
            session: Some(to_v1(session)),
        }))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Answer<v1::CloseSessionResponse> {
        let (principal, request) = open(request);
        let id = fields::id("session_id", &request.session_id, SessionId::parse)?;
        let session = self
            .0
            .close_session(&principal, &id)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::CloseSessionResponse {
            session: Some(to_v1(session)),
        }))
    }

    async fn delete_session(
        &self,
        request: Request<v1::DeleteSessionRequest>,
    ) -> Answer<v1::DeleteSessionResponse> {
        let (principal, request) = open(request);
        let id = fields::id("session_id", &request.session_id, SessionId::parse)?;
        let deleted = self
            .0
            .delete_session(&principal, &id)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::DeleteSessionResponse {
            deleted_messages: i64::try_from(deleted).unwrap_or(i64::MAX),
        }))
    }

    type WatchSessionStream = SessionFrames;

    async fn watch_session(
        &self,
        request: Request<v1::WatchSessionRequest>,
    ) -> Answer<Self::WatchSessionStream> {
        watch::watch_session(&self.0, request)
    }
}

fn to_v1((session, message_count): (Session, u64)) -> v1::Session {
    session_to_v1(&session, message_count)
}
