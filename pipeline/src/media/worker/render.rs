//! A file of the whole source, made front to back: nothing is ever written before where it stands.
//!
//! What a header says of the whole (lengths, a digest) is counted first, in a decode of its own: a thousand times faster
//! than music, and the only way to be right without going back.
//! Promise: the same source and order give the same bytes. A file without loss has every sample of the source.
//! Memory:  one frame, one answer, and the picture.

mod convert;
mod flac;
mod id3;
mod ilst;
mod lossy;
mod mp3;
mod out;
mod riff;
mod whole;
mod words;

use std::sync::{Arc, Mutex};

use ffmpeg_next::codec::encoder;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{Error, Packet};

use super::Trouble;
use super::decode::{Opened, Show};
use super::link::{self, Inlet, Outlet};
use super::source::Feeder;
use super::track::Track;
use crate::media::wire::{Kind, Start};
use crate::media::{Coding, Render};
use out::Out;
use words::Words;

/// Makes the file and says that it is whole.
pub(super) fn run(
    start: &Start,
    order: &Render,
    [first, second]: [Inlet; 2],
    outlet: &Arc<Mutex<Outlet>>,
) -> Result<(), Trouble> {
    let counted = match order.coding {
        Coding::Flac | Coding::Wav | Coding::Mp3 | Coding::Aac => {
            let mut counting = whole::Counting::new(order.coding);
            opened(start, first, outlet)?.decode(start, &mut counting)?;
            Some(counting)
        }
        Coding::Opus => None,
    };
    let mut opened = opened(start, second, outlet)?;
    let picture = Some(std::mem::take(&mut opened.picture)).filter(|picture| !picture.is_empty());
    let words = Words::of(&opened.tags, &order.title, picture);
    let mut out = Out::new(outlet);
    let mut making = Making { start, order, words, counted, out: &mut out, maker: None };
    opened.decode(start, &mut making)?;
    let len = out.end()?;
    link::send(outlet, Kind::Rendered, 0, len, &[])
}

fn opened(start: &Start, inlet: Inlet, outlet: &Arc<Mutex<Outlet>>) -> Result<Opened, Trouble> {
    Opened::of(Feeder::new(inlet, Arc::clone(outlet), start), start.access)
}

/// The next of what a coder has ready.
fn received(encoder: &mut encoder::Audio) -> Result<Option<Packet>, Error> {
    let mut packet = Packet::empty();
    match encoder.receive_packet(&mut packet) {
        Ok(()) => Ok(Some(packet)),
        Err(Error::Eof | Error::Other { errno: libc::EAGAIN }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What is known of the sound at its first frame.
#[derive(Clone, Copy, Debug)]
struct Sound {
    rate: u32,
    channels: u16,
    /// Significant bits of a sample.
    bits: u16,
}

/// One kind of file.
trait Maker {
    fn take(&mut self, frame: &Audio, count: usize, out: &mut Out) -> Result<(), Trouble>;
    fn finish(self: Box<Self>, out: &mut Out) -> Result<(), Trouble>;
}

struct Making<'a, 'o> {
    start: &'a Start,
    order: &'a Render,
    words: Words,
    counted: Option<whole::Counting>,
    out: &'a mut Out<'o>,
    maker: Option<Box<dyn Maker>>,
}

impl Show for Making<'_, '_> {
    fn open(&mut self, first: &Audio, track: &Track) -> Result<(), Trouble> {
        let source = track.source(first, self.start)?;
        let sound = Sound { rate: source.rate, channels: source.channels, bits: source.bits };
        let counted = self.counted.take();
        let maker: Box<dyn Maker> = match (self.order.coding, counted) {
            (Coding::Flac, Some(counted)) => Box::new(flac::Flac::begin(sound, first, counted, &self.words, self.out)?),
            (Coding::Wav, Some(counted)) => Box::new(riff::Wav::begin(sound, first, &counted, &self.words, self.out)?),
            (coding, counted) => {
                let samples = counted.map_or(0, |c| c.samples);
                let words = std::mem::take(&mut self.words);
                Box::new(lossy::Lossy::begin(coding, sound, first, samples, words, self.out)?)
            }
        };
        self.maker = Some(maker);
        Ok(())
    }

    fn show(&mut self, frame: &Audio, count: usize) -> Result<(), Trouble> {
        match &mut self.maker {
            Some(maker) => maker.take(frame, count, self.out),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<u64, Trouble> {
        match self.maker.take() {
            Some(maker) => maker.finish(self.out).map(|()| 1),
            None => Ok(0),
        }
    }
}
