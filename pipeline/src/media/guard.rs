//! Judges what the worker says. It decodes hostile files in C, so it may be anyone by now.
//!
//! Promise: an event that leaves here names a rung of the plan, lies on the grid, follows the one before it, and holds
//! boxes that say the same. What breaks a rule is a [`Breach`], and the worker is killed.

use bytes::Bytes;

use super::failure::{Code, Failure};
use super::ladder::{self, Grid, PlannedRung};
use super::render::Rendering;
use super::wire::{Finished, Header, Hello, Kind, Refused};
use super::{Access, Event, Order, Source, fmp4, jpeg, limits, peaks, tags};

/// A container's or codec's name.
const NAME_BYTES: usize = 64;
/// Longer priming than any AAC encoder has.
const PRIMING_MAX: u32 = 8192;

/// A rule that the worker broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Breach(pub(super) String);

/// What a frame meant.
#[derive(Debug)]
pub(super) enum Said {
    Hello(Hello),
    Need { offset: u64, len: u32 },
    Events(Vec<Event>),
    Done(Vec<Event>),
    Failed(Failure),
}

/// The state of one conversation.
#[derive(Debug)]
pub(super) struct Guard {
    order: Order,
    render: Option<Rendering>,
    greeted: bool,
    source: Option<Source>,
    rungs: Vec<Rung>,
    /// Source bytes handed over so far, in Stream order.
    pub(super) given: u64,
    decoded: u64,
    pairs: Vec<u8>,
    /// The ladder is whole: only pictures may follow, and none of them matters to it.
    is_whole: bool,
    pictures: usize,
    /// Source bytes asked for, again and again too.
    asked: u64,
    /// Where bytes were asked for last.
    needed: Option<u64>,
    /// How often the source's end was asked for.
    ends: u32,
    /// What is said once.
    told: Told,
}

#[derive(Debug, Default)]
struct Told {
    tags: bool,
    loudness: bool,
    fingerprint: bool,
}

#[derive(Debug, Default)]
struct Rung {
    init: Option<fmp4::Init>,
    next: u32,
    end: u64,
    closed: bool,
}

impl Guard {
    pub(super) fn new(order: Order) -> Self {
        let render = order.render.clone().map(Rendering::new);
        Self {
            order,
            render,
            greeted: false,
            source: None,
            rungs: vec![],
            given: 0,
            decoded: 0,
            pairs: vec![],
            is_whole: false,
            pictures: 0,
            asked: 0,
            needed: None,
            ends: 0,
            told: Told::default(),
        }
    }

    /// Whole seconds decoded so far.
    pub(super) fn seconds(&self) -> u64 {
        let decoded = || self.source.as_ref().map_or(0, |s| self.decoded / u64::from(s.grid.rate));
        self.render.as_ref().map_or_else(decoded, Rendering::seconds)
    }

    pub(super) fn judge(&mut self, head: Header, body: Bytes) -> Result<Said, Breach> {
        if self.greeted == (head.kind == Kind::Hello) || self.is_whole != (head.kind == Kind::Picture) {
            return breach(format!("{:?} out of turn", head.kind));
        }
        if head.rung != 0 && !matches!(head.kind, Kind::Init | Kind::Segment) {
            return breach(format!("{:?} names a rung", head.kind));
        }
        if let Some(render) =
            self.render.as_mut().filter(|_| !matches!(head.kind, Kind::Hello | Kind::Need | Kind::Failed))
        {
            return render.judge(head, body);
        }
        match head.kind {
            Kind::Hello => {
                self.greeted = true;
                Ok(Said::Hello(json(&body)?))
            }
            Kind::Need => self.need(head.sequence, &body),
            Kind::Opened => one(self.opened(json(&body)?)?),
            Kind::Tags if !std::mem::replace(&mut self.told.tags, true) => {
                one(Event::Tags(tags::clean(json::<Vec<_>>(&body)?)))
            }
            Kind::Init => one(self.init(head.rung, body)?),
            Kind::Segment => one(self.segment(head, body)?),
            Kind::Progress => one(self.progress(head.sequence, &body)?),
            Kind::Peaks => one(self.peaks(head.sequence, body)?),
            Kind::Loudness if !std::mem::replace(&mut self.told.loudness, true) => one(Event::Loudness(json(&body)?)),
            Kind::Tags | Kind::Loudness => breach(format!("{:?} again", head.kind)),
            Kind::Fingerprint => one(self.fingerprint(&body)?),
            Kind::Picture => one(self.picture(head.sequence, body)?),
            Kind::Done => self.done(json(&body)?),
            Kind::Failed => {
                let Refused { code, text } = json(&body)?;
                if code == Code::IndexAtEnd && self.order.access == Access::Ranges {
                    return breach("an index out of reach of a worker that may seek");
                }
                Ok(Said::Failed(Failure::new(code, clean(&text, limits::TEXT_BYTES))))
            }
            Kind::Start | Kind::Data => breach(format!("{:?} is the daemon's to say", head.kind)),
            Kind::File | Kind::Rendered => breach("a file instead of a ladder"),
        }
    }

