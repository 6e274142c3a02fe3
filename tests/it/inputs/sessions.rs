//! Rows for SessionService.

use prost_types::FieldMask;
use throughline::proto as v1;

use super::table::Table;

pub(super) async fn rows(table: &mut Table) {
    create_session(table).await;
    list_sessions(table).await;
    update_session(table).await;
    watch_session(table).await;

    let good = v1::GetSessionRequest {
        session_id: "s".into(),
    };
    table
        .required_id("session_id", &good, |r| &mut r.session_id)
        .await;
    let good = v1::CloseSessionRequest {
        session_id: "s".into(),
    };
    table
        .required_id("session_id", &good, |r| &mut r.session_id)
        .await;
    let good = v1::DeleteSessionRequest {
        session_id: "s".into(),
    };
    table
        .required_id("session_id", &good, |r| &mut r.session_id)
        .await;
}

async fn create_session(table: &mut Table) {
    let good = v1::CreateSessionRequest {
        session_id: "new".into(),
        user_id: "user_1".into(),
        metadata: None,
    };
    table.id("session_id", &good, |r| &mut r.session_id).await;
    table
        .required_id("user_id", &good, |r| &mut r.user_id)
        .await;
    table.object("metadata", &good, |r| &mut r.metadata).await;
}

async fn list_sessions(table: &mut Table) {
    let good = v1::ListSessionsRequest {
        user_id: "user_1".into(),
        ..Default::default()
    };
    table
        .required_id("user_id", &good, |r| &mut r.user_id)
        .await;
    table
        .page(&good, |r| &mut r.page_size, |r| &mut r.page_token)
        .await;
}

async fn update_session(table: &mut Table) {
    let good = v1::UpdateSessionRequest {
        session: Some(v1::Session {
            session_id: "s".into(),
            ..Default::default()
        }),
        update_mask: mask(&["metadata"]),
    };
    table
        .required_id("session.session_id", &good, |r| {
            &mut r.session.as_mut().unwrap().session_id
        })
        .await;
    table
        .object("session.metadata", &good, |r| {
            &mut r.session.as_mut().unwrap().metadata
        })
        .await;

    let mut request = good.clone();
    request.session = None;
    table.row("session", "missing", request).await;
    let masks: [&[&str]; 9] = [
        &[],
        &[""],
        &["*"],
        &["user_id"],
        &["state"],
        &["session_id"],
        &["metadata", "user_id"],
        &["metadata.key"],
        &["Metadata"],
    ];
    for paths in masks {
        let mut request = good.clone();
        request.update_mask = mask(paths);
        table.row("update_mask", &paths.join(","), request).await;
    }
    let mut request = good;
    request.update_mask = None;
    table.row("update_mask", "missing", request).await;
}

async fn watch_session(table: &mut Table) {
    let good = v1::WatchSessionRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    table
        .required_id("session_id", &good, |r| &mut r.session_id)
        .await;
    let long = "A".repeat(100_000);
    let broken = [
        "x", "0", "$", "1-1", "!", "=", "====", "AAAA", "_w==", "CgE=x", " ", "\n", "\0", "ä",
        "__8=", &long,
    ];
    for token in broken {
        let request = v1::WatchSessionRequest {
            resume_token: token.to_owned(),
            ..good.clone()
        };
        table.row("resume_token", token, request).await;
    }
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}
