//! The subcommands, as a person or a supervisor runs them.

use std::{
    io,
    net::SocketAddr,
    process::{Output, Stdio},
    sync::Arc,
};

use throughline::proto::MessageState;
use tokio::{
    io::{AsyncBufReadExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::support::{World, serve_command, signal, soon};

const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/certificate.pem");
const OTHER_CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/other.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/key.pem");

/// The program with these arguments. It trusts the certificate of the tests.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
    command
        .args(arguments)
        .env("NO_COLOR", "1")
        .env("SSL_CERT_FILE", CERTIFICATE)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What it has written when it has ended.
async fn run(arguments: &[&str]) -> Output {
    let output = command(arguments).output();
    soon("the end of the command", output).await.unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Speaks TLS for a service, on a port that it gives.
async fn encrypted(service: SocketAddr, connections: &mut JoinSet<()>) -> u16 {
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_file(KEY).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    connections.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            // A client that goes away is none of our concern.
            open.spawn(pass(acceptor.clone(), stream, service));
        }
    });
    port
}

async fn pass(acceptor: TlsAcceptor, client: TcpStream, service: SocketAddr) -> io::Result<()> {
    let mut client = acceptor.accept(client).await?;
    let mut service = TcpStream::connect(service).await?;
    copy_bidirectional(&mut client, &mut service).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_is_reached_by_its_address_alone_and_over_tls() {
    let world = World::start().await;
    world.a().message("m").await;
    let service = world.services[0].address;
    let mut connections = JoinSet::new();
    let port = encrypted(service, &mut connections).await;
    for server in [
        service.to_string(),
        format!("http://{service}"),
        format!("https://localhost:{port}"),
        format!("https://127.0.0.1:{port}/"),
    ] {
        let output = run(&["inspect", "m", "--server", &server]).await;
        assert!(output.status.success(), "{server}: {}", stderr(&output));
        assert!(stdout(&output).contains("streaming"), "{}", stdout(&output));
    }
    // Not to be mistaken for one that speaks TLS.
    let plain = format!("https://{service}");
    let output = run(&["inspect", "m", "--server", &plain]).await;
    assert!(stderr(&output).contains("no server answers at https://"));
    // Nor is one that nobody vouches for.
    let unknown = format!("https://localhost:{port}");
    let mut command = command(&["inspect", "m", "--server", &unknown]);
    let command = command.env("SSL_CERT_FILE", OTHER_CERTIFICATE).output();
    let output = soon("the end of the command", command).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("certificate"),
        "{}",
        stderr(&output)
    );
}

#[tokio::test]
async fn what_is_no_address_of_a_server_says_what_is() {
    for server in ["ftp://example.com", "two words"] {
        let output = run(&["inspect", "m", "--server", server]).await;
        assert_eq!(output.status.code(), Some(1));
        let why = stderr(&output);
        assert!(
            why.contains("--server: ") && why.contains("127.0.0.1:50051"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn a_text_that_is_not_sent_along_is_shown_as_a_whole() {
    let world = World::start().await;
    let a = world.a();
    a.message("m").await;
    let part = "0123456789abcdef".repeat(10_000);
    for _ in 0..20 {
        a.append("m", &part).await.unwrap();
    }
    a.end("m", MessageState::Completed).await.unwrap();
    assert!(a.get("m").await.unwrap().text_truncated);
    let server = world.services[0].address.to_string();
    let output = run(&["tail", "m", "--server", &server]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains(&part.repeat(20)));
}

#[tokio::test]
async fn a_service_outlives_whoever_read_where_it_is() {
    let world = World::start().await;
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut service = serve_command(&["--redis", &world.redis.url(), "--log-level", "info"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(service.stderr.take().unwrap()).lines();
    let mut logged = async |what: &str| {
        while let Some(line) = soon(what, log.next_line()).await.unwrap() {
            if line.contains(what) {
                return true;
            }
        }
        false
    };
    assert!(logged("listening on").await);
    signal(service.id().unwrap(), libc::SIGTERM);
    // In an orderly way, and not before it was told to.
    assert!(logged("stopped").await);
}
