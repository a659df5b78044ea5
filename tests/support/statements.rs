//! Between a daemon and PostgreSQL: counts what is asked, and strikes the n-th question.
//!
//! A question is all that a client sends until it waits for an answer (Sync or Query of the frontend/backend protocol, 3.0).
//! Struck, it is never asked, or it is answered and nobody hears: the connection ends instead. The second is what a lost
//! answer to COMMIT is: done, and not known to be.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix},
    task::{JoinHandle, JoinSet},
};

/// Where PostgreSQL's clients look for its socket in a folder.
const SOCKET: &str = ".s.PGSQL.5432";
/// "May I speak TLS?": the answer is one letter.
const TLS_ASKED: u32 = 80_877_103;
/// One message; more is none of PostgreSQL's.
const MESSAGE_MAX: usize = 64 << 20;

/// How a question dies with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It was never asked.
    Question,
    /// It was done, and nobody heard.
    Answer,
}

pub struct Statements {
    folder: tempfile::TempDir,
    database: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    asked: AtomicU64,
    armed: Mutex<Option<Armed>>,
    /// The text of the question that was struck.
    struck: Mutex<Option<String>>,
}

struct Armed {
    loss: Loss,
    /// Questions that pass before.
    left: u64,
}

impl Statements {
    /// Before the server and the database of this URL, which names the server's folder.
    pub fn before(url: &str) -> Self {
        let (server, database) = url.strip_prefix("postgres://postgres@").unwrap().rsplit_once('/').unwrap();
        let (server, database) = (PathBuf::from(server.replace("%2F", "/")), database.to_owned());
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let shared = Arc::<Shared>::default();
        let accepting = tokio::spawn(accept(listener, server.join(SOCKET), Arc::clone(&shared)));
        Self { folder, database, shared, accepting }
    }

    /// What a daemon is given.
    pub fn url(&self) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        format!("postgres://postgres@{folder}/{}", self.database)
    }

    /// Questions so far, of all connections.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// Strikes the n-th question from now on, counted from 1, whoever asks it.
    pub fn strike(&self, loss: Loss, nth: u64) {
        *self.shared.struck.lock().unwrap() = None;
        *self.shared.armed.lock().unwrap() = Some(Armed { loss, left: nth - 1 });
    }

    /// Strikes no more. What was struck: the question's text.
    pub fn heal(&self) -> Option<String> {
        *self.shared.armed.lock().unwrap() = None;
        self.shared.struck.lock().unwrap().take()
    }
}

impl Drop for Statements {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, server: PathBuf, shared: Arc<Shared>) {
    // Connections end with their listener.
    let mut open = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = UnixStream::connect(&server).await else { continue };
        open.spawn(carry(client, server, Arc::clone(&shared)));
        while open.try_join_next().is_some() {}
    }
}

async fn carry(mut client: UnixStream, mut server: UnixStream, shared: Arc<Shared>) -> io::Result<()> {
    greet(&mut client, &mut server).await?;
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let is_mute = AtomicBool::new(false);
    // Whichever side ends first ends both.
    tokio::select! {
        ended = ask(from_client, to_server, &shared, &is_mute) => ended,
        ended = answer(from_server, to_client, &is_mute) => ended,
    }
}

/// The startup message, which alone has no letter before it.
async fn greet(client: &mut UnixStream, server: &mut UnixStream) -> io::Result<()> {
    loop {
        let length = client.read_u32().await?;
        let mut body = vec![0; bounded(length)?];
        client.read_exact(&mut body).await?;
        server.write_u32(length).await?;
        server.write_all(&body).await?;
        if body.get(..4) != Some(&TLS_ASKED.to_be_bytes()) {
            return Ok(());
        }
        client.write_u8(server.read_u8().await?).await?;
    }
}

fn bounded(length: u32) -> io::Result<usize> {
    (length as usize).checked_sub(4).filter(|n| *n <= MESSAGE_MAX).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Questions, one after the other.
async fn ask(
    mut from: unix::ReadHalf<'_>,
    mut to: unix::WriteHalf<'_>,
    shared: &Shared,
    is_mute: &AtomicBool,
) -> io::Result<()> {
    let mut prepared = HashMap::new();
    let (mut question, mut asks) = (Vec::new(), String::new());
    loop {
        let (letter, length) = (from.read_u8().await?, from.read_u32().await?);
        let mut body = vec![0; bounded(length)?];
        from.read_exact(&mut body).await?;
        note(letter, &body, &mut prepared, &mut asks);
        question.push(letter);
        question.extend_from_slice(&length.to_be_bytes());
        question.append(&mut body);
        // Sync and Query wait for an answer; so do a password, and the end.
        if !matches!(letter, b'S' | b'Q' | b'p' | b'X' | b'H') {
            continue;
        }
        let loss = if matches!(letter, b'S' | b'Q') { shared.strikes(&asks) } else { None };
        if loss == Some(Loss::Question) {
            return Ok(());
        }
        is_mute.store(loss.is_some(), Ordering::SeqCst);
        to.write_all(&question).await?;
        if loss.is_some() {
            // The other side ends when the answer is there.
            std::future::pending::<()>().await;
        }
        question.clear();
        asks.clear();
    }
}

/// Keeps what a prepared statement says, and what is asked now.
fn note(letter: u8, body: &[u8], prepared: &mut HashMap<Vec<u8>, String>, asks: &mut String) {
    let mut texts = body.split(|byte| *byte == 0);
    let mut text = || texts.next().unwrap_or_default();
    match letter {
        b'Q' => asks.push_str(&String::from_utf8_lossy(text())),
        b'P' => {
            let (name, sql) = (text().to_vec(), String::from_utf8_lossy(text()).into_owned());
            asks.push_str("prepare: ");
            asks.push_str(&sql);
            prepared.insert(name, sql);
        }
        b'B' => {
            let (_portal, name) = (text(), text());
            asks.push_str(prepared.get(name).map_or("?", String::as_str));
        }
        _ => {}
    }
}

impl Shared {
    /// Whether this question dies, and how.
    fn strikes(&self, asks: &str) -> Option<Loss> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut armed = self.armed.lock().unwrap();
        let rule = armed.as_mut()?;
        if rule.left > 0 {
            rule.left -= 1;
            return None;
        }
        let loss = rule.loss;
        *armed = None;
        *self.struck.lock().unwrap() = Some(asks.to_owned());
        Some(loss)
    }
}

/// Answers, until one that nobody shall hear is there.
async fn answer(mut from: unix::ReadHalf<'_>, mut to: unix::WriteHalf<'_>, is_mute: &AtomicBool) -> io::Result<()> {
    loop {
        let (letter, length) = (from.read_u8().await?, from.read_u32().await?);
        let mut body = vec![0; bounded(length)?];
        from.read_exact(&mut body).await?;
        if is_mute.load(Ordering::SeqCst) {
            // ReadyForQuery: it is done.
            if letter == b'Z' {
                return Ok(());
            }
            continue;
        }
        let mut message = Vec::with_capacity(5 + body.len());
        message.push(letter);
        message.extend_from_slice(&length.to_be_bytes());
        message.append(&mut body);
        to.write_all(&message).await?;
    }
}
