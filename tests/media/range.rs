//! `Range`, `If-Range`, validators and HEAD on what is immutable.

use reqwest::{
    Method, Response,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE},
};

use super::Shelf;
use crate::support::player;

async fn ranged(shelf: &Shelf, range: &str) -> Response {
    shelf.ask(Method::GET, &shelf.segment()).header(RANGE, range).send().await.unwrap()
}

#[tokio::test]
async fn a_range_is_that_part_of_the_whole() {
    let shelf = Shelf::start().await;
    let whole = player::bytes(&shelf.app, &shelf.segment()).await;
    let len = whole.len();
    let cases = [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=100-299".to_owned(), 100..300),
        (format!("bytes={}-", len - 7), len - 7..len),
        (format!("bytes=5-{}", len * 2), 5..len),
        ("bytes=-10".to_owned(), len - 10..len),
        (format!("bytes=-{}", len * 2), 0..len),
    ];
    for (range, part) in cases {
        let answer = ranged(&shelf, &range).await;
        assert_eq!(answer.status(), 206, "{range}");
        assert_eq!(answer.headers()[CONTENT_RANGE], format!("bytes {}-{}/{len}", part.start, part.end - 1));
        assert_eq!(answer.headers()[CONTENT_LENGTH], part.len().to_string());
        assert_eq!(answer.bytes().await.unwrap(), whole[part], "{range}");
    }
    for range in ["bytes=9-3", "bytes=x", "lines=0-1"] {
        let answer = ranged(&shelf, range).await;
        assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (200, len), "{range} is ignored");
    }
    for range in [format!("bytes={len}-"), format!("bytes={}-{}", len + 5, len + 9), "bytes=-0".to_owned()] {
        let answer = ranged(&shelf, &range).await;
        assert_eq!(answer.status(), 416, "{range}");
        assert_eq!(answer.headers()[CONTENT_RANGE], format!("bytes */{len}"));
    }
}

#[tokio::test]
async fn if_range_gives_the_part_only_of_what_the_client_has() {
    let shelf = Shelf::start().await;
    let etag = player::get(&shelf.app, &shelf.segment()).await.headers()[ETAG].clone();
    let ask = async |tag: &str| {
        let asked = shelf.ask(Method::GET, &shelf.segment()).header(RANGE, "bytes=0-9").header(IF_RANGE, tag);
        asked.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(etag.to_str().unwrap()).await, 206);
    assert_eq!(ask("\"of something else\"").await, 200);
    assert_eq!(ask(&format!("W/{}", etag.to_str().unwrap())).await, 200, "a weak one doesn't do");
}

#[tokio::test]
async fn what_the_client_has_isnt_sent_again() {
    let shelf = Shelf::start().await;
    for path in [shelf.segment(), shelf.list.init(), shelf.list.path.clone(), shelf.entry.clone()] {
        let first = player::get(&shelf.app, &path).await;
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert!(etag.starts_with('"') && etag.len() > 16, "{etag}");
        for tags in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            let again = shelf.ask(Method::GET, &path).header(IF_NONE_MATCH, &tags).send().await.unwrap();
            assert_eq!((again.status().as_u16(), again.headers()[ETAG].to_str().unwrap()), (304, &*etag), "{path}");
            assert_eq!(again.headers()["cache-control"], first.headers()["cache-control"]);
            let len = again.headers().get(CONTENT_LENGTH).cloned();
            assert!(len.is_none() || len == first.headers().get(CONTENT_LENGTH).cloned(), "{len:?} of {path}");
            assert!(again.bytes().await.unwrap().is_empty());
        }
        let other = shelf.ask(Method::GET, &path).header(IF_NONE_MATCH, "\"x\"").send().await.unwrap();
        assert_eq!(other.status(), 200);
    }
}

#[tokio::test]
async fn head_tells_what_get_would() {
    let shelf = Shelf::start().await;
    for path in [shelf.segment(), shelf.list.init(), shelf.list.path.clone(), shelf.entry.clone()] {
        let (got, head) = (player::get(&shelf.app, &path).await, player::ask(&shelf.app, Method::HEAD, &path).await);
        assert_eq!(head.status(), 200);
        for name in ["content-length", "content-type", "etag", "cache-control", "accept-ranges"] {
            assert_eq!(head.headers().get(name), got.headers().get(name), "{name} of {path}");
        }
        assert_eq!(head.headers()[CONTENT_LENGTH], got.bytes().await.unwrap().len().to_string());
        assert!(head.bytes().await.unwrap().is_empty());
    }
    let ranged = shelf.ask(Method::HEAD, &shelf.segment()).header(RANGE, "bytes=0-9").send().await.unwrap();
    assert!([200, 206].contains(&ranged.status().as_u16()));
    assert_eq!(ranged.headers()[ACCEPT_RANGES], "bytes");
    let refused = player::ask(&shelf.app, Method::HEAD, &shelf.entry.replace(shelf.grant(), "x")).await;
    assert_eq!(refused.status(), 403);
}
