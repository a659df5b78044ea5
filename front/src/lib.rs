//! From the socket to a handler.
//!
//! `accept` owns the sockets: every wait on a client is bounded there. `router` owns what holds for all routes alike:
//! who may call, how much, how long, what is written to the log. A handler behind both sees a request that is allowed,
//! bounded and named, and answers with a value or a [`Problem`].
//! Absent: what any route means, and TLS, which a proxy in front ends.

pub mod accept;
pub mod client_address;
mod cors;
pub mod csrf;
mod guard;
mod log;
mod observe;
mod policy;
mod problem;
mod router;
pub mod session;

pub use accept::{Interim, TooLate};
pub use client_address::{ClientAddress, TrustedProxies};
pub use guard::Credential;
pub use observe::RequestId;
pub use policy::{BodyLimit, Cache, Csrf, Policy, Route, Time, Who};
pub use problem::Problem;
pub use router::{Gate, router};
