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

/// Runs itself again with 40 descriptors, clients and server together, so that accepting fails for want of one.
#[tokio::test]
async fn short_of_descriptors_it_waits_without_spinning_and_goes_on() {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if own.is_none_or(|own| own > 64) {
        let test = "front::caps::short_of_descriptors_it_waits_without_spinning_and_goes_on";
        let mut again = tokio::process::Command::new("prlimit");
        again.arg("--nofile=40").arg(std::env::current_exe().unwrap()).args(["--exact", test]);
        let output = again.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let server = Server::start(vec![hello()], Limits { first_byte: Duration::from_secs(60), ..quick() }).await;
    // Opened while there are descriptors.
    let stat = std::fs::File::open("/proc/self/stat").unwrap();
    let ticks = || -> u64 {
        let mut text = [0; 1024];
        let n = std::os::unix::fs::FileExt::read_at(&stat, &mut text, 0).unwrap();
        let fields = String::from_utf8_lossy(&text[..n]).rsplit(") ").next().unwrap().to_owned();
        fields.split(' ').skip(11).take(2).map(|time| time.parse::<u64>().unwrap()).sum()
    };
    let mut clients = vec![];
    while let Ok(client) = TcpStream::connect(server.address).await {
        clients.push(client);
        tokio::task::yield_now().await;
        assert!(clients.len() < 40);
    }
    let before = ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = ticks() - before;
    assert!(spent < 50, "{spent} of 200 ticks: it spins");
    clients.clear();
    let mut client = server.connect().await;
    client.say(GET).await;
    assert!(client.hear().await.ends_with("hello"));
}
