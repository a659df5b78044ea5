//! How many connections there may be.

use ::front::accept::Limits;

use super::*;

const GET: &str = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn an_address_has_so_many_places_and_gets_them_back() {
    let server = Server::start(vec![hello()], Limits { connections_per_address: 2, ..quick() }).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    for client in [&mut one, &mut two] {
        client.say(GET).await;
        assert!(client.hear().await.ends_with("hello"));
    }
    assert!(server.connect().await.time_to_end().await < Duration::from_millis(500), "refused at once");
    one.say(&GET.replace("Host: a", "Connection: close\r\nHost: a")).await;
    one.hear().await;
    one.time_to_end().await;
    let mut three = server.connect().await;
    three.say(GET).await;
    assert!(three.hear().await.ends_with("hello"));
}

#[tokio::test]
async fn above_the_total_a_client_waits_and_isnt_refused() {
    let server = Server::start(vec![hello()], Limits { connections: 1, ..quick() }).await;
    let mut first = server.connect().await;
    first.say(GET).await;
    first.hear().await;
    let mut second = server.connect().await;
    second.say(GET).await;
    let mut byte = [0; 1];
    assert!(timeout(Duration::from_millis(300), second.0.peek(&mut byte)).await.is_err(), "no place yet");
    drop(first);
    assert!(second.hear().await.ends_with("hello"));
}
