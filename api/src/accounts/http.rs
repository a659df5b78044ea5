//! Request → verb → response.

use axum::{Extension, Form, Json, extract::State, response::IntoResponse};
use front::{Policy, Problem, Route, Who, csrf};
use http::{
    HeaderMap, Method, StatusCode,
    header::{LOCATION, SET_COOKIE},
};
use schema::caller::{self, Caller};

use super::{
    Accounts,
    flow::{self, AccountError},
    model::{Login, LoginForm, Me},
};
use crate::policy::{read, write};

pub(crate) fn routes(accounts: Accounts) -> Vec<Route> {
    const LOGOUT: Policy = write(Who::User);
    vec![
        Route::on(Method::POST, "/api/v1/auth/login", write(Who::Anyone), accounts.clone(), login),
        Route::on(Method::POST, "/api/v1/auth/logout", LOGOUT, accounts.clone(), logout),
        Route::on(Method::GET, "/api/v1/me", read(Who::User), accounts.clone(), me),
        Route::on(Method::POST, "/sign-in", write(Who::Anyone), accounts, sign_in),
    ]
}

/// Changes a bearer token for a browser session.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "accounts", request_body = Login, responses(
    (status = 204, description = "Signed in; the session's cookie is set"),
    (status = 401, description = "This token doesn't hold")))]
pub(crate) async fn login(
    State(accounts): State<Accounts>,
    Json(login): Json<Login>,
) -> Result<impl IntoResponse, Problem> {
    let caller = caller::by_token(&accounts.db, &login.token).await?.ok_or_else(Problem::unauthorized)?;
    let (_, cookie) = flow::open_session(&accounts, &caller).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]))
}

/// The same for the sign-in page's form.
#[utoipa::path(post, path = "/sign-in", tag = "accounts",
    request_body(content = LoginForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "To the home page, signed in, or back to the form")))]
pub(crate) async fn sign_in(
    State(accounts): State<Accounts>,
    Form(form): Form<LoginForm>,
) -> Result<impl IntoResponse, Problem> {
    let mut headers = HeaderMap::new();
    let to = match caller::by_token(&accounts.db, form.token.trim()).await? {
        Some(caller) => {
            headers.insert(SET_COOKIE, flow::open_session(&accounts, &caller).await?.1);
            "/"
        }
        None => "/sign-in?failed",
    };
    Ok((StatusCode::SEE_OTHER, headers, [(LOCATION, to)]))
}

/// Ends the session for good.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "accounts", responses(
    (status = 204, description = "Signed out. A bearer token stays valid")))]
pub(crate) async fn logout(
    State(accounts): State<Accounts>,
    Extension(caller): Extension<Caller>,
) -> Result<impl IntoResponse, Problem> {
    if let Some(session) = caller.session {
        flow::close_session(&accounts, session).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, accounts.cookies.close())]))
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/v1/me", tag = "accounts", responses(
    (status = 200, body = Me), (status = 401, description = "Nobody")))]
pub(crate) async fn me(
    State(accounts): State<Accounts>,
    Extension(caller): Extension<Caller>,
    token: Option<Extension<csrf::Token>>,
) -> Result<Json<Me>, Problem> {
    let user = flow::user(&accounts.db, caller.account).await?.ok_or_else(Problem::unauthorized)?;
    let csrf_token = token.map(|Extension(csrf::Token(token))| token);
    Ok(Json(Me { id: user.id, name: user.name, role: user.role, is_owner: user.is_owner, csrf_token }))
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Db(error) => error.into(),
            AccountError::Name | AccountError::Role(_) => Self::bad_request("invalid", error.to_string()),
            AccountError::Missing(_) => Self::not_found(),
            AccountError::Random(_) | AccountError::File { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "an account's verb failed");
                Self::internal()
            }
        }
    }
}
