//! The socket as hyper sees it: what was read before hyper began comes first, and the watch hears of every byte.
//!
//! A close with unread bytes in the socket would make the kernel send a reset, and the client would lose the answer
//! that explains the close (413, 409). So after our end is shut, what still comes is read and thrown away for a moment.
//! The place for raw interim answers: hyper flushes only when its own buffer is empty.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::watch::Watch;

/// What one look at a lingering socket throws away.
const DISCARD_BYTES: usize = 16 * 1024;

pub(super) struct Io {
    stream: TcpStream,
    begun: Bytes,
    watch: Arc<Watch>,
    shut: bool,
}

impl Io {
    pub(super) fn new(stream: TcpStream, begun: Bytes, watch: Arc<Watch>) -> Self {
        Self { stream, begun, watch, shut: false }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.begun.is_empty() {
            let n = self.begun.len().min(buf.remaining());
            buf.put_slice(&self.begun[..n]);
            self.begun.advance(n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.watch.read(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.report(&poll);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.report(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
        }
        if !self.watch.closed(Instant::now()) {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; DISCARD_BYTES];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())), // the client closed too, or is gone
            }
        }
    }
}

impl Io {
    fn report(&self, poll: &Poll<io::Result<usize>>) {
        match poll {
            Poll::Ready(Ok(n)) => self.watch.wrote(Instant::now(), *n),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.blocked(Instant::now()),
        }
    }
}
