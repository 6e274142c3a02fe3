//! Which pages may call, and how much they may send.

use std::time::Duration;

use serde_json::Value;
use throughline::{
    api::web::Origin,
    proto as v1,
    runtime::{
        config::RedisUrl,
        serve::{Service, ServiceOptions},
    },
};

use tonic::transport::Channel;

use super::http::{Answer, send};
use crate::support::{Clients, Program, Redis, World, serve_command};

const JSON: (&str, &str) = ("content-type", "application/json");
const SESSIONS: &str = "POST /api/v1/sessions";
const ASKS: (&str, &str) = ("access-control-request-method", "POST");
const GRANTED: &str = "access-control-allow-origin";
const INFO: &str = "GET /api/v1/info";

async fn serve(redis: &Redis, origins: &[&str]) -> Service {
    serve_at("127.0.0.1:0", redis, origins).await
}

async fn serve_at(address: &str, redis: &Redis, origins: &[&str]) -> Service {
    let options = ServiceOptions {
        listen: address.parse().unwrap(),
        heartbeat: Duration::from_millis(200),
        cors_origins: origins
            .iter()
            .map(|origin| origin.parse().unwrap())
            .collect(),
        ..ServiceOptions::new(RedisUrl::from(redis.url()))
    };
    Service::start(options).await.unwrap()
}

