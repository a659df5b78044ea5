//! The file on its way out: in frames of one size, so that few are said and none is large.

use std::sync::Mutex;

use crate::media::limits::FILE_BYTES;
use crate::media::wire::Kind;
use crate::media::worker::Trouble;
use crate::media::worker::link::{self, Outlet};

/// Where the file is written, front to back.
pub(super) struct Out<'a> {
    outlet: &'a Mutex<Outlet>,
    held: Vec<u8>,
    /// Of the first byte that is held.
    at: u64,
}

impl<'a> Out<'a> {
    pub(super) fn new(outlet: &'a Mutex<Outlet>) -> Self {
        Self { outlet, held: Vec::with_capacity(2 * FILE_BYTES as usize), at: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        for some in bytes.chunks(FILE_BYTES as usize) {
            self.held.extend_from_slice(some);
            if self.held.len() >= FILE_BYTES as usize {
                self.send(FILE_BYTES as usize)?;
            }
        }
        Ok(())
    }

    /// Sends what is left; the length of the file.
    pub(super) fn end(mut self) -> Result<u64, Trouble> {
        if !self.held.is_empty() {
            self.send(self.held.len())?;
        }
        Ok(self.at)
    }

    fn send(&mut self, len: usize) -> Result<(), Trouble> {
        link::send(self.outlet, Kind::File, 0, self.at, &self.held[..len])?;
        self.held.drain(..len);
        self.at += len as u64;
        Ok(())
    }
}
