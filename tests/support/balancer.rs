//! A balancer without stickiness: each connection goes to the next server in turn; one that is gone is passed over.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub struct Balancer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Balancer {
    /// Before the servers at these `host:port`.
    pub async fn start(servers: Vec<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (servers, turn) = (Arc::new(servers), AtomicUsize::new(0));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let first = turn.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(pass(client, Arc::clone(&servers), first));
            }
        });
        Self { address, accepting }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, servers: Arc<Vec<String>>, first: usize) {
    for n in 0..servers.len() {
        if let Ok(mut server) = TcpStream::connect(&servers[(first + n) % servers.len()]).await {
            // Whoever hangs up ends both sides; the test judges what was answered.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
