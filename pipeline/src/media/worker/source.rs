//! The source as libav sees it: a blocking reader that pulls bytes over the link.
//!
//! Promise: nothing panics in here, since a panic would cross C frames; without leave to seek, needs are sequential.
//! Memory:  the head while it is sniffed, then one answer.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use super::Trouble;
use super::link::{self, Inlet, Outlet};
use crate::media::Access;
use crate::media::limits::NEED_BYTES;
use crate::media::sniff::HEAD_BYTES;
use crate::media::wire::{Kind, Start};

/// Reads the source through the daemon.
pub(super) struct Feeder {
    inlet: Inlet,
    outlet: Arc<Mutex<Outlet>>,
    access: Access,
    size: Option<u64>,
    /// What is at hand, and where it starts.
    window: Vec<u8>,
    window_at: u64,
    /// Where the next read starts.
    at: u64,
    /// Where the source turned out to end.
    end: Option<u64>,
    /// Furthest byte seen, for progress; shared since libav owns the reader.
    reached: Arc<std::sync::atomic::AtomicU64>,
    #[cfg(debug_assertions)]
    fault: Option<super::fault::Fault>,
}

impl Feeder {
    pub(super) fn new(inlet: Inlet, outlet: Arc<Mutex<Outlet>>, start: &Start) -> Self {
        Self {
            inlet,
            outlet,
            access: start.access,
            size: start.size,
            window: vec![],
            window_at: 0,
            at: 0,
            end: None,
            reached: Arc::default(),
            #[cfg(debug_assertions)]
            fault: start.fault,
        }
    }

    /// A view of the furthest byte seen.
    pub(super) fn reached(&self) -> Arc<std::sync::atomic::AtomicU64> {
        Arc::clone(&self.reached)
    }

    /// Reads on until `judge` is content or the source ends; then goes back to the start.
    pub(super) fn head<T>(&mut self, mut judge: impl FnMut(&[u8], bool) -> Option<T>) -> Result<T, Trouble> {
        loop {
            if let Some(answer) = judge(&self.window, self.end.is_some()) {
                return Ok(answer);
            }
            if self.end.is_some() {
                return Err(Trouble::Orphaned); // `judge` answers at the end
            }
            let more = self.ask(self.window.len() as u64)?;
            self.window.extend_from_slice(&more);
        }
    }

    /// Up to `len` bytes at `at`, as far as the head or the leave to seek reaches; reading starts at 0 afterwards.
    pub(super) fn peek(&mut self, at: u64, len: usize) -> Option<Vec<u8>> {
        if self.access == Access::Stream {
            // Once gone by, bytes don't come again: what lies beyond the head is read only as far as the head grows.
            let from = usize::try_from(at).ok()?;
            let enough = from.checked_add(len).filter(|end| *end <= HEAD_BYTES)?;
            let whole = self.head(|head, ended| (ended || head.len() >= enough).then(|| head.to_vec())).ok()?;
            return whole.get(from..).map(|rest| rest[..rest.len().min(len)].to_vec());
        }
        let mut out = vec![0; len];
        self.at = at;
        let mut filled = 0;
        while filled < len {
            match self.read(&mut out[filled..]) {
                Ok(0) | Err(_) => break,
                Ok(n) => filled += n,
            }
        }
        self.at = 0;
        out.truncate(filled);
        Some(out)
    }

    fn ask(&mut self, offset: u64) -> Result<Vec<u8>, Trouble> {
        link::send(&self.outlet, Kind::Need, 0, offset, &NEED_BYTES.to_le_bytes())?;
        let bytes = self.inlet.data(offset)?;
        #[cfg(debug_assertions)]
        super::fault::on_data(self.fault, &self.outlet);
        if bytes.is_empty() {
            self.end = Some(self.end.map_or(offset, |end| end.min(offset)));
        }
        self.reached.fetch_max(offset + bytes.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(bytes)
    }

    fn in_window(&self) -> &[u8] {
        let skip = self.at.checked_sub(self.window_at).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.window.get(skip..)).unwrap_or_default()
    }
}

impl Read for Feeder {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // A header may point beyond the file; nobody is asked for what can't be there.
        let end = self.end.or(self.size.filter(|_| self.access == Access::Ranges));
        if self.in_window().is_empty() && end.is_none_or(|end| self.at < end) {
            let at = self.at;
            self.window = self.ask(at).map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
            self.window_at = at;
        }
        let here = self.in_window();
        let n = here.len().min(out.len());
        out[..n].copy_from_slice(&here[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Feeder {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let refused = || io::Error::from(ErrorKind::Unsupported);
        let size = self.size.filter(|_| self.access == Access::Ranges).ok_or_else(refused)?;
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => size.checked_add_signed(by),
        };
        let target = target.filter(|at| *at <= size).ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        self.at = target;
        Ok(target)
    }
}
