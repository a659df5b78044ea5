//! Request to page. Every page carries the same headers; what they allow is the whole of what a page may do.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use front::accept::Peer;
use schema::caller::Caller;

use super::{Pages, assets, model, sql};
use crate::accounts::flow;

/// Scripts, styles, pictures, sound and requests from here only; `blob:` is how a script feeds an `<audio>`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Tracks in the list that the server renders; the script's list goes on from there.
const ROWS: i64 = 50;

/// Upload, library, player.
#[utoipa::path(get, path = "/", tag = "pages", responses(
    (status = 200, description = "The page", content_type = "text/html"),
    (status = 303, description = "To the sign-in page")))]
pub(crate) async fn home(
    State(pages): State<Pages>,
    caller: Option<Extension<Caller>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let (caller, cookie) = match caller {
        Some(Extension(caller)) => (caller, None),
        None => match at_home(&pages, peer, &headers).await {
            Some((caller, cookie)) => (caller, Some(cookie)),
            None => return Redirect::to("/sign-in").into_response(),
        },
    };
    let token = caller.session.map(|session| pages.csrf.token(session)).unwrap_or_default();
    match sql::tracks_of(&pages.db, caller.account, ROWS).await {
        Ok(rows) => {
            let mut answer = page(&model::Home { frame: frame("Your tracks", token), rows });
            if let Some(cookie) = cookie {
                answer.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            answer
        }
        Err(error) => {
            tracing::error!(%error, "the home page's list can't be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// The owner, signed in for having opened the page on their own machine.
async fn at_home(pages: &Pages, peer: Option<Extension<Peer>>, headers: &HeaderMap) -> Option<(Caller, HeaderValue)> {
    let Extension(Peer(peer)) = peer?;
    match flow::sign_in_at_home(&pages.accounts, peer.ip(), headers).await {
        Ok(signed_in) => signed_in,
        Err(error) => {
            tracing::error!(%error, "the owner can't be signed in");
            None
        }
    }
}

/// What `/sign-in` is told by whoever refused the last try.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Tried {
    failed: Option<String>,
}

/// `GET /sign-in`, and `GET /sign-in?failed` after a wrong token. The form posts `token` and `csrf` to `/sign-in`.
#[utoipa::path(get, path = "/sign-in", tag = "pages", responses((status = 200, content_type = "text/html")))]
pub(crate) async fn sign_in(Query(tried): Query<Tried>) -> Response {
    page(&model::SignIn { frame: frame("Sign in", String::new()), has_failed: tried.failed.is_some() })
}

fn frame(title: &'static str, csrf: String) -> model::Frame {
    model::Frame { title, built: assets::built(), csrf }
}

fn page(template: &impl Template) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page can't be rendered");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // Not `no-referrer`: under that a form's POST says `Origin: null`, which is what a foreign page would say too.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // It holds a token and somebody's own list.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), Html(html)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_policy_of_a_page_knows_no_unsafe() {
        let answer = sign_in(Query(Tried::default())).await;
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
    }

    #[tokio::test]
    async fn a_wrong_token_is_told_so() {
        let body = |answer: Response| async {
            String::from_utf8(axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec())
        };
        let tried = Tried { failed: Some(String::new()) };
        assert!(body(sign_in(Query(tried)).await).await.unwrap().contains("role=\"alert\""));
        assert!(!body(sign_in(Query(Tried::default())).await).await.unwrap().contains("role=\"alert\""));
    }
}
