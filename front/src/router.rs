//! The one place where routes become a router, and where their policies begin to hold.

use std::{collections::HashSet, sync::Arc};

use axum::{Router, middleware};
use sqlx::PgPool;

use crate::{
    Route, TrustedProxies, csrf, guard,
    guard::Rule,
    observe::{self, Outside},
    session::Cookies,
};

/// What every policy is checked against.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Where accounts, tokens and sessions are.
    pub db: PgPool,
    /// Makes and checks the tokens of our own pages.
    pub csrf: csrf::Key,
    /// How session cookies look.
    pub cookies: Cookies,
    /// The origins of our own pages, besides the host that the request names: `https://music.example`.
    pub origins: Vec<String>,
    /// Whose word about the client counts.
    pub proxies: TrustedProxies,
}

/// The router of `routes`. Everything else is 404, a wrong method 405, both as problems.
pub fn router(routes: Vec<Route>, gate: Gate) -> Router {
    let cors: HashSet<&'static str> = routes.iter().filter(|route| route.policy.cors).map(|route| route.path).collect();
    let outside = Arc::new(Outside { cors, proxies: gate.proxies.clone(), secure: gate.cookies.secure });
    let gate = Arc::new(gate);
    let router = routes.into_iter().fold(Router::new(), |router, route| {
        let rule = Arc::new(Rule { policy: route.policy, gate: Arc::clone(&gate) });
        // On the route, not on the path: another method, or none, isn't this policy's affair.
        let guarded = route.handler.route_layer(middleware::from_fn_with_state(rule, guard::enforce));
        router.route(route.path, guarded)
    });
    router.layer(middleware::from_fn_with_state(outside, observe::around))
}
