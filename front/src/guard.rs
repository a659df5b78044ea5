//! A policy, enforced: who, from where, how much, how long.
//!
//! Order: 1 who is it, 2 did they mean it (CSRF), 3 is it small enough. Nothing of the body is read before that, so a
//! client that asked `Expect: 100-continue` hears the refusal instead of sending.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, HOST, ORIGIN},
};
use http_body_util::Limited;
use schema::caller::{self, Caller, Role};
use sqlx::PgPool;

use crate::{BodyLimit, Cache, Csrf, Gate, Policy, Problem, Time, Who, csrf};

/// Longest secret that is looked up: ours have 43 characters.
const SECRET_MAX_BYTES: usize = 512;

/// One route's policy with what it is checked against.
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    pub(crate) gate: Arc<Gate>,
}

/// Beside the [`Caller`] in the extensions: what they proved it with. It never shows itself.
#[derive(Clone)]
pub enum Credential {
    /// A bearer token.
    Token(Arc<str>),
    /// A session cookie.
    Session(Arc<str>),
}

type Admitted = Option<(Caller, Credential)>;

pub(crate) async fn enforce(State(rule): State<Arc<Rule>>, mut request: Request, next: Next) -> Response {
    let caller = match admit(&rule, request.method(), request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    if let Some((caller, credential)) = caller {
        if let Some(session) = caller.session {
            request.extensions_mut().insert(csrf::Token(rule.gate.csrf.token(session)));
        }
        request.extensions_mut().insert(credential);
        request.extensions_mut().insert(caller);
    }
    let request = match rule.policy.body {
        BodyLimit::Streaming => request,
        BodyLimit::Bytes(max) => {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            request.map(|body| axum::body::Body::new(Limited::new(body, max)))
        }
    };
    let mut response = match rule.policy.time {
        Time::MinimumRate => next.run(request).await,
        Time::Limit(limit) => match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => took_too_long(limit).into_response(),
        },
    };
    let keep = match rule.policy.cache {
        Cache::ByHandler => return response,
        Cache::NoStore => HeaderValue::from_static("no-store"),
        Cache::Immutable => HeaderValue::from_static("public, max-age=31536000, immutable"),
    };
    response.headers_mut().entry(CACHE_CONTROL).or_insert(keep);
    response
}

async fn admit(rule: &Rule, method: &Method, headers: &HeaderMap) -> Result<Admitted, Problem> {
    let caller = authenticate(rule, headers).await?;
    if rule.policy.csrf == Csrf::Checked && !is_safe(method) {
        prove_origin(&rule.gate, caller.as_ref().map(|(caller, _)| caller), headers)?;
    }
    if let BodyLimit::Bytes(max) = rule.policy.body {
        let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|told| told > max) {
            let detail = format!("The content may have {max} bytes.");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "content_too_large", detail));
        }
    }
    Ok(caller)
}

/// Who is it, and may they? A wrong credential is an error only where one is needed.
async fn authenticate(rule: &Rule, headers: &HeaderMap) -> Result<Admitted, Problem> {
    if matches!(rule.policy.who, Who::Anyone | Who::Grant) {
        return Ok(None);
    }
    let caller = match credential(&rule.gate, headers) {
        None => None,
        Some(credential) => credential.caller(&rule.gate.db).await?.map(|caller| (caller, credential)),
    };
    let allowed = match (rule.policy.who, caller.as_ref().map(|(caller, _)| caller.role)) {
        (Who::Visitor, _) => true,
        (_, None) => return Err(Problem::unauthorized()),
        (Who::Creator, Some(role)) => matches!(role, Role::Creator | Role::Label | Role::Admin),
        (Who::Admin, Some(role)) => role == Role::Admin,
        (_, Some(_)) => true,
    };
    if allowed { Ok(caller) } else { Err(Problem::forbidden("forbidden", "Your account's role doesn't allow this.")) }
}

/// A bearer token goes before a cookie: who sends one says knowingly who they are.
fn credential(gate: &Gate, headers: &HeaderMap) -> Option<Credential> {
    if headers.contains_key(AUTHORIZATION) {
        return bearer(headers).map(|token| Credential::Token(token.into()));
    }
    let secret = gate.cookies.secret(headers)?;
    (secret.len() <= SECRET_MAX_BYTES).then(|| Credential::Session(secret.into()))
}

impl Credential {
    /// Whose it is now: asked again while a long answer runs, it tells a revocation.
    ///
    /// # Errors
    /// Only the database's.
    pub async fn caller(&self, db: &PgPool) -> sqlx::Result<Option<Caller>> {
        match self {
            Self::Token(token) => caller::by_token(db, token).await,
            Self::Session(secret) => caller::by_session(db, secret).await,
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= SECRET_MAX_BYTES).then_some(token)
}

/// A browser sends cookies from any page; it tells the page's origin, and only our pages know the token.
fn prove_origin(gate: &Gate, caller: Option<&Caller>, headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(AUTHORIZATION) {
        return Ok(()); // a browser never adds this by itself
    }
    let foreign = || Problem::forbidden("foreign_origin", "This request comes from another site's page.");
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(foreign());
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().map_err(|_| foreign())?;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let named = origin.split_once("://").map(|(_, authority)| authority);
        if !gate.origins.iter().any(|ours| ours == origin) && (named.is_none() || named != host) {
            return Err(foreign());
        }
    }
    let Some(session) = caller.and_then(|caller| caller.session) else { return Ok(()) };
    let sent = headers.get(csrf::HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    if gate.csrf.holds(session, sent) {
        Ok(())
    } else {
        Err(Problem::forbidden("csrf", "The X-CSRF-Token header is missing or isn't this session's."))
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn took_too_long(limit: Duration) -> Problem {
    tracing::warn!(limit_ms = limit.as_millis() as u64, "a handler took too long");
    Problem::unavailable("This took too long; try again.", Duration::from_secs(1))
}
