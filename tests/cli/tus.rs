//! A small tus server that fails on purpose. One thread per connection, one request per connection.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::door;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// What goes wrong with the next PATCH.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Takes so many bytes, keeps them, and hangs up.
    Cut(usize),
    /// Takes everything, and hangs up instead of answering.
    LoseAnswer,
    /// Takes so many bytes, keeps them, and then neither reads nor answers, until `released`.
    Stall(usize),
    /// Answers this without taking a byte.
    Answer(&'static str),
}

#[derive(Default)]
pub struct Upload {
    pub length: usize,
    pub bytes: Vec<u8>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Default)]
pub struct Seen {
    pub uploads: BTreeMap<String, Upload>,
    /// Method and path of each request.
    pub requests: Vec<String>,
    pub faults: VecDeque<Fault>,
    /// The next creations are answered with this.
    pub refuse_creations: VecDeque<&'static str>,
    /// Longest body that is let through.
    pub body_max: Option<usize>,
    /// What becomes of tracks: `ready` unless set.
    pub fate: Option<&'static str>,
    /// The digest that tracks tell, instead of the right one.
    pub sha256: Option<String>,
    /// The token that is asked for.
    pub token: Option<String>,
    /// Ends every stall.
    pub released: bool,
    /// Length of chunks; without one there is no chunk door.
    pub chunk_bytes: Option<usize>,
    /// What came by it, by upload.
    pub chunks: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
    /// So many chunks are taken; the others stand still until there is no such bound.
    pub pass: Option<usize>,
    /// Chunks under way, now and at most.
    pub under_way: (usize, usize),
    polls: BTreeMap<String, usize>,
    pub made: usize,
}

