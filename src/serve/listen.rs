//! The two sockets.

use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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

/// Answers until told to stop, then finishes what was begun.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(e) = served {
        tracing::error!("a listener ended: {e}");
    }
}
