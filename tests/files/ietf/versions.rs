//! The same upload in every iteration of the draft: what its fields are called and how its requests are answered.

use reqwest::{Method, RequestBuilder, Response};

use crate::support::{
    app::App,
    ietf::{PARTIAL, text},
    sound::noise,
    tus,
};

/// A version as a client names it, and what is different in it.
struct Iteration {
    named: Option<&'static str>,
    more: (&'static str, &'static str),
    last: (&'static str, &'static str),
    typed: bool,
    appended: u16,
    lifetime: &'static str,
}

const COMPLETE: (&str, &str) = ("upload-complete", "?1");
const OPEN: (&str, &str) = ("upload-complete", "?0");

fn iterations() -> Vec<Iteration> {
    let one =
        |named, typed, appended, lifetime| Iteration { named, more: OPEN, last: COMPLETE, typed, appended, lifetime };
    let first = Iteration {
        named: Some("3"),
        more: ("upload-incomplete", "?1"),
        last: ("upload-incomplete", "?0"),
        typed: false,
        appended: 201,
        lifetime: "expires",
    };
    vec![
        first,
        one(Some("4"), false, 201, "expires"),
        one(Some("5"), false, 201, "expires"),
        one(Some("6"), true, 201, "expires"),
        one(Some("7"), true, 204, "max-age"),
        one(Some("8"), true, 204, "max-age"),
        one(None, true, 204, "max-age"),
        one(Some("9"), true, 204, "max-age"),
        one(Some("10"), true, 204, "max-age"),
    ]
}

impl Iteration {
    fn request(&self, app: &App, method: Method, path: &str) -> RequestBuilder {
        let request = app.http.request(method, app.url(path)).bearer_auth(&app.token);
        match self.named {
            Some(named) => request.header("Upload-Draft-Interop-Version", named),
            None => request,
        }
    }

    fn append(&self, app: &App, path: &str, offset: usize, said: (&str, &str), bytes: &[u8]) -> RequestBuilder {
        let patch = self.request(app, Method::PATCH, path).header("Upload-Offset", offset).header(said.0, said.1);
        let patch = if self.typed { patch.header("Content-Type", PARTIAL) } else { patch };
        patch.body(bytes.to_vec())
    }

    /// What every answer carries: its version, if it is spoken, the offset, the limits, and completeness in its own words.
    fn assert_told(&self, answer: &Response, status: u16, offset: usize, said: (&str, &str)) {
        let named = self.named.unwrap_or("none");
        assert_eq!(answer.status(), status, "{named}");
        let echoed = self.named.filter(|named| *named != "10").unwrap_or_default();
        assert_eq!(text(answer, "upload-draft-interop-version"), echoed, "{named}");
        assert_eq!(text(answer, "upload-offset"), offset.to_string(), "{named}");
        assert_eq!(text(answer, said.0), said.1, "{named}");
        let limits = text(answer, "upload-limit");
        match status {
            200..300 => {
                assert!(limits.starts_with(&format!("max-size=2147483648, {}=", self.lifetime)), "{named}: {limits}")
            }
            _ => assert_eq!(limits, "max-size=2147483648", "{named}"),
        }
    }
}