#[derive(Clone)]
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { url: format!("http://{}", listener.local_addr().unwrap()), seen: Arc::default() };
        let accepting = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = accepting.clone();
                // A client that hangs up is no failure of the server's.
                std::thread::spawn(move || drop(server.serve(stream)));
            }
        });
        server
    }

    pub fn with<T>(&self, f: impl FnOnce(&mut Seen) -> T) -> T {
        f(&mut self.seen.lock().unwrap())
    }

    pub fn count(&self, method: &str) -> usize {
        self.with(|seen| seen.requests.iter().filter(|r| r.starts_with(method)).count())
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut from = BufReader::new(stream.try_clone()?);
        let mut to = stream;
        let request = read_head(&mut from)?;
        let known = self.with(|seen| {
            seen.requests.push(format!("{} {}", request.method, request.path));
            let given = request.headers.get("authorization").cloned().unwrap_or_default();
            seen.token.as_ref().is_none_or(|token| given == format!("Bearer {token}"))
        });
        if !known {
            return answer(&mut to, "401 Unauthorized", &[], "");
        }
        if request.path.starts_with(door::PATH) {
            return door::serve(self, &request, &mut from, &mut to);
        }
        match request.method.as_str() {
            "POST" => self.create(&request, &mut to),
            "HEAD" => self.head(&request, &mut to),
            "PATCH" => self.patch(&request, &mut from, &mut to),
            "DELETE" => {
                self.with(|seen| seen.uploads.remove(&request.path));
                answer(&mut to, "204 No Content", &[], "")
            }
            _ => self.track(&request, &mut to),
        }
    }

    fn create(&self, request: &Request, to: &mut TcpStream) -> std::io::Result<()> {
        if let Some(status) = self.with(|seen| seen.refuse_creations.pop_front()) {
            return answer(to, status, &[], r#"{"code":"x","detail":"not now"}"#);
        }
        let pairs = request.headers["upload-metadata"].split(',').map(|pair| pair.split_once(' ').unwrap());
        let decoded = |v: &str| String::from_utf8(STANDARD.decode(v).unwrap()).unwrap();
        let metadata = pairs.map(|(key, value)| (key.to_owned(), decoded(value))).collect();
        let length = request.headers["upload-length"].parse().unwrap();
        let n = self.with(|seen| {
            seen.made += 1;
            let n = seen.made;
            seen.uploads.insert(format!("/files/{n}"), Upload { length, bytes: Vec::new(), metadata });
            n
        });
        // Another host, as a server behind a proxy may say: only the path counts.
        let headers =
            [("Location", format!("https://elsewhere.example/files/{n}")), ("Millrace-Track", format!("t{n}"))];
        answer(to, "201 Created", &headers, "")
    }

    fn head(&self, request: &Request, to: &mut TcpStream) -> std::io::Result<()> {
        match self.with(|seen| seen.uploads.get(&request.path).map(|upload| upload.bytes.len())) {
            Some(offset) => answer(to, "200 OK", &[("Upload-Offset", offset.to_string())], ""),
            None => answer(to, "404 Not Found", &[], ""),
        }
    }

    fn patch(&self, request: &Request, from: &mut impl Read, to: &mut TcpStream) -> std::io::Result<()> {
        let length: usize = request.headers["content-length"].parse().unwrap();
        let offset: usize = request.headers["upload-offset"].parse().unwrap();
        assert_eq!(request.headers["content-type"], "application/offset+octet-stream");
        let (fault, standing) = self.with(|seen| {
            let fits = seen.body_max.is_none_or(|max| length <= max);
            let fault = if fits { seen.faults.pop_front() } else { Some(Fault::Answer("413 Content Too Large")) };
            (fault, seen.uploads.get(&request.path).map(|upload| upload.bytes.len()))
        });
        let take = match fault {
            Some(Fault::Answer(status)) => {
                answer(to, status, &[], r#"{"code":"x","detail":"not now"}"#)?;
                // Closing over unread bytes resets the connection, and a reset may overtake the answer.
                to.shutdown(Shutdown::Write)?;
                return std::io::copy(from, &mut std::io::sink()).map(drop);
            }
            Some(Fault::Cut(n) | Fault::Stall(n)) => n.min(length),
            _ => length,
        };
        let Some(standing) = standing else { return answer(to, "404 Not Found", &[], "") };
        if standing != offset {
            return answer(to, "409 Conflict", &[("Upload-Offset", standing.to_string())], "");
        }
        let mut taken = 0;
        let mut buffer = vec![0; 64 << 10];
        while taken < take {
            let want = buffer.len().min(take - taken);
            let n = from.read(&mut buffer[..want])?;
            if n == 0 {
                return Ok(());
            }
            taken += n;
            self.with(|seen| seen.uploads.get_mut(&request.path).unwrap().bytes.extend_from_slice(&buffer[..n]));
        }
        match fault {
            Some(Fault::Cut(_) | Fault::LoseAnswer) => Ok(()),
            Some(Fault::Stall(_)) => {
                while !self.with(|seen| seen.released) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Ok(())
            }
            _ => answer(to, "204 No Content", &[("Upload-Offset", (offset + taken).to_string())], ""),
        }
    }

    /// Ingesting at the first look, then what is its fate.
    fn track(&self, request: &Request, to: &mut TcpStream) -> std::io::Result<()> {
        let Some(n) = request.path.strip_prefix("/api/v1/tracks/t") else {
            return answer(to, "404 Not Found", &[], "");
        };
        let body = self.with(|seen| {
            let upload = seen.uploads.get(&format!("/files/{n}"))?;
            let sha256 = seen.sha256.clone().unwrap_or_else(|| hex(&upload.bytes));
            let polls = seen.polls.entry(n.to_owned()).or_default();
            *polls += 1;
            let state = if *polls == 1 { "ingesting" } else { seen.fate.unwrap_or("ready") };
            let error = match state {
                "failed" => r#"{"code":"unsupported_media","detail":"it isn't audio"}"#,
                _ => "null",
            };
            let size = upload.bytes.len();
            let sha256 = if state == "ready" { format!("\"{sha256}\"") } else { "null".into() };
            Some(format!(
                r#"{{"id":"t{n}","state":"{state}","sha256":{sha256},"size":{size},"error":{error},"more":1}}"#
            ))
        });
        match body {
            Some(body) => answer(to, "200 OK", &[("Content-Type", "application/json".into())], &body),
            None => answer(to, "404 Not Found", &[], ""),
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_head(from: &mut impl BufRead) -> std::io::Result<Request> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => return Ok(Request { method, path, headers }),
        };
    }
}

pub fn answer(to: &mut TcpStream, status: &str, headers: &[(&str, String)], body: &str) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nTus-Resumable: 1.0.0\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !status.starts_with("204") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    to.write_all(format!("{head}\r\n{body}").as_bytes())?;
    to.flush()
}
