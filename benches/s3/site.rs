//! Where an S3 answers, and who may use it.

use std::{
    io::{BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

use anyhow::Context;

use super::BUCKET;
use crate::server::Server;

/// A bucket, and a key to it.
#[derive(Clone, Debug, clap::Args)]
pub struct Site {
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl Site {
    /// In the order of the fields: as arguments.
    pub fn words(&self) -> [&str; 5] {
        [&self.endpoint, &self.region, &self.bucket, &self.access_key_id, &self.secret_access_key]
    }
}

/// What the sink has counted.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub requests: u64,
    pub bytes_in: u64,
}

/// Asks the sink.
pub fn counts(sink: &Server) -> anyhow::Result<Counts> {
    let mut socket = TcpStream::connect(&sink.host)?;
    write!(socket, "GET /-counts HTTP/1.1\r\n\r\n")?;
    socket.shutdown(std::net::Shutdown::Write)?;
    let mut text = String::new();
    BufReader::new(socket).read_to_string(&mut text)?;
    let mut numbers = text.rsplit("\r\n").next().unwrap_or_default().split(' ').map(str::parse);
    let mut next = || numbers.next().context("the sink didn't say what it counted");
    Ok(Counts { requests: next()??, bytes_in: next()?? })
}

/// The sink's site: anybody may do anything.
pub fn of_sink(sink: &Server) -> Site {
    Site {
        endpoint: sink.url(""),
        region: "us-east-1".into(),
        bucket: BUCKET.into(),
        access_key_id: "anybody".into(),
        secret_access_key: "anything".into(),
    }
}

/// Free at this moment, on loopback.
pub fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
