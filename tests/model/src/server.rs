//! The server, and what a test asks it.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{
    desk::Desk,
    record::{Exchange, Record},
    script::Script,
};

/// A model that is being served. Dropped, it is gone, with all its connections.
pub struct Model {
    address: SocketAddr,
    record: Record,
    serving: JoinHandle<()>,
}

impl Model {
    /// Serves the script on a free port of the loopback interface.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn start(script: Script) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let model = Self::listen(any, script).await;
        model.expect("there is a free port")
    }

    /// Serves the script on this address.
    ///
    /// # Errors
    /// Where it can't be had.
    pub async fn listen(address: SocketAddr, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let record = Record::new();
        let desk = Arc::new(Desk::new(script, record.clone()));
        Ok(Self {
            address,
            record,
            serving: tokio::spawn(serve(listener, desk)),
        })
    }

    /// What clients are told: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All that it was asked so far.
    pub fn record(&self) -> Vec<Exchange> {
        self.record.exchanges()
    }

    /// Waits for the request with this number, from 1.
    pub async fn request(&self, number: usize) -> Exchange {
        self.record.wait(number, |_| true).await
    }

    /// Waits until the answer to the request with this number is finished.
    pub async fn answered(&self, number: usize) -> Exchange {
        let is_over = |exchange: &Exchange| exchange.ended_us.is_some();
        self.record.wait(number, is_over).await
    }

    /// Waits until so many tokens of the answer to the request with this number
    /// have been sent.
    pub async fn said(&self, number: usize, tokens: usize) -> Exchange {
        let has_said = |exchange: &Exchange| exchange.tokens >= tokens;
        self.record.wait(number, has_said).await
    }

    /// Waits until the client of the request with this number has gone away from
    /// an unfinished answer.
    pub async fn left(&self, number: usize) -> Exchange {
        let has_left = |exchange: &Exchange| exchange.gone_us.is_some();
        self.record.wait(number, has_left).await
    }

    /// Serves until the program ends.
    pub async fn served(mut self) {
        // It accepts for ever, and is aborted only where `self` is dropped.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if let Ok((connection, _)) = listener.accept().await {
            connections.spawn(converse(connection, desk.clone()));
        }
    }
}

async fn converse(connection: TcpStream, desk: Arc<Desk>) {
    // A token is one write, which shall not wait for the next.
    let _ = connection.set_nodelay(true);
    let answer = service_fn(|request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    // An error is a client that went away, or one that was cut off.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(connection), answer)
        .await;
}
