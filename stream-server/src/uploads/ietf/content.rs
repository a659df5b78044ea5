//! A request's content: what its fields say about it, and its way into the upload, with word of progress.

use std::{sync::Arc, time::Duration};

use crate::body::broken;
use axum::extract::Request;
use front::{Interim, Problem};
use futures_util::{StreamExt, stream};
use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use pipeline::{Append, AppendError, Appended, Ends, Engine, check::Check};
use schema::{Id, caller::Caller, upload::Upload};
use tokio::{select, sync::watch};

use super::{
    super::wire::{LENGTH, OFFSET},
    answers::{Answers, inconsistent},
    digests, fields,
};

/// The media type of a piece of an upload.
const PARTIAL: &str = "application/partial-upload";

/// Between two 104s that tell an offset. They spare a client a HEAD, they don't drive its progress bar.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What a request says about its content.
pub(super) struct Content {
    /// These are the upload's last bytes.
    pub(super) complete: bool,
    /// How many, where that is said.
    pub(super) announced: Option<u64>,
    /// The upload's length, told or to be concluded.
    pub(super) length: Option<u64>,
    check: Option<Check>,
    /// A 104 to send as soon as this request is the upload's writer.
    pub(super) first: Option<(Interim, HeaderMap)>,
}

impl Content {
    /// Reads the fields of a request whose content begins at `offset`.
    ///
    /// # Errors
    /// 400 for lengths that disagree and digests that nothing has, 413 for what passes the limit by its own account.
    pub(super) fn said(answers: &Answers, headers: &HeaderMap, offset: u64, complete: bool) -> Result<Self, Problem> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        let (told, end) = (fields::count(headers, &LENGTH), announced.map(|n| offset.saturating_add(n)));
        if let (Some(told), Some(end), true) = (told, end, complete)
            && told != end
        {
            return Err(inconsistent(format!("Upload-Length says {told}, but this content ends at {end}.")));
        }
        if told.max(end).is_some_and(|n| n > answers.max_bytes) {
            return Err(answers.too_large());
        }
        let check = digests::check(headers)?;
        let concluded = end.filter(|_| complete);
        Ok(Self { complete, announced, length: told.or(concluded), check, first: None })
    }

    /// The content into the upload, at `offset`. Who knows them hears 104s of what is durable by now.
    pub(super) async fn send(
        self,
        answers: &Answers,
        engine: &Arc<Engine>,
        caller: &Caller,
        id: Id<Upload>,
        offset: u64,
        request: Request,
    ) -> Result<Appended, AppendError> {
        let interim = request.extensions().get::<Interim>().filter(|_| answers.version.knows_progress()).cloned();
        let (tell, told) = watch::channel(offset);
        let append = Append {
            offset,
            announced: self.announced,
            ends: if self.complete { Ends::Yes } else { Ends::No },
            length: self.length,
            check: self.check,
            committed: interim.is_some().then_some(tell),
        };
        // Whoever knows where the upload is may ask at once how much is there. So it's told by the one who then can be stopped:
        // the engine asks for the first frame when it holds the lease.
        let first = self.first;
        let told_first = stream::once(async move {
            if let Some((interim, place)) = first {
                // Too late is no loss: the final answer tells it as well.
                let _ = interim.send(&place).await;
            }
        });
        let frames = request.into_body().into_data_stream().map(|f| f.map_err(broken));
        let frames = Box::pin(told_first.filter_map(async |()| None).chain(frames));
        let appended = Box::pin(engine.append(caller.account, id, append, frames));
        let Some(interim) = interim else { return appended.await };
        select! {
            appended = appended => appended,                          // ends the other, which holds nothing
            never = tell_progress(answers, &interim, told) => match never {},
        }
    }
}

/// Offers the durable offset whenever it has moved, and waits for no reader.
async fn tell_progress(
    answers: &Answers,
    interim: &Interim,
    mut told: watch::Receiver<u64>,
) -> std::convert::Infallible {
    let echo = answers.version.echo();
    while told.changed().await.is_ok() {
        let offset = (OFFSET, HeaderValue::from(*told.borrow_and_update()));
        interim.offer(&echo.clone().into_iter().chain([offset]).collect());
        tokio::time::sleep(PROGRESS_EVERY).await;
    }
    std::future::pending().await
}

/// Is the content labelled as a piece of an upload?
pub(super) fn is_partial(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).and_then(|t| t.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(PARTIAL))
}
