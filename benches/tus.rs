//! A tus client that costs next to nothing: bytes go from the page cache to the socket, or at a pace.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::io::Errno;

use crate::server::Server;

/// How often a paced sender sends: often enough that a segment's bytes don't wait for the next turn.
const TURN: Duration = Duration::from_millis(5);

/// What a server said about a new upload.
pub struct Upload {
    pub path: String,
    pub track: String,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Creates an upload.
pub fn create(server: &Server, filename: &str, length: u64) -> anyhow::Result<Upload> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let name = STANDARD.encode(filename);
    let more = format!("Upload-Length: {length}\r\nUpload-Metadata: filename {name}\r\nContent-Length: 0\r\n");
    let mut socket = begin(server, "POST", "/files", &more)?;
    let answer = answer(&mut socket)?;
    ensure!(answer.status == 201, "POST said {}: {}", answer.status, answer.body);
    let location = answer.header("location").context("no Location")?;
    let path = location[location.find("/files/").context("not a path of /files")?..].to_owned();
    Ok(Upload { path, track: answer.header("millrace-track").unwrap_or_default().to_owned() })
}

/// Ends an upload.
pub fn delete(server: &Server, upload: &Upload) -> anyhow::Result<()> {
    answer(&mut begin(server, "DELETE", &upload.path, "Content-Length: 0\r\n")?)?;
    Ok(())
}

/// The whole file in one PATCH, as fast as the server takes it; from the first byte to the answer.
pub fn send(server: &Server, upload: &Upload, file: &File) -> anyhow::Result<Duration> {
    let length = file.metadata()?.len();
    send_pieces(server, upload, file, 0, length, length)
}

/// `length` bytes of the file from `start` on, `piece` of them in each PATCH, over one connection.
pub fn send_pieces(
    server: &Server,
    upload: &Upload,
    file: &File,
    start: u64,
    length: u64,
    piece: u64,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut socket = connect(server)?;
    for offset in (0..length).step_by(usize::try_from(piece)?) {
        let len = piece.min(length - offset);
        head_of_patch(&mut socket, server, upload, offset, len)?;
        let (mut at, end) = (start + offset, start + offset + len);
        while at < end {
            let count = usize::try_from(end - at)?.min(1 << 30);
            match rustix::fs::sendfile(&socket, file, Some(&mut at), count) {
                Ok(0) => bail!("the file is shorter than it was"),
                Ok(_) => {}
                // Whoever hangs up in the middle has said why.
                Err(Errno::PIPE | Errno::CONNRESET) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let answer = answer(&mut socket)?;
        ensure!(answer.status == 204, "PATCH said {}: {}", answer.status, answer.body);
    }
    Ok(begun.elapsed())
}

/// The bytes in one PATCH at `rate` bytes per second; when the first byte and the last were sent. `stop` cuts it short.
pub fn send_paced(
    server: &Server,
    upload: &Upload,
    bytes: &[u8],
    rate: u64,
    stop: &AtomicBool,
) -> anyhow::Result<Instant> {
    let mut socket = begin_patch(server, upload, bytes.len() as u64)?;
    let (begun, mut at) = (Instant::now(), 0);
    while at < bytes.len() {
        let due = usize::try_from((begun.elapsed() + TURN).as_millis() as u64 * rate / 1000)?.min(bytes.len());
        socket.write_all(&bytes[at..due])?;
        at = due;
        if stop.load(Ordering::Relaxed) {
            bail!("stopped");
        }
        thread::sleep(TURN);
    }
    let ended = Instant::now();
    let answer = answer(&mut socket)?;
    ensure!(answer.status == 204, "PATCH said {}: {}", answer.status, answer.body);
    Ok(ended)
}

fn begin_patch(server: &Server, upload: &Upload, length: u64) -> anyhow::Result<TcpStream> {
    let mut socket = connect(server)?;
    head_of_patch(&mut socket, server, upload, 0, length)?;
    Ok(socket)
}

fn head_of_patch(
    socket: &mut TcpStream,
    server: &Server,
    upload: &Upload,
    offset: u64,
    length: u64,
) -> anyhow::Result<()> {
    let more = format!(
        "Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\nContent-Length: {length}\r\n"
    );
    head(socket, server, "PATCH", &upload.path, &more)
}

fn begin(server: &Server, method: &str, path: &str, more: &str) -> anyhow::Result<TcpStream> {
    let mut socket = connect(server)?;
    head(&mut socket, server, method, path, &format!("Connection: close\r\n{more}"))?;
    Ok(socket)
}

fn connect(server: &Server) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect(&server.host)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// In one write: a head in pieces would be as many packets.
fn head(socket: &mut TcpStream, server: &Server, method: &str, path: &str, more: &str) -> anyhow::Result<()> {
    let token = server.token.as_ref().map_or_else(String::new, |t| format!("Authorization: Bearer {t}\r\n"));
    let host = &server.host;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nTus-Resumable: 1.0.0\r\n{token}{more}\r\n");
    Ok(socket.write_all(head.as_bytes())?)
}

fn answer(socket: &mut TcpStream) -> anyhow::Result<Answer> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
    let (mut headers, mut length) = (Vec::new(), None);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        let (name, value) = (name.to_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().ok();
        }
        headers.push((name, value));
    }
    let mut body = String::new();
    if status >= 400 {
        reader.take(length.unwrap_or(u64::MAX)).read_to_string(&mut body)?;
    }
    Ok(Answer { status, headers, body })
}