    fn need(&mut self, offset: u64, body: &Bytes) -> Result<Said, Breach> {
        let len = body.first_chunk().map(|b| u32::from_le_bytes(*b)).unwrap_or_default();
        let is_allowed = match self.order.access {
            Access::Stream => offset == self.given,
            Access::Ranges => self.order.size.is_some_and(|size| offset <= size),
        };
        if !is_allowed || len == 0 || len > limits::NEED_BYTES {
            return breach(format!("wants {len} bytes at {offset}"));
        }
        // Nor for ever: the time that a source takes to answer isn't counted against the worker.
        let is_end = match self.order.access {
            Access::Stream => self.needed == Some(offset),
            Access::Ranges => self.order.size == Some(offset),
        };
        self.needed = Some(offset);
        self.ends += u32::from(is_end);
        self.asked = self.asked.saturating_add(u64::from(len));
        let most = self
            .order
            .size
            .map_or(u64::MAX, |size| size.saturating_mul(limits::READ_AGAIN).saturating_add(limits::READ_MORE_BYTES));
        if self.ends > limits::ENDS_MAX || self.asked > most {
            return breach("wants the same again and again");
        }
        Ok(Said::Need { offset, len })
    }

    fn opened(&mut self, source: Source) -> Result<Event, Breach> {
        let rate = ladder::ladder_rate(source.rate);
        let grid = ladder::grid(rate, self.order.segment_seconds);
        let is_known = source.container.len() <= NAME_BYTES && source.codec.len() <= NAME_BYTES;
        let in_bounds = (limits::RATE_MIN..=limits::RATE_MAX).contains(&source.rate)
            && (1..=self.order.limits.channels_max).contains(&source.channels)
            && source.bits <= 64;
        if self.source.is_some() || !is_known || !in_bounds || source.grid != grid || !self.is_planned(&source, rate) {
            return breach("opened something that can't be");
        }
        self.rungs = source.plan.iter().map(|_| Rung::default()).collect();
        self.source = Some(source.clone());
        Ok(Event::Opened(source))
    }

    /// The plan is part of the ladder, in its order, with what the ladder says of each rung.
    fn is_planned(&self, source: &Source, rate: u32) -> bool {
        let mut wanted = self.order.ladder.rungs().iter();
        let mut numbers = 0u8..;
        !source.plan.is_empty()
            && source.plan.iter().all(|rung| {
                let bits = if rung.bits == 16 { 16 } else { 24 };
                wanted.any(|spec| *spec == rung.spec)
                    && numbers.next().is_some_and(|n| *rung == PlannedRung::of(n, rung.spec, rate, bits))
            })
    }

    fn rung(&mut self, rung: u8) -> Result<(&mut Rung, PlannedRung, Grid), Breach> {
        let source = self.source.as_ref().ok_or_else(|| Breach("audio before the source is open".into()))?;
        let planned = source.plan.get(usize::from(rung)).ok_or_else(|| Breach(format!("no rung {rung}")))?;
        Ok((&mut self.rungs[usize::from(rung)], planned.clone(), source.grid))
    }

    fn init(&mut self, number: u8, bytes: Bytes) -> Result<Event, Breach> {
        let (rung, planned, grid) = self.rung(number)?;
        let init = fmp4::init(&bytes).map_err(|e| Breach(format!("init of rung {number}: {e}")))?;
        let format: &[u8; 4] = if planned.bits == 0 { b"mp4a" } else { b"fLaC" };
        if rung.init.is_some()
            || init.timescale != grid.rate
            || init.format != *format
            || init.channels != 2
            || init.media_time > PRIMING_MAX
        {
            return breach(format!("init of rung {number} isn't the planned one"));
        }
        rung.init = Some(init);
        Ok(Event::Init { rung: number, bytes })
    }

    fn segment(&mut self, head: Header, bytes: Bytes) -> Result<Event, Breach> {
        let (number, limit_s) = (head.rung, self.order.limits.seconds_max);
        let (rung, planned, grid) = self.rung(number)?;
        let wrong =
            |what: &dyn std::fmt::Display| Breach(format!("segment {} of rung {number}: {what}", head.sequence));
        let init = rung.init.ok_or_else(|| wrong(&"before its init"))?;
        if rung.closed || head.sequence != u64::from(rung.next) {
            return Err(wrong(&"out of order"));
        }
        let found = fmp4::segment(&bytes, &init).map_err(|e| wrong(&e))?;
        let (n, priming) = (rung.next, u64::from(init.media_time));
        let (first_sample, whole) = (grid.start(n), grid.samples(n));
        // The first segment carries the priming; the later ones start that much later on the media timeline.
        let (tfdt, extra) = if n == 0 { (0, priming) } else { (first_sample + priming, 0) };
        let samples = found.duration.saturating_sub(extra);
        if found.tfdt != tfdt || samples == 0 || samples > whole {
            return Err(wrong(&format_args!("tfdt {} with {} samples, off the grid", found.tfdt, found.duration)));
        }
        let bytes_per_sample = u64::from(planned.bits.max(16)).div_ceil(8) * 2;
        let is_heavy = bytes.len() as u64 > (samples + priming) * bytes_per_sample + limits::SEGMENT_OVERHEAD_BYTES;
        if is_heavy || first_sample > limit_s.saturating_mul(u64::from(grid.rate)) {
            return Err(wrong(&"too large"));
        }
        rung.next += 1;
        rung.end = first_sample + samples;
        rung.closed = samples < whole;
        Ok(Event::Segment { rung: number, n, first_sample, samples, bytes })
    }

