//! Signing in by a token, and what a browser's session may.

use http::Method;
use serde_json::json;

use super::{App, ORIGIN, told, v1};

async fn signed_in(app: &App, token: &str) -> String {
    let login = app.http.post(app.url("/api/v1/auth/login")).json(&json!({ "token": token }));
    let answer = login.send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict;") && cookie.contains("; Path=/;"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_reads_freely_writes_with_its_token_and_ends_for_good() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let cookie = signed_in(&app, &ada.token).await;
    let ask = |method: Method, path: &str| app.http.request(method, app.url(path)).header("cookie", &cookie);
    let (status, me) = told(ask(Method::GET, "/api/v1/me")).await;
    assert_eq!((status, &me["name"], &me["role"]), (200, &json!("Ada"), &json!("creator")));
    let csrf = me["csrf_token"].as_str().unwrap();

    let id = v1::ingesting(&app.db, ada.account, "T").await;
    let change = || ask(Method::PATCH, &format!("/api/v1/tracks/{id}")).json(&json!({ "title": "U" }));
    let refused = |told: (u16, serde_json::Value)| (told.0, told.1["code"].as_str().unwrap_or("").to_owned());
    assert_eq!(refused(told(change()).await), (403, "csrf".into()));
    let wrong = format!("{}{}", if csrf.starts_with('A') { 'B' } else { 'A' }, &csrf[1..]);
    assert_eq!(refused(told(change().header("x-csrf-token", wrong)).await), (403, "csrf".into()));
    let with = || change().header("x-csrf-token", csrf);
    for foreign in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(refused(told(with().header(foreign.0, foreign.1)).await), (403, "foreign_origin".into()));
    }
    let own = format!("http://{}", app.address);
    for origin in [ORIGIN, &own] {
        assert_eq!(told(with().header("origin", origin)).await.0, 200, "{origin}");
    }

    let logout = ask(Method::POST, "/api/v1/auth/logout").header("x-csrf-token", csrf).send().await.unwrap();
    assert_eq!(logout.status(), 204);
    assert!(logout.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(told(ask(Method::GET, "/api/v1/me")).await.0, 401, "wherever the cookie still is");
    assert_eq!(ada.get("/api/v1/me").await.0, 200, "the token lives on");
}

#[tokio::test]
async fn who_has_no_live_token_is_nobody() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let wrong = app.http.post(app.url("/api/v1/auth/login")).json(&json!({ "token": "wrong" }));
    assert_eq!(told(wrong).await.0, 401);
    for header in [None, Some("Bearer wrong"), Some("Bearer"), Some("Basic YTpi")] {
        let ask = app.http.get(app.url("/api/v1/me"));
        let answer = header.map_or(ask.try_clone().unwrap(), |h| ask.header("authorization", h)).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["www-authenticate"]),
            (401, &"Bearer".parse().unwrap())
        );
    }
    let cookie = signed_in(&app, &ada.token).await;
    sqlx::query("UPDATE sessions SET expires_at = now()").execute(&app.db).await.unwrap();
    assert_eq!(told(app.http.get(app.url("/api/v1/me")).header("cookie", cookie)).await.0, 401);
    sqlx::query("UPDATE api_tokens SET revoked_at = now()").execute(&app.db).await.unwrap();
    assert_eq!(ada.get("/api/v1/me").await.0, 401);
}

#[tokio::test]
async fn the_form_signs_in_from_our_own_page_only() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let form = |token: &str| {
        let form = app.http.post(app.url("/sign-in")).header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("csrf=&token={token}"))
    };
    let answer = form(&ada.token).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (303, &"/".parse().unwrap()));
    assert!(answer.headers().contains_key("set-cookie"));
    let answer = form("wrong").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (303, &"/sign-in?failed".parse().unwrap()));
    assert!(!answer.headers().contains_key("set-cookie"));
    assert_eq!(told(form(&ada.token).header("origin", "https://evil.example")).await.0, 403);
}
