//! The access log and the counters of requests: one line each, at the end of the answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};

use crate::{
    RequestId,
    accept::{BodyFate, Peer},
    client_address::ClientAddress,
};

/// A path element longer than this is cut: a grant's signature begins behind its 32nd character, no id of ours is longer.
const ELEMENT_MAX: usize = 36;
/// What is kept of it.
const ELEMENT_KEPT: usize = 32;
/// A logged path ends here.
const PATH_MAX: usize = 256;

/// One request on its way into the log. Dropped without an answer, the client had left.
pub(crate) struct Line {
    method: Method,
    path: String,
    route: Option<String>,
    id: RequestId,
    client: Option<ClientAddress>,
    fate: BodyFate,
    began: Instant,
    status: Option<StatusCode>,
    sent: u64,
}

impl Line {
    pub(crate) fn new(
        request: &Request,
        id: &RequestId,
        route: Option<String>,
        fate: BodyFate,
        began: Instant,
    ) -> Self {
        let client = request.extensions().get::<ClientAddress>().copied();
        debug_assert!(client.is_some() || request.extensions().get::<Peer>().is_none());
        Self {
            method: request.method().clone(),
            path: without_signatures(request.uri().path()),
            route,
            id: id.clone(),
            client,
            fate,
            began,
            status: None,
            sent: 0,
        }
    }

    /// The head of the answer is known.
    pub(crate) fn answered(mut self, status: StatusCode) -> Self {
        metrics::histogram!("http_first_byte_seconds", "route" => self.label()).record(self.began.elapsed());
        self.status = Some(status);
        self
    }

    fn label(&self) -> String {
        self.route.clone().unwrap_or_else(|| "none".to_owned())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let status = self.status.map_or(0, |status| status.as_u16());
        let method = self.method.as_str().to_owned();
        metrics::counter!("http_requests_total", "method" => method, "route" => self.label(),
            "status" => status.to_string())
        .increment(1);
        tracing::info!(
            target: "access",
            {
                request.id = %self.id.0,
                client = self.client.map(|client| tracing::field::display(client.0)),
                method = self.method.as_str(),
                route = self.route.as_deref(),
                path = self.path,
                status,
                duration_ms = self.began.elapsed().as_secs_f64() * 1000.0,
                received = self.fate.received(),
                bytes = self.sent,
                cut = self.fate.cut().map(|cut| cut.name())
            },
            "answered"
        );
    }
}

/// An answer's body that counts, and writes the line when it ends.
pub(crate) struct Counted {
    body: Body,
    line: Line,
}

impl Counted {
    pub(crate) fn new(body: Body, line: Line) -> Self {
        Self { body, line }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &poll {
            self.line.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn without_signatures(path: &str) -> String {
    let mut kept = String::with_capacity(path.len().min(PATH_MAX));
    for (i, element) in path.split('/').enumerate() {
        if i > 0 {
            kept.push('/');
        }
        if element.len() > ELEMENT_MAX {
            kept.extend(element.chars().take(ELEMENT_KEPT));
            kept.push('~');
        } else {
            kept.push_str(element);
        }
        if kept.len() > PATH_MAX {
            kept.push('~');
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_in_a_path_loses_its_signature_and_an_id_stays_whole() {
        let (fields, mac) = ("F".repeat(32), "M".repeat(22));
        let id = "0198f1c2a7b47c1e9d0f112233445566";
        assert_eq!(
            without_signatures(&format!("/media/{fields}{mac}/{id}/index.m3u8")),
            format!("/media/{fields}~/{id}/index.m3u8")
        );
        assert!(without_signatures(&"/a".repeat(9000)).len() < 300);
    }
}
