//! The socket as hyper sees it: what was read before hyper began comes first, and the watch hears of every byte.
//!
//! A close with unread bytes in the socket would make the kernel send a reset, and the client would lose the answer
//! that explains the close (413, 409). So after our end is shut, what still comes is read and thrown away for a moment.
//! Interim answers are begun only in a flush, where hyper's own buffer is empty, and are finished before anything else.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
};

use super::{
    interim::{Line, Queued},
    reads::Reader,
    watch::Watch,
};

/// What one look at a lingering socket throws away.
const DISCARD_BYTES: usize = 16 * 1024;

pub(super) struct Io {
    stream: Take<TcpStream>,
    begun: Bytes,
    watch: Arc<Watch>,
    line: Arc<Line>,
    interim: Option<Queued>,
    shut: bool,
    reader: Arc<Reader>,
}

impl Io {
    pub(super) fn new(
        stream: TcpStream,
        begun: Bytes,
        watch: Arc<Watch>,
        line: Arc<Line>,
        reader: Arc<Reader>,
    ) -> Self {
        Self { stream: stream.take(0), begun, watch, line, interim: None, shut: false, reader }
    }

    fn socket(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.get_mut())
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
        let (before, most) = (buf.filled().len(), self.reader.most(buf.remaining()));
        self.stream.set_limit(most as u64);
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.watch.read(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => self.socket().poll_write(cx, buf),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.report(&poll);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = match self.poll_interim(cx) {
            Poll::Ready(Ok(())) => self.socket().poll_write_vectored(cx, bufs),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.report(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A client that doesn't read these isn't held to a pace: it may be busy sending, and the final answer asks soon enough.
        ready!(self.poll_interim(cx))?;
        while let Some(queued) = self.line.next(cx) {
            self.interim = Some(queued);
            ready!(self.poll_interim(cx))?;
        }
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(self.socket().poll_shutdown(cx))?;
            self.shut = true;
        }
        if !self.watch.closed(Instant::now()) {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; DISCARD_BYTES];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(self.socket().poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())), // the client closed too, or is gone
            }
        }
    }
}

impl Io {
    /// Finishes the interim answer that is begun, if one is.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(queued) = &mut self.interim {
            let n = ready!(Pin::new(self.stream.get_mut()).poll_write(cx, &queued.bytes))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.watch.wrote(Instant::now(), n);
            queued.bytes.advance(n);
            if queued.bytes.is_empty()
                && let Some(whole) = self.interim.take()
            {
                whole.sent();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn report(&self, poll: &Poll<io::Result<usize>>) {
        match poll {
            Poll::Ready(Ok(n)) => self.watch.wrote(Instant::now(), *n),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.blocked(Instant::now()),
        }
    }
}
