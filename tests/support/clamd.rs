//! A clamd for tests: the protocol of the real one, one signature, and every way to fail.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

/// The harmless file that every scanner knows. In two pieces: a scanner may look at this one.
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

/// What it does with a scan.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// Takes everything and says the truth.
    Well,
    /// Takes nothing, says nothing, and holds the line.
    Stall,
    /// Hangs up after so many bytes.
    Cut(usize),
    /// Takes so many bytes: `StreamMaxLength`.
    Limit(usize),
    /// Says that it has a trouble of its own.
    Error,
}

#[derive(Default)]
struct Shared {
    next: VecDeque<Manner>,
    always: Option<Manner>,
    scans: Vec<usize>,
    held: Vec<UnixStream>,
}

/// A running one, at a socket of its own.
#[derive(Clone, Default)]
pub struct Clamd(Arc<Mutex<Shared>>);

impl Clamd {
    pub fn listen(at: &Path) -> Self {
        let (clamd, listener) = (Self::default(), UnixListener::bind(at).unwrap());
        let serving = clamd.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let clamd = serving.clone();
                thread::spawn(move || clamd.serve(socket));
            }
        });
        clamd
    }

    /// What the next scans meet, one after the other; the others meet `Well`.
    pub fn next(&self, manners: &[Manner]) {
        self.0.lock().unwrap().next.extend(manners);
    }

    /// What every scan meets from now on.
    pub fn always(&self, manner: Manner) {
        self.0.lock().unwrap().always = Some(manner);
    }

    /// The bytes of every scan that was answered or cut.
    pub fn scans(&self) -> Vec<usize> {
        self.0.lock().unwrap().scans.clone()
    }

    fn serve(&self, socket: UnixStream) {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut command = Vec::new();
        if reader.read_until(0, &mut command).is_err() {
            return;
        }
        match command.as_slice() {
            b"zPING\0" => drop((&socket).write_all(b"PONG\0")),
            b"zINSTREAM\0" => {
                let manner = {
                    let mut shared = self.0.lock().unwrap();
                    let next = shared.next.pop_front();
                    next.or(shared.always).unwrap_or(Manner::Well)
                };
                if matches!(manner, Manner::Stall) {
                    self.0.lock().unwrap().held.push(socket);
                    return;
                }
                let (seen, answer) = scanned(&mut reader, manner);
                self.0.lock().unwrap().scans.push(seen);
                let _ = answer.map(|answer| (&socket).write_all(answer.as_bytes()));
            }
            other => panic!("clamd was told {other:?}"),
        }
    }
}

/// How many bytes came, and what there is to say.
fn scanned(from: &mut impl Read, manner: Manner) -> (usize, Option<&'static str>) {
    let mut seen = Vec::new();
    loop {
        let mut len = [0; 4];
        if from.read_exact(&mut len).is_err() {
            return (seen.len(), None);
        }
        let len = u32::from_be_bytes(len) as usize;
        if len == 0 {
            break;
        }
        let begun = seen.len();
        seen.resize(begun + len, 0);
        if from.read_exact(&mut seen[begun..]).is_err() {
            return (begun, None);
        }
        match manner {
            Manner::Cut(at) if seen.len() >= at => return (seen.len(), None),
            Manner::Limit(most) if seen.len() > most => {
                return (seen.len(), Some("INSTREAM size limit exceeded. ERROR\0"));
            }
            _ => {}
        }
    }
    if matches!(manner, Manner::Error) {
        return (seen.len(), Some("stream: Can't allocate memory ERROR\0"));
    }
    let eicar = eicar();
    let found = seen.windows(eicar.len()).any(|window| window == eicar);
    (seen.len(), Some(if found { "stream: Eicar-Test-Signature FOUND\0" } else { "stream: OK\0" }))
}
