//! Frames as a request's body, without a copy, and again from the first byte for each new try.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use aws_sdk_s3::{
    error::BoxError,
    primitives::{ByteStream, SdkBody},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Handed to the connection at once: a line that moves this much within the stall limit is alive.
const SLICE_BYTES: usize = 128 << 10;

/// The body of a request that may be sent again.
pub(super) fn body(frames: &Arc<[Bytes]>) -> ByteStream {
    let frames = Arc::clone(frames);
    ByteStream::new(SdkBody::retryable(move || SdkBody::from_body_1_x(Frames::new(Arc::clone(&frames)))))
}

/// Bytes in all.
pub(super) fn length(frames: &[Bytes]) -> u64 {
    frames.iter().map(|frame| frame.len() as u64).sum()
}

struct Frames {
    frames: Arc<[Bytes]>,
    next: usize,
    /// What is left of the frame before `next`.
    open: Bytes,
    left: u64,
}

impl Frames {
    fn new(frames: Arc<[Bytes]>) -> Self {
        Self { left: length(&frames), next: 0, open: Bytes::new(), frames }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.open.is_empty() {
            let Some(frame) = self.frames.get(self.next).cloned() else { return Poll::Ready(None) };
            self.open = frame;
            self.next += 1;
        }
        let len = self.open.len().min(SLICE_BYTES);
        let slice = self.open.split_to(len);
        self.left -= len as u64;
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_try_sends_the_same_bytes_and_knows_their_number() {
        let parts = [Bytes::from_static(b"ab"), Bytes::new(), Bytes::from(vec![7; SLICE_BYTES + 1])];
        let frames: Arc<[Bytes]> = parts.to_vec().into();
        let first = body(&frames).into_inner();
        assert_eq!(first.content_length(), Some(SLICE_BYTES as u64 + 3));
        for body in [first.try_clone().unwrap(), first] {
            let sent = ByteStream::new(body).collect().await.unwrap().into_bytes();
            assert_eq!(sent, parts.concat());
        }
    }

    #[test]
    fn nothing_is_copied() {
        let frame = Bytes::from(vec![1; 10]);
        let mut body = Frames::new(vec![frame.clone()].into());
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(sent))) = Pin::new(&mut body).poll_frame(&mut cx) else { panic!("no frame") };
        assert_eq!(sent.into_data().unwrap().as_ptr(), frame.as_ptr());
        assert!(body.is_end_stream());
    }
}