async fn create(service: &Service, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[JSON], headers].concat();
    send(service, SESSIONS, &headers, br#"{"user_id": "u"}"#).await
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_where_they_are_named() {
    let redis = Redis::start();
    let service = serve(&redis, &["https://friend.example"]).await;
    let own = format!("http://{}", service.address);
    let foreign = ("origin", "https://stranger.example");
    let friend = ("origin", "https://friend.example");

    let refused = create(&service, &[foreign]).await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (403, "ORIGIN_NOT_ALLOWED")
    );
    let cross_site = create(&service, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(cross_site.status, 403);
    let granted = create(&service, &[friend, ("sec-fetch-site", "cross-site")]).await;
    assert_eq!(granted.status, 200);
    assert_eq!(granted.headers[GRANTED], "https://friend.example");
    assert_eq!(create(&service, &[("origin", &own)]).await.status, 200);
    assert_eq!(create(&service, &[]).await.status, 200);

    let preflight = "OPTIONS /api/v1/sessions";
    let asked = send(&service, preflight, &[friend, ASKS], b"").await;
    assert_eq!(asked.status, 204);
    assert!(asked.headers["access-control-allow-methods"].contains("POST"));
    let asked = send(&service, preflight, &[foreign, ASKS], b"").await;
    assert!(!asked.headers.contains_key(GRANTED));
}

#[tokio::test]
async fn without_a_named_origin_no_page_from_elsewhere_reads_anything() {
    let redis = Redis::start();
    let service = serve(&redis, &[]).await;
    let read = send(&service, INFO, &[("origin", "https://x.example")], b"").await;
    assert_eq!(read.status, 200);
    assert!(!read.headers.contains_key(GRANTED));
    let all = serve(&redis, &["*"]).await;
    let read = send(&all, INFO, &[("origin", "https://x.example")], b"").await;
    assert_eq!(read.headers[GRANTED], "https://x.example");
}

/// A page can give its own name the address of this machine, and is of the same
/// origin then.
#[tokio::test]
async fn a_name_that_is_not_of_this_machine_is_refused_where_others_cannot_call() {
    let redis = Redis::start();
    let service = serve(&redis, &["https://friend.example"]).await;
    for host in [
        "127.0.0.1",
        "[::1]:50051",
        "LocalHost.:50051",
        "console.localhost",
        "friend.example:8080",
    ] {
        let answer = send(&service, INFO, &[("host", host)], b"").await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let call = "POST /throughline.v1.AdminService/GetServerInfo";
    let grpc = ("content-type", "application/grpc");
    for host in [
        "stranger.example:50051",
        "localhost.stranger.example",
        "127.0.0.1.stranger.example",
        "xlocalhost",
    ] {
        let host = ("host", host);
        let (read, written) = (
            send(&service, INFO, &[host], b"").await,
            create(&service, &[host]).await,
        );
        // It is not gRPC what comes by HTTP/1, which browsers speak.
        let called = send(&service, call, &[host, grpc], &[0; 5]).await;
        for refused in [read, written, called] {
            assert_eq!(refused.status, 421, "{host:?}");
            assert_eq!(refused.reason(), "HOST_NOT_ALLOWED");
        }
    }
}

#[tokio::test]
async fn grpc_is_served_by_any_name() {
    let redis = Redis::start();
    let service = serve(&redis, &[]).await;
    let channel = Channel::from_shared(format!("http://{}", service.address)).unwrap();
    let channel = channel.origin("http://stranger.example".parse().unwrap());
    let clients = Clients::of(channel.connect().await.unwrap());
    let request = v1::GetServerInfoRequest::default();
    clients
        .admin
        .clone()
        .get_server_info(request)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_service_that_others_can_call_is_served_by_any_name() {
    let redis = Redis::start();
    let service = serve_at("0.0.0.0:0", &redis, &[]).await;
    let host = ("host", "chat.example");
    assert_eq!(send(&service, INFO, &[host], b"").await.status, 200);
}

#[tokio::test]
async fn what_is_no_origin_is_refused_at_the_start() {
    for text in [
        "example.com",
        "https://example.com/",
        "https://example.com?a",
        "https://example.com:",
        "https://example.com:99999",
        "https://user@example.com",
        "https://",
        "",
    ] {
        assert!(text.parse::<Origin>().is_err(), "{text:?}");
    }
    let output = serve_command(&["--cors-origin", "example.com"])
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
}

#[test]
fn an_origin_is_what_browsers_make_of_it() {
    for (given, sent) in [
        ("https://Example.COM", "https://example.com"),
        ("HTTPS://example.com:443", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
    ] {
        assert_eq!(given.parse::<Origin>().ok(), sent.parse().ok(), "{given}");
        assert!(sent.parse::<Origin>().is_ok(), "{sent}");
    }
    assert_ne!(
        "http://example.com".parse::<Origin>().ok(),
        "http://example.com:443".parse().ok()
    );
}

#[tokio::test]
async fn the_program_takes_origins_from_its_flags() {
    let redis = Redis::start();
    let origins = "https://a.example,https://b.example";
    let program = Program::serve_on(&redis, &["--cors-origin", origins]).await;
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "-i", "-H", "origin: https://b.example"])
        .arg(format!("http://{}/openapi.json", program.address))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("access-control-allow-origin: https://b.example"),
        "{text}"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_or_no_json_is_refused() {
    let world = World::start().await;
    let service = &world.services[0];
    let large = vec![b' '; 24 * 1024 * 1024 + 1];
    let refused = send(service, SESSIONS, &[JSON], &large).await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (413, "BODY_TOO_LARGE")
    );
    for (headers, body, status) in [
        (vec![JSON], "[]", 400),
        (vec![JSON], "{", 400),
        (vec![JSON], r#"{"user_id": "u", "other": 1}"#, 400),
        (vec![("content-type", "text/plain")], "{}", 415),
        (vec![JSON, ("content-encoding", "gzip")], "{}", 415),
    ] {
        let refused = send(service, SESSIONS, &headers, body.as_bytes()).await;
        assert_eq!(refused.status, status, "{body}");
        assert_ne!(refused.reason(), "");
    }
}

#[tokio::test]
async fn a_body_of_very_many_values_is_refused_before_it_is_read() {
    let world = World::start().await;
    let zeros = "0,".repeat(60_000);
    let body = format!(r#"{{"user_id": "u", "metadata": {{"a": [{zeros}0]}}}}"#);
    for line in [
        SESSIONS,
        "POST /throughline.v1.SessionService/CreateSession",
    ] {
        let refused = send(&world.services[0], line, &[JSON], body.as_bytes()).await;
        assert_eq!(refused.status, 400);
        let text = String::from_utf8(refused.body).unwrap();
        assert!(text.contains("must have at most 50000 values"), "{text}");
    }
}

#[tokio::test]
async fn what_can_be_got_can_be_asked_for_its_head() {
    let redis = Redis::start();
    let program = Program::serve_on(&redis, &[]).await;
    for (path, status) in [
        ("console", "200"),
        ("openapi.json", "200"),
        ("api/v1/info", "200"),
        ("api/v1/messages/x", "404"),
        ("api/v1/tasks/claim", "405"),
    ] {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let output = tokio::process::Command::new("curl")
                .args(["-sS", "--head", version])
                .arg(format!("http://{}/{path}", program.address))
                .output()
                .await
                .unwrap();
            let (head, error) = (output.stdout, output.stderr);
            let head = String::from_utf8(head).unwrap();
            assert!(
                error.is_empty(),
                "{path}: {}",
                String::from_utf8_lossy(&error)
            );
            assert_eq!(head.split(' ').nth(1), Some(status), "{path}");
            assert!(head.contains("content-length: "), "{path}: {head}");
        }
    }
}

#[tokio::test]
async fn http_2_without_tls_serves_rest_as_well() {
    let redis = Redis::start();
    let program = Program::serve_on(&redis, &[]).await;
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "--http2-prior-knowledge", "-w", " %{http_version}"])
        .arg(format!("http://{}/api/v1/info", program.address))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (json, version) = text.rsplit_once(' ').unwrap();
    assert_eq!(version, "2");
    let info: Value = serde_json::from_str(json).unwrap();
    assert!(info["version"].is_string());
}
