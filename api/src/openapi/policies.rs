//! What the routes' policies mean for the document: who may call, and the errors that follow from it.

use front::{Route, Who};
use http::Method;
use utoipa::{
    ToSchema,
    openapi::{
        Content, OpenApi, PathItem, Ref, RefOr, Response,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

/// The media type of every error.
const PROBLEM: &str = "application/problem+json";

/// What every error says (RFC 9457). Some have members besides.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is told; the front writes it")]
pub(super) struct Problem {
    /// A registered problem type, or `about:blank`.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// One sentence for a human.
    detail: String,
    /// A stable name in snake case.
    code: String,
    /// The request, as the log has it.
    request_id: String,
}

/// Tells of each operation who may call it, and the shape of its errors.
pub(super) fn tell(document: &mut OpenApi, routes: &[Route]) {
    let schemes = document.components.get_or_insert_default();
    schemes.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let cookie = ApiKeyValue::with_description("millrace_session", "With X-CSRF-Token on writes.");
    schemes.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for route in routes {
        let item = document.paths.paths.get_mut(route.path());
        if let Some(operation) = item.and_then(|item| by_method(item, route.method())) {
            callers(operation, route.policy().who);
        }
    }
    let operations = document.paths.paths.values_mut().flat_map(all);
    operations.for_each(shape_errors);
}

/// A grant is part of the address: who has that needs no more.
fn callers(operation: &mut Operation, who: Who) {
    if matches!(who, Who::Anyone | Who::Visitor | Who::Grant) {
        return;
    }
    let either = ["token", "session"].map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
    operation.security = Some(either.to_vec());
    expect(operation, "401", "Not signed in");
    if who != Who::User {
        expect(operation, "403", "Signed in as somebody who may not");
    }
}

/// What the handler's own word doesn't mention.
fn expect(operation: &mut Operation, status: &str, said: &str) {
    let responses = &mut operation.responses.responses;
    responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(Response::new(said)));
}

fn shape_errors(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.content.is_empty() && matches!(status.as_bytes().first(), Some(b'4' | b'5')) {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert(PROBLEM.to_owned(), RefOr::T(content));
        }
    }
}

fn by_method<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    let operation = match method.as_str() {
        "GET" => &mut item.get,
        "HEAD" => &mut item.head,
        "OPTIONS" => &mut item.options,
        "POST" => &mut item.post,
        "PUT" => &mut item.put,
        "PATCH" => &mut item.patch,
        "DELETE" => &mut item.delete,
        _ => return None,
    };
    operation.as_mut()
}

fn all(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, head, options, post, put, patch, delete, .. } = item;
    [get, head, options, post, put, patch, delete].into_iter().flatten()
}
