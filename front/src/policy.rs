//! A route is data: where it is, what answers, and the policy that holds before anything answers.
//!
//! There is no way to a [`Route`] without a [`Policy`], and no default for one.

use std::time::Duration;

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter},
};
use http::Method;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody; nobody is asked who they are.
    Anyone,
    /// Everybody; who is signed in is known to the handler (`Option<Extension<Caller>>`).
    Visitor,
    /// Who is signed in.
    User,
    /// Who uploads: creator, label, admin.
    Creator,
    /// Who runs the place.
    Admin,
    /// Who holds a grant. The handler verifies it: its key isn't known here.
    Grant,
}

/// Must a write by cookie prove that our own page made it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Csrf {
    /// Yes: the token for a session, and no foreign `Origin` for anybody without a bearer token.
    Checked,
    /// No: the route is signed otherwise, or changes nothing.
    Exempt,
}

/// How much a request may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// At most so many bytes.
    Bytes(u64),
    /// The handler counts for itself while it streams.
    Streaming,
}

/// How long an answer may take to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// So long in all; then the work is dropped and the caller hears 503.
    Limit(Duration),
    /// As long as the body keeps the minimum rate, which the accept loop sees to.
    MinimumRate,
}

/// Who may keep the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Nobody.
    NoStore,
    /// The handler says so itself.
    ByHandler,
    /// Everybody for ever: the address changes with the content.
    Immutable,
}

/// What holds for one route.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Who may call.
    pub who: Who,
    /// Must a write by cookie be proven?
    pub csrf: Csrf,
    /// How much may come.
    pub body: BodyLimit,
    /// How long it may take.
    pub time: Time,
    /// Who may keep the answer.
    pub cache: Cache,
    /// May pages of other origins call it? Never with cookies.
    pub cors: bool,
}

/// One method of one path.
#[derive(Clone, Debug)]
pub struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) policy: Policy,
    pub(crate) handler: MethodRouter<()>,
}

impl Route {
    /// `path` in axum's notation (`/files/{id}`). A GET answers HEAD too, unless HEAD has a route of its own.
    ///
    /// # Panics
    /// For a method that isn't one of HTTP's own: a mistake of the program, seen at its start.
    pub fn on<H, T, S>(method: Method, path: &'static str, policy: Policy, state: S, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
        S: Clone + Send + Sync + 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a standard method");
        Self { method, path, policy, handler: axum::routing::on(filter, handler).with_state(state) }
    }

    /// Its method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Its path.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}
