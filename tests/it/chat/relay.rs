//! A way to a service that can be interrupted.

use std::{io, net::SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::JoinSet,
};

/// Passes connections on, until they are cut; new ones pass again.
pub struct Relay {
    pub url: String,
    cut: broadcast::Sender<()>,
    _connections: JoinSet<()>,
}

impl Relay {
    pub async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cut = broadcast::Sender::new(1);
        let cuts = cut.clone();
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let mut cut = cuts.subscribe();
                open.spawn(async move {
                    tokio::select! {
                        _ = pass(stream, service) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self {
            url,
            cut,
            _connections: connections,
        }
    }

    /// Cuts all connections that there are.
    pub fn cut(&self) {
        self.cut.send(()).expect("there is a connection to cut");
    }
}

async fn pass(mut client: TcpStream, service: SocketAddr) -> io::Result<()> {
    let mut service = TcpStream::connect(service).await?;
    copy_bidirectional(&mut client, &mut service).await?;
    Ok(())
}
