//! Makes the worker misbehave, so that tests can see it contained. Absent from release builds.
#![expect(unsafe_code, reason = "misbehaving is its purpose")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

use super::link::{self, Outlet};
use crate::media::failure::Code;
use crate::media::wire::{Kind, Refused};

#[path = "escape.rs"]
mod escape;

/// How many ways out are tried.
pub const ESCAPES: u8 = escape::ATTEMPTS.len() as u8;

/// More than the reader says of the second and a half that is fed to it, and no more than is believed.
const SAMPLES_SAID: u64 = 80_000;

/// What to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Deed {
    Segfault,
    Abort,
    Panic,
    StackOverflow,
    Loop,
    Sleep,
    Allocate,
    Silence,
    GarbageFrame,
    ForgedSegment,
    ForgedProgress,
    Chatter,
    Toil,
    Dawdle,
    Escape(u8),
}

/// When and where: with the first source bytes, or in an encoder with its first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    pub deed: Deed,
    /// In an encoder's thread instead of the reader's.
    pub in_encoder: bool,
}

/// The encoders' fault, as they have no order of their own: 0 for none.
static ARMED: Mutex<Option<Deed>> = Mutex::new(None);
/// Answers seen by the reader.
static ANSWERS: AtomicU8 = AtomicU8::new(0);

/// Called after each answer to a need.
pub(super) fn on_data(fault: Option<Fault>, outlet: &Mutex<Outlet>) {
    let Some(fault) = fault else { return };
    if ANSWERS.fetch_add(1, Ordering::Relaxed) > 0 {
        return;
    }
    if fault.in_encoder {
        *ARMED.lock().expect("no thread panics with it") = Some(fault.deed);
    } else {
        commit(fault.deed, outlet);
    }
}

/// Called before each block is encoded.
pub(super) fn on_block(outlet: &Mutex<Outlet>) {
    let deed = ARMED.lock().expect("no thread panics with it").take();
    if let Some(deed) = deed {
        commit(deed, outlet);
    }
}

fn commit(deed: Deed, outlet: &Mutex<Outlet>) {
    match deed {
        // SAFETY: none; that is the point.
        Deed::Segfault => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
        Deed::Abort => std::process::abort(),
        Deed::Panic => panic!("as ordered"),
        Deed::StackOverflow => {
            std::hint::black_box(descend(0));
        }
        Deed::Loop => loop {
            std::hint::black_box(());
        },
        Deed::Sleep => loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        },
        Deed::Allocate => {
            let block = vec![1u8; 4 << 30];
            std::hint::black_box(&block);
        }
        // SAFETY: ends the process.
        Deed::Silence => unsafe { libc::_exit(0) },
        Deed::GarbageFrame => {
            let _ = link::send_raw(outlet, &[0xa5; 4096]);
        }
        Deed::ForgedSegment => {
            let _ = link::send(outlet, Kind::Segment, 0, 7, b"no boxes at all");
        }
        Deed::ForgedProgress => {
            let _ = link::send(outlet, Kind::Progress, 0, 1, &u64::MAX.to_le_bytes());
        }
        Deed::Chatter => loop {
            if link::send_json(outlet, Kind::Tags, &Vec::<(String, String)>::new()).is_err() {
                std::process::exit(0);
            }
        },
        // Both say a true thing before their silence is noticed, once the reader has said its last.
        Deed::Toil | Deed::Dawdle => loop {
            let second = std::time::Duration::from_secs(1);
            let begun = std::time::Instant::now();
            while deed == Deed::Toil && begun.elapsed() < second {}
            std::thread::sleep(second.saturating_sub(begun.elapsed()));
            let _ = link::send(outlet, Kind::Progress, 0, 1, &SAMPLES_SAID.to_le_bytes());
        },
        Deed::Escape(n) => {
            let (name, attempt) = escape::ATTEMPTS[usize::from(n)];
            let text = match attempt() {
                Ok(()) => format!("ESCAPED by {name}"),
                Err(e) => format!("denied {name}: {e}"),
            };
            let _ = link::send_json(outlet, Kind::Failed, &Refused { code: Code::UnsupportedMedia, text });
            std::process::exit(0);
        }
    }
}

#[expect(unconditional_recursion, reason = "until the stack ends")]
fn descend(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 1024]);
    descend(depth + 1) + room[7]
}
