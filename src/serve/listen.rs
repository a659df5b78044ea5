//! The two sockets.

use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Binds, or says who is in the way.
///
/// # Errors
/// The address can't be had.
pub async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is taken by another program: stop it, or choose another with --{flag}")
        }
        _ => anyhow::anyhow!("can't listen on {address} ({e}): choose another with --{flag}"),
    })
}
