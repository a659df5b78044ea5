//! An S3 that throws payloads away, in a process of its own: what is measured is who sends to it.
//!
//! Promise: it answers what uploads ask of S3, remembers what it was sent by length, and counts it. Parts are dropped inside
//!          the kernel and never copied to here, so this is nobody's bottleneck.
//! Kept:    objects put whole, for a while: servers keep notes in them, and the ends of requests that don't fill a part.
//!          Small ones have their checksum checked, since servers try out what a store does. What isn't kept reads as
//!          zeros of its length.
//! Absent:  signatures, MD5s, buckets (every name is one), copies inside the store.

mod answer;
mod head;
mod objects;

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use rustix::net::{RecvFlags, recv};

use self::{
    answer::Answer,
    head::{Body, Head},
    objects::Objects,
};

/// Bodies up to this are read whatever they are: notes and questions have less, the smallest payload here has a mebibyte.
const SMALL_BYTES: u64 = 256 << 10;
/// Objects up to this are kept: what is put whole is less than a part, or a part.
const KEPT_BYTES: u64 = 16 << 20;
/// What the kernel drops in one go.
const DROPPED_BYTES: usize = 1 << 20;
/// Of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What a large object reads as.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Serves until it is killed.
pub fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("ready: http://{}/", listener.local_addr()?);
    let objects = Arc::new(Objects::default());
    loop {
        let (stream, _) = listener.accept()?;
        let objects = Arc::clone(&objects);
        // Whoever hangs up in the middle has its own report of it.
        thread::spawn(move || drop(Connection::new(stream).serve(&objects)));
    }
}

/// A socket, and what was read of it beyond what was asked for.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    scratch: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        // Without it an answer waits for the next request's acknowledgement.
        let _ = stream.set_nodelay(true);
        Self { stream, read: Vec::new(), scratch: vec![0; DROPPED_BYTES] }
    }

    fn serve(mut self, objects: &Objects) -> io::Result<()> {
        while let Some(head) = self.head()? {
            if head.expects_continue {
                self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let body = self.body(&head)?;
            let answer = objects.answer(&head, body);
            self.send(&head, answer)?;
        }
        Ok(())
    }

    /// The next request's head; none after the last.
    fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = Head::of(&self.read[..end]).ok_or(io::ErrorKind::InvalidData)?;
                self.read.drain(..end + 4);
                return Ok(Some(head));
            }
            if self.read.len() > HEAD_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.more()? == 0 {
                return Ok(None);
            }
        }
    }

    /// All of the body: its bytes where it is small, its length where it isn't.
    fn body(&mut self, head: &Head) -> io::Result<Body> {
        let kept = if head.is_put_whole() { KEPT_BYTES } else { SMALL_BYTES };
        let bytes = match head.content_length {
            Some(length) if length > kept => {
                self.drop_bytes(length)?;
                return Ok(Body::Dropped(head.decoded_length.unwrap_or(length)));
            }
            Some(length) => self.exactly(usize::try_from(length).map_err(io::Error::other)?)?,
            None if head.is_chunked => self.chunks()?,
            None => Vec::new(),
        };
        let bytes = if head.is_aws_chunked { head::without_aws_chunks(&bytes) } else { bytes };
        Ok(if bytes.len() as u64 > kept { Body::Dropped(bytes.len() as u64) } else { Body::Kept(bytes) })
    }

    fn drop_bytes(&mut self, mut left: u64) -> io::Result<()> {
        let here = self.read.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.read.drain(..here);
        left -= here as u64;
        while left > 0 {
            let most = DROPPED_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
            // tcp(7): with MSG_TRUNC the bytes are discarded instead of copied.
            let (_, dropped) = recv(&self.stream, &mut self.scratch[..most], RecvFlags::TRUNC)?;
            if dropped == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= dropped as u64;
        }
        Ok(())
    }

    /// A body whose length comes piece by piece. Only small servers' requests have one, so it is copied.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().and_then(|hex| usize::from_str_radix(hex.trim(), 16).ok());
            let size = size.ok_or(io::ErrorKind::InvalidData)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(all);
            }
            all.extend(self.exactly(size)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..end + 2);
                return Ok(line);
            }
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let here = self.read.len().min(length);
        let mut bytes: Vec<u8> = self.read.drain(..here).collect();
        bytes.resize(length, 0);
        self.stream.read_exact(&mut bytes[here..])?;
        Ok(bytes)
    }

    fn more(&mut self) -> io::Result<usize> {
        let n = self.stream.read(&mut self.scratch[..HEAD_BYTES_MAX])?;
        self.read.extend_from_slice(&self.scratch[..n]);
        Ok(n)
    }

    fn send(&mut self, head: &Head, answer: Answer) -> io::Result<()> {
        self.stream.write_all(&answer.head())?;
        let mut zeros = if head.method == "HEAD" { 0 } else { answer.zeros };
        while zeros > 0 {
            let n = ZEROS.len().min(usize::try_from(zeros).unwrap_or(usize::MAX));
            self.stream.write_all(&ZEROS[..n])?;
            zeros -= n as u64;
        }
        if head.method == "HEAD" { Ok(()) } else { self.stream.write_all(&answer.body) }
    }
}
