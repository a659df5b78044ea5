//! Faults, as rules: which requests, which of them in turn, and what happens instead.
//!
//! The first rule that wants a request has it; no other sees it. Every rule counts what it struck, so that a test can
//! prove that its fault was there. What is held waits for `release`, or for `heal`.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::call::{Call, Op};

/// An answer that the store didn't give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub code: &'static str,
}

impl Answer {
    pub const SLOW_DOWN: Self = Self { status: 503, code: "SlowDown" };
    pub const INTERNAL_ERROR: Self = Self { status: 500, code: "InternalError" };
    /// The status says success, the body says failure.
    pub const ERROR_IN_200: Self = Self { status: 200, code: "InternalError" };
    pub const NO_SUCH_UPLOAD: Self = Self { status: 404, code: "NoSuchUpload" };
    pub const INVALID_PART: Self = Self { status: 400, code: "InvalidPart" };
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// This answer; the store never hears of the request.
    Answer(Answer),
    /// The store does it; then this answer.
    AnswerAfter(Answer),
    /// The connection is reset; the store never hears of the request.
    Drop,
    /// The store gets so many bytes of the body, then both connections are reset.
    Cut { after: u64 },
    /// The store does it; then the connection is reset.
    DropAnswer,
    /// Nothing, for ever.
    Hang,
    /// The store does it; then nothing, for ever.
    HangAnswer,
    /// The bodies of request and answer come at this pace.
    Slow { bytes_per_s: usize },
    /// What arrives is shorter: the store keeps, and tells the digests of, the first bytes only. On a GET, the answer is.
    Truncate { keep: u64 },
    /// One bit differs in what arrives. The store tells the digests of what it got. On a GET, the answer differs.
    FlipBit { at: u64 },
    /// The store takes it, tells the right digests, and keeps something else. In memory only.
    Rot { at: u64 },
    /// The whole request is taken, and reaches the store once released, even if the client is gone by then.
    Hold,
    /// The store does it; the answer waits until released.
    HoldAnswer,
}

/// Which requests, and what to do with them.
#[derive(Clone, Debug)]
pub struct Rule {
    op: Option<Op>,
    part: Option<u64>,
    key: String,
    skip: u64,
    every: u64,
    times: u64,
    action: Action,
}

impl Rule {
    /// Every request of this kind, for ever.
    pub fn on(op: Op, action: Action) -> Self {
        Self { op: Some(op), ..Self::any(action) }
    }

    /// Every request, for ever.
    pub fn any(action: Action) -> Self {
        Self { op: None, part: None, key: String::new(), skip: 0, every: 1, times: u64::MAX, action }
    }

    /// Only of this part.
    #[must_use]
    pub fn part(self, number: u64) -> Self {
        Self { part: Some(number), ..self }
    }

    /// Only where the key has this text.
    #[must_use]
    pub fn key(self, text: &str) -> Self {
        Self { key: text.to_owned(), ..self }
    }

    /// So many pass first.
    #[must_use]
    pub fn skip(self, requests: u64) -> Self {
        Self { skip: requests, ..self }
    }

    /// Then one in `k`, the first of them included.
    #[must_use]
    pub fn one_in(self, k: u64) -> Self {
        Self { every: k.max(1), ..self }
    }

    /// And only so often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// And only once.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// What it does to which requests, in two words for a report.
    pub fn name(&self) -> String {
        let action = format!("{:?}", self.action);
        let action = action.split([' ', '(']).next().unwrap_or_default();
        let action = if let Action::Answer(answer) = &self.action { answer.code } else { action };
        self.op.map_or_else(|| action.to_owned(), |op| format!("{op:?} {action}"))
    }

    fn wants(&self, call: &Call) -> bool {
        self.op.is_none_or(|op| op == call.op)
            && self.part.is_none_or(|part| Some(part) == call.part())
            && call.key.contains(&self.key)
    }
}

/// A rule at work.
#[derive(Clone)]
pub struct Armed(Arc<Inner>);

struct Inner {
    rule: Rule,
    seen: Mutex<u64>,
    hits: watch::Sender<u64>,
    released: watch::Sender<bool>,
}

impl Armed {
    /// Requests struck so far.
    pub fn hits(&self) -> u64 {
        *self.0.hits.borrow()
    }

    /// Returns once so many have been struck.
    pub async fn until_hit(&self, times: u64) {
        self.0.hits.subscribe().wait_for(|hits| *hits >= times).await.expect("the rule is here");
    }

    /// Lets go what is held, now and later.
    pub fn release(&self) {
        self.0.released.send_replace(true);
    }

    pub fn rule(&self) -> &Rule {
        &self.0.rule
    }

    pub(super) fn action(&self) -> &Action {
        &self.0.rule.action
    }

    pub(super) async fn released(&self) {
        self.0.released.subscribe().wait_for(|released| *released).await.expect("the rule is here");
    }

    fn strikes(&self, call: &Call) -> bool {
        let rule = &self.0.rule;
        if !rule.wants(call) {
            return false;
        }
        let mut seen = self.0.seen.lock().expect("nothing panics while it counts");
        let turn = seen.checked_sub(rule.skip);
        *seen += 1;
        let due = turn.is_some_and(|turn| turn % rule.every == 0) && self.hits() < rule.times;
        if due {
            self.0.hits.send_modify(|hits| *hits += 1);
        }
        due
    }
}

/// The rules of one endpoint.
#[derive(Default)]
pub struct Faults(Mutex<Vec<Armed>>);

impl Faults {
    pub fn add(&self, rule: Rule) -> Armed {
        let inner =
            Inner { rule, seen: Mutex::new(0), hits: watch::Sender::new(0), released: watch::Sender::new(false) };
        let armed = Armed(Arc::new(inner));
        self.lock().push(armed.clone());
        armed
    }

    /// All rules go, and everything held is let go. What hangs goes on hanging.
    pub fn heal(&self) {
        self.lock().drain(..).for_each(|armed| armed.release());
    }

    /// These rules go; what they hold is let go.
    pub fn drop_rules(&self, gone: &[Armed]) {
        self.lock().retain(|armed| !gone.iter().any(|other| Arc::ptr_eq(&armed.0, &other.0)));
        gone.iter().for_each(Armed::release);
    }

    /// What is at work, for a report.
    pub fn describe(&self) -> String {
        let line = |armed: &Armed| format!("{:?}, hit {} times", armed.rule(), armed.hits());
        self.lock().iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn strike(&self, call: &Call) -> Option<Armed> {
        self.lock().iter().find(|armed| armed.strikes(call)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.lock().expect("nothing panics while it changes rules")
    }
}