    fn progress(&mut self, input_offset: u64, body: &Bytes) -> Result<Event, Breach> {
        let samples = body.first_chunk().map(|b| u64::from_le_bytes(*b)).unwrap_or_default();
        let grid = self.source.as_ref().map(|s| s.grid).ok_or_else(|| Breach("progress before opening".into()))?;
        let slowest = self.rungs.iter().map(|r| r.end).min().unwrap_or_default();
        // Progress buys processor time, so it has to be paid for in segments.
        let most = slowest + grid.grid_samples.max(grid.first_samples) + self.ahead_samples();
        if samples < self.decoded || samples > most {
            return breach(format!("claims {samples} samples when the slowest rung has {slowest}"));
        }
        self.decoded = samples;
        Ok(Event::Progress { input_offset, samples })
    }

    fn peaks(&mut self, first: u64, pairs: Bytes) -> Result<Event, Breach> {
        let most = self.decoded / u64::from(peaks::SAMPLES_PER_PAIR) + 2 * self.ahead_samples();
        if !pairs.len().is_multiple_of(2) || first > most || first * 2 != self.pairs.len() as u64 {
            return breach(format!("peaks at {first} out of order"));
        }
        self.pairs.extend_from_slice(&pairs);
        Ok(Event::PeaksPart { first, pairs })
    }

    /// How far the decoder may be ahead of the slowest rung, on top of one whole segment.
    fn ahead_samples(&self) -> u64 {
        let aac = self.order.ladder.rungs().iter().filter(|rung| matches!(rung, ladder::RungSpec::Aac(_))).count();
        super::worker::ahead_samples(self.order.cores, aac)
    }

    fn fingerprint(&mut self, items: &Bytes) -> Result<Event, Breach> {
        let (items, []) = items.as_chunks() else { return breach("half an item of a fingerprint") };
        if std::mem::replace(&mut self.told.fingerprint, true) || self.source.is_none() {
            return breach("a fingerprint out of turn");
        }
        Ok(Event::Fingerprint(items.iter().map(|item| u32::from_le_bytes(*item)).collect()))
    }

    fn picture(&mut self, number: u64, bytes: Bytes) -> Result<Event, Breach> {
        let side = limits::PICTURE_SIDES.get(self.pictures).filter(|_| number == self.pictures as u64);
        let size = jpeg::dimensions(&bytes).map(|(width, height)| (u32::from(width), u32::from(height)));
        let (Some(side), Some((width, height))) = (side, size) else {
            return breach(format!("picture {number} is none"));
        };
        if width.max(height) > *side {
            return breach(format!("picture {number} is too large"));
        }
        self.pictures += 1;
        Ok(Event::Picture { width, height, bytes })
    }

    fn done(&mut self, finished: Finished) -> Result<Said, Breach> {
        let rate = self.source.as_ref().map(|s| s.grid.rate).ok_or_else(|| Breach("done before opening".into()))?;
        let primings: Vec<u32> = self.rungs.iter().map(|r| r.init.map_or(0, |i| i.media_time)).collect();
        let is_whole = self.rungs.iter().all(|r| r.init.is_some() && r.end == finished.samples);
        if finished.samples == 0 || !is_whole || finished.priming != primings {
            return breach("done, but the rungs don't agree");
        }
        self.is_whole = true;
        let dat = peaks::dat(rate, &std::mem::take(&mut self.pairs));
        let done = Event::Done { samples: finished.samples, rate, priming: primings };
        Ok(Said::Done(vec![Event::Peaks { dat }, done]))
    }
}

pub(super) fn one(event: Event) -> Result<Said, Breach> {
    Ok(Said::Events(vec![event]))
}

pub(super) fn breach<T>(text: impl Into<String>) -> Result<T, Breach> {
    Err(Breach(text.into()))
}

fn json<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Breach> {
    serde_json::from_slice(body).map_err(|e| Breach(format!("unreadable message: {e}")))
}

/// Without control characters, and no longer than `bytes`.
pub(super) fn clean(text: &str, bytes: usize) -> String {
    let mut out: String = text.chars().filter(|c| !c.is_control()).collect();
    out.truncate(out.floor_char_boundary(bytes));
    out
}

#[cfg(test)]
mod tests;