#[tokio::test]
async fn a_file_in_three_requests() {
    let app = App::start().await;
    let bytes = noise(3000, 81);
    for spoken in iterations() {
        let post = spoken.request(&app, Method::POST, "/files").header(spoken.more.0, spoken.more.1);
        let answer = post.body(bytes[..1000].to_vec()).send().await.unwrap();
        spoken.assert_told(&answer, 201, 1000, spoken.more);
        let upload = tus::upload(&answer);
        let answer = spoken.append(&app, &upload.path, 1000, spoken.more, &bytes[1000..2000]).send().await.unwrap();
        spoken.assert_told(&answer, spoken.appended, 2000, spoken.more);
        let head = spoken.request(&app, Method::HEAD, &upload.path).send().await.unwrap();
        spoken.assert_told(&head, 204, 2000, spoken.more);
        let wrong = spoken.append(&app, &upload.path, 5, spoken.more, b"x").send().await.unwrap();
        spoken.assert_told(&wrong, 409, 2000, spoken.more);
        let answer = spoken.append(&app, &upload.path, 2000, spoken.last, &bytes[2000..]).send().await.unwrap();
        spoken.assert_told(&answer, 201, 3000, spoken.last);
        let head = spoken.request(&app, Method::HEAD, &upload.path).send().await.unwrap();
        spoken.assert_told(&head, 204, 3000, spoken.last);
        let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
        assert_eq!(track["sha256"], tus::sha256(&bytes));
        let gone = spoken.request(&app, Method::HEAD, "/files/nonsense").send().await.unwrap();
        let echoed = spoken.named.filter(|named| *named != "10").unwrap_or_default();
        assert_eq!((gone.status().as_u16(), text(&gone, "upload-draft-interop-version")), (404, echoed));
    }
    app.until_clean().await;
}

#[tokio::test]
async fn the_media_type_of_an_append_is_asked_since_interop_6() {
    let app = App::start().await;
    for spoken in iterations() {
        let post = spoken.request(&app, Method::POST, "/files").header(spoken.more.0, spoken.more.1);
        let upload = tus::upload(&post.send().await.unwrap());
        for other in ["text/plain", "application/offset+octet-stream"] {
            let patch = spoken.request(&app, Method::PATCH, &upload.path).header("Upload-Offset", "0");
            let patch = patch.header(spoken.more.0, spoken.more.1).header("Content-Type", other);
            let answer = patch.body("").send().await.unwrap();
            assert_eq!(answer.status(), if spoken.typed { 415 } else { 201 }, "{:?} {other}", spoken.named);
        }
    }
}

#[tokio::test]
async fn silence_about_completeness_is_read_as_each_iteration_has_it() {
    let app = App::start().await;
    for spoken in iterations() {
        let post = spoken.request(&app, Method::POST, "/files");
        assert_eq!(post.send().await.unwrap().status(), if spoken.named.is_some() { 400 } else { 412 });
        let post = spoken.request(&app, Method::POST, "/files").header(spoken.more.0, spoken.more.1);
        let upload = tus::upload(&post.send().await.unwrap());
        let patch = spoken.request(&app, Method::PATCH, &upload.path).header("Upload-Offset", "0");
        let answer = patch.header("Content-Type", PARTIAL).body("hello").send().await.unwrap();
        let complete = ("upload-incomplete", "?0");
        match spoken.named {
            Some("3") => spoken.assert_told(&answer, 201, 5, complete),
            Some("4" | "5" | "6") => spoken.assert_told(&answer, 201, 5, OPEN),
            _ => assert_eq!(answer.status(), 400, "{:?}", spoken.named),
        }
    }
}

#[tokio::test]
async fn the_older_ones_refuse_a_delete_that_tells_an_offset() {
    let app = App::start().await;
    for spoken in iterations() {
        let post = spoken.request(&app, Method::POST, "/files").header(spoken.more.0, spoken.more.1);
        let upload = tus::upload(&post.send().await.unwrap());
        let delete = spoken.request(&app, Method::DELETE, &upload.path).header("Upload-Offset", "0");
        let refused = matches!(spoken.named, Some("3" | "4" | "5" | "6"));
        assert_eq!(delete.send().await.unwrap().status(), if refused { 400 } else { 204 }, "{:?}", spoken.named);
    }
}

#[tokio::test]
async fn the_first_iteration_is_understood_without_its_number() {
    let app = App::start().await;
    let post = app.post("/files").header("Upload-Incomplete", "?0").body("hello");
    let answer = post.send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(["upload-incomplete", "upload-complete"].map(|name| text(&answer, name)), ["?0", ""]);
}
