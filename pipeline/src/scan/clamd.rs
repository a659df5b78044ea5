//! clamd's own protocol, as far as a scan needs it: `PING`, and `INSTREAM` with its chunks.
//!
//! `zINSTREAM\0`, then chunks of a 32-bit length and so many bytes, then a length of 0; clamd answers one line and hangs up.
//! Beyond its `StreamMaxLength` it answers at once and takes no more, so its answer is listened for while we send.

use std::{fmt, io, path::PathBuf, str::FromStr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    select,
    time::timeout,
};

/// A connection on one machine or in one rack is there in milliseconds.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What clamd said last, where it hung up on us: it is there already or it isn't.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longer than any answer with a name of a signature in it.
const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Where clamd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// It isn't an address.
#[derive(Debug, thiserror::Error)]
#[error("not host:port or unix:/path")]
pub struct NoAddress;

impl FromStr for Address {
    type Err = NoAddress;
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(NoAddress) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(NoAddress)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if is_port && !host.is_empty() { Ok(Self::Tcp(text.into())) } else { Err(NoAddress) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(text) => f.write_str(text),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What clamd says of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that it knows.
    Clean,
    /// The name of what it found.
    Infected(String),
    /// More than its `StreamMaxLength`: it hasn't looked at all of it.
    TooLarge,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Nobody listens there.
    #[error("clamd can't be reached: {0}")]
    Away(io::Error),
    /// It took no byte and said none for too long.
    #[error("clamd has been silent for {0:?}")]
    Silent(Duration),
    /// It hung up.
    #[error("clamd hung up: {0}")]
    Cut(io::Error),
    /// An answer that this release doesn't know, such as an error of its own.
    #[error("clamd says: {0}")]
    Odd(String),
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

async fn connected(address: &Address) -> Result<Box<dyn Both>, ScanError> {
    let connect = async {
        Ok(match address {
            Address::Tcp(text) => Box::new(TcpStream::connect(text).await?) as Box<dyn Both>,
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    };
    timeout(CONNECT_MAX, connect).await.map_err(|_| ScanError::Silent(CONNECT_MAX))?.map_err(ScanError::Away)
}

/// Whether it answers.
pub(super) async fn ping(address: &Address) -> Result<(), ScanError> {
    let mut socket = connected(address).await?;
    socket.write_all(b"zPING\0").await.map_err(ScanError::Cut)?;
    let mut answer = Vec::new();
    match timeout(CONNECT_MAX, heard(&mut socket, &mut answer)).await {
        Err(_) => Err(ScanError::Silent(CONNECT_MAX)),
        Ok(Err(e)) => Err(ScanError::Cut(e)),
        Ok(Ok(text)) if text == "PONG" => Ok(()),
        Ok(Ok(text)) => Err(ScanError::Odd(text)),
    }
}

/// One scan under way.
pub(super) struct Stream {
    reading: tokio::io::ReadHalf<Box<dyn Both>>,
    writing: tokio::io::WriteHalf<Box<dyn Both>>,
    answer: Vec<u8>,
    silence: Duration,
}

impl Stream {
    /// Begins one. `silence`: how long clamd may take no byte and say none.
    pub(super) async fn open(address: &Address, silence: Duration) -> Result<Self, ScanError> {
        let (reading, mut writing) = tokio::io::split(connected(address).await?);
        writing.write_all(b"zINSTREAM\0").await.map_err(ScanError::Cut)?;
        Ok(Self { reading, writing, answer: Vec::new(), silence })
    }

    /// The next bytes; a verdict when clamd has made up its mind already.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<Option<Verdict>, ScanError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let Ok(len) = u32::try_from(bytes.len()) else { return Err(ScanError::Odd("a chunk of 4 GiB".into())) };
        let put = async {
            self.writing.write_all(&len.to_be_bytes()).await?;
            self.writing.write_all(bytes).await
        };
        let sent = select! {
            biased;
            // cancel-safe: what came stays in `answer`. The send isn't, and what it was part of ends here.
            answer = heard(&mut self.reading, &mut self.answer) => return early(answer),
            sent = timeout(self.silence, put) => sent,
        };
        match sent {
            Err(_) => Err(ScanError::Silent(self.silence)),
            Ok(Ok(())) => Ok(None),
            Ok(Err(e)) => match timeout(LAST_WORDS, heard(&mut self.reading, &mut self.answer)).await {
                Ok(Ok(text)) => early(Ok(text)),
                _ => Err(ScanError::Cut(e)),
            },
        }
    }

    /// That was all.
    pub(super) async fn end(mut self) -> Result<Verdict, ScanError> {
        let ended = self.writing.write_all(&0_u32.to_be_bytes()).await;
        match timeout(self.silence, heard(&mut self.reading, &mut self.answer)).await {
            Err(_) => Err(ScanError::Silent(self.silence)),
            Ok(Ok(text)) => verdict(&text),
            Ok(Err(e)) => Err(ScanError::Cut(ended.err().unwrap_or(e))),
        }
    }
}

/// An answer before the end is never that all is well.
fn early(answer: io::Result<String>) -> Result<Option<Verdict>, ScanError> {
    match verdict(&answer.map_err(ScanError::Cut)?)? {
        Verdict::Clean => Err(ScanError::Odd("OK, before it had every byte".into())),
        verdict => Ok(Some(verdict)),
    }
}

fn verdict(text: &str) -> Result<Verdict, ScanError> {
    let said = text.strip_prefix("stream: ").unwrap_or(text);
    match said.strip_suffix(" FOUND") {
        Some(name) => Ok(Verdict::Infected(name.to_owned())),
        None if said == "OK" => Ok(Verdict::Clean),
        None if said.contains("size limit exceeded") => Ok(Verdict::TooLarge),
        None => Err(ScanError::Odd(text.to_owned())),
    }
}

/// One line of clamd. Cancel-safe: what came stays in `answer`.
async fn heard(from: &mut (impl AsyncRead + Unpin), answer: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = answer.iter().position(|byte| matches!(byte, 0 | b'\n')) {
            return Ok(String::from_utf8_lossy(&answer[..end]).into_owned());
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("an answer without an end"));
        }
        if from.read_buf(answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in ["127.0.0.1:3310", "clamav.internal:3310", "[::1]:3310", "unix:/run/clamav/clamd.ctl"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "clamav", ":3310", "clamav:x", "clamav:0", "unix:clamd.ctl", "unix:"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_is_known_is_believed() {
        assert_eq!(verdict("stream: OK").unwrap(), Verdict::Clean);
        let found = Verdict::Infected("Win.Test.EICAR_HDB-1".into());
        assert_eq!(verdict("stream: Win.Test.EICAR_HDB-1 FOUND").unwrap(), found);
        assert_eq!(verdict("INSTREAM size limit exceeded. ERROR").unwrap(), Verdict::TooLarge);
        for odd in ["", "stream: Can't allocate memory ERROR", "COMMAND READ TIMED OUT", "OKAY"] {
            assert!(matches!(verdict(odd), Err(ScanError::Odd(_))), "{odd}");
        }
        assert!(matches!(early(Ok("stream: OK".into())), Err(ScanError::Odd(_))), "it hasn't seen all");
    }
}
