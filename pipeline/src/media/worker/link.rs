//! The worker's end of the socket: whole frames out, answers in.
//!
//! Plain `File`s over the descriptor, since they use `read` and `write` alone; a socket type would use calls that the
//! filter forbids; never dropped, since a debug build asks `fcntl` first. Any error means that the daemon is gone.

use std::fs::File;
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::Trouble;
use crate::media::wire::{HEADER, Header, Kind, Start};

/// Where frames go. Shared by all threads, one frame at a time.
pub(super) struct Outlet(ManuallyDrop<File>);

/// Where answers come from. The reading thread's alone.
pub(super) struct Inlet(ManuallyDrop<File>);

/// Takes the socket that is descriptor 0.
pub(super) fn open() -> std::io::Result<(Inlet, Outlet)> {
    let socket = std::io::stdin();
    let twin = || socket.as_fd().try_clone_to_owned().map(|fd| ManuallyDrop::new(File::from(fd)));
    Ok((Inlet(twin()?), Outlet(twin()?)))
}

/// Sends one frame.
pub(super) fn send(outlet: &Mutex<Outlet>, kind: Kind, rung: u8, sequence: u64, body: &[u8]) -> Result<(), Trouble> {
    let head = Header { kind, rung, length: body.len() as u32, sequence }.write();
    let file = &mut outlet.lock().unwrap_or_else(PoisonError::into_inner).0;
    file.write_all(&head).and_then(|()| file.write_all(body)).map_err(|_| Trouble::Orphaned)
}

/// Sends one frame of JSON.
pub(super) fn send_json(outlet: &Mutex<Outlet>, kind: Kind, body: &impl Serialize) -> Result<(), Trouble> {
    let body = serde_json::to_vec(body).map_err(|_| Trouble::Orphaned)?;
    send(outlet, kind, 0, 0, &body)
}

impl Inlet {
    /// The order: the first frame.
    pub(super) fn start(&mut self) -> Result<Start, Trouble> {
        let (head, body) = self.frame()?;
        match head.kind {
            Kind::Start => serde_json::from_slice(&body).map_err(|_| Trouble::Orphaned),
            _ => Err(Trouble::Orphaned),
        }
    }

    /// Source bytes at `offset`; none at the end.
    pub(super) fn data(&mut self, offset: u64) -> Result<Vec<u8>, Trouble> {
        let (head, body) = self.frame()?;
        if head.kind != Kind::Data || head.sequence != offset {
            return Err(Trouble::Orphaned);
        }
        Ok(body)
    }

    fn frame(&mut self) -> Result<(Header, Vec<u8>), Trouble> {
        let mut head = [0; HEADER];
        self.0.read_exact(&mut head).map_err(|_| Trouble::Orphaned)?;
        let head = Header::read(&head).map_err(|_| Trouble::Orphaned)?;
        let mut body = vec![0; head.length as usize];
        self.0.read_exact(&mut body).map_err(|_| Trouble::Orphaned)?;
        Ok((head, body))
    }
}

/// Sends bytes that are no frame.
#[cfg(debug_assertions)]
pub(super) fn send_raw(outlet: &Mutex<Outlet>, bytes: &[u8]) -> Result<(), Trouble> {
    outlet.lock().unwrap_or_else(PoisonError::into_inner).0.write_all(bytes).map_err(|_| Trouble::Orphaned)
}
