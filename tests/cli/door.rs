//! The chunk door of the small server. The next PUTs fail as its faults say.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use super::tus::{Fault, Request, Server, Upload, answer};

pub const PATH: &str = "/api/v1/uploads";

pub fn serve(server: &Server, request: &Request, from: &mut impl Read, to: &mut TcpStream) -> std::io::Result<()> {
    let Some(chunk_bytes) = server.with(|seen| seen.chunk_bytes) else {
        return answer(to, "404 Not Found", &[], "");
    };
    let length: usize = request.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let words: Vec<&str> = request.path.trim_start_matches(PATH).split('/').skip(1).collect();
    match (request.method.as_str(), words[..].first(), words.get(1), words.get(2)) {
        ("POST", None, ..) => {
            let mut body = vec![0; length];
            from.read_exact(&mut body)?;
            create(server, &serde_json::from_slice(&body).unwrap(), chunk_bytes, to)
        }
        ("GET", Some(n), ..) => tell(server, n, chunk_bytes, to),
        ("PUT", Some(n), Some(&"chunks"), Some(chunk)) => put(server, n, chunk.parse().unwrap(), length, from, to),
        ("POST", Some(n), Some(&"complete"), _) => {
            let stored = server.with(|seen| {
                let bytes = seen.chunks[*n].values().flatten().copied().collect::<Vec<u8>>();
                let upload = seen.uploads.get_mut(&format!("/files/{n}")).unwrap();
                upload.bytes = bytes;
                upload.bytes.len() == upload.length
            });
            answer(to, if stored { "200 OK" } else { "409 Conflict" }, &[], "{}")
        }
        ("DELETE", Some(n), ..) => {
            server.with(|seen| seen.chunks.remove(*n));
            answer(to, "204 No Content", &[], "")
        }
        _ => answer(to, "404 Not Found", &[], ""),
    }
}

fn create(server: &Server, wanted: &Value, chunk_bytes: usize, to: &mut TcpStream) -> std::io::Result<()> {
    let size = wanted["size"].as_u64().unwrap() as usize;
    let n = server.with(|seen| {
        seen.made += 1;
        let n = seen.made;
        seen.chunks.insert(n.to_string(), Default::default());
        seen.uploads.insert(format!("/files/{n}"), Upload { length: size, ..Default::default() });
        n
    });
    let count = size.div_ceil(chunk_bytes);
    let told =
        json!({ "id": n.to_string(), "track_id": format!("t{n}"), "chunk_size": chunk_bytes, "chunk_count": count });
    answer(to, "201 Created", &[], &told.to_string())
}

fn tell(server: &Server, n: &str, chunk_bytes: usize, to: &mut TcpStream) -> std::io::Result<()> {
    let told = server.with(|seen| {
        let chunks = seen.chunks.get(n)?;
        let ranges = chunks.iter().map(|(at, bytes)| (at * chunk_bytes, at * chunk_bytes + bytes.len()));
        Some(json!({ "state": "receiving", "received": ranges.collect::<Vec<_>>() }).to_string())
    });
    match told {
        Some(told) => answer(to, "200 OK", &[], &told),
        None => answer(to, "404 Not Found", &[], ""),
    }
}

fn put(
    server: &Server,
    upload: &str,
    chunk: usize,
    length: usize,
    from: &mut impl Read,
    to: &mut TcpStream,
) -> std::io::Result<()> {
    let fault = server.with(|seen| {
        seen.under_way.0 += 1;
        seen.under_way.1 = seen.under_way.1.max(seen.under_way.0);
        let fits = seen.body_max.is_none_or(|max| length <= max);
        if fits { seen.faults.pop_front() } else { Some(Fault::Answer("413 Content Too Large")) }
    });
    let done = put_one(server, (upload, chunk), length, fault, from, to);
    server.with(|seen| seen.under_way.0 -= 1);
    done
}

fn put_one(
    server: &Server,
    (upload, chunk): (&str, usize),
    length: usize,
    fault: Option<Fault>,
    from: &mut impl Read,
    to: &mut TcpStream,
) -> std::io::Result<()> {
    if let Some(Fault::Answer(status)) = fault {
        answer(to, status, &[("Retry-After", "1".into())], r#"{"code":"x","detail":"not now"}"#)?;
        to.shutdown(Shutdown::Write)?;
        return std::io::copy(from, &mut std::io::sink()).map(drop);
    }
    let mut bytes = vec![0; length];
    if let Some(Fault::Cut(n)) = fault {
        return from.read_exact(&mut bytes[..n.min(length)]);
    }
    while !server.with(|seen| passes(&mut seen.pass)) {
        if server.with(|seen| seen.released) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    from.read_exact(&mut bytes)?;
    let known = server.with(|seen| {
        let chunks = seen.chunks.get_mut(upload)?;
        assert!(chunks.insert(chunk, bytes).is_none(), "chunk {chunk} was sent twice");
        Some(())
    });
    match fault {
        _ if known.is_none() => answer(to, "404 Not Found", &[], ""),
        Some(Fault::LoseAnswer) => to.flush(),
        _ => answer(to, "204 No Content", &[], ""),
    }
}

fn passes(pass: &mut Option<usize>) -> bool {
    match pass {
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
        None => true,
    }
}
