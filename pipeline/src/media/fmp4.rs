//! Reads the boxes of our own inits and segments, in order to judge a worker that may lie.
//!
//! Promise: what passes is `ftyp moov` with one audio track, or one `moof mdat` whose samples fill the `mdat` exactly.
//!
//! ```text
//! ftyp · moov ─ mvhd, mvex ─ trex, trak ─ tkhd, edts ─ elst, mdia ─ mdhd, minf ─ stbl ─ stsd ─ mp4a | fLaC
//! moof ─ mfhd, traf ─ tfhd, tfdt, trun · mdat
//! ```
//! Absent: repair, and boxes that our muxer doesn't write.

/// Samples of one `trun`: a segment of 16 s at AAC's smallest packets has 800.
const TRUN_SAMPLES_MAX: u32 = 65_536;

/// What is wrong with the boxes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoxError {
    /// A size that doesn't fit its parent.
    #[error("box `{0}` overruns its parent")]
    Overrun(String),
    /// Another box stands there.
    #[error("box `{found}` where {wanted} belongs")]
    Unexpected {
        /// What was found.
        found: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A box is missing.
    #[error("no `{0}`")]
    Missing(&'static str),
    /// A field has a value that can't be.
    #[error("{0}")]
    Value(&'static str),
}

/// What an init says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init {
    /// Ticks per second of the media: the sample rate.
    pub timescale: u32,
    /// Where the edit list starts the media: the encoder's priming.
    pub media_time: u32,
    /// `mp4a` or `fLaC`.
    pub format: [u8; 4],
    /// Channels of the sample entry.
    pub channels: u16,
    /// What `trex` gives samples that say nothing.
    pub default_duration: u32,
}

/// What a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Base media decode time, in samples, priming included.
    pub tfdt: u64,
    /// Sum of the sample durations.
    pub duration: u64,
    /// Number of packets.
    pub packets: u32,
    /// Duration of the last packet: shorter than the others at the end of a track.
    pub last_duration: u32,
}

/// Reads an init.
pub fn init(bytes: &[u8]) -> Result<Init, BoxError> {
    let [ftyp, moov] = exactly(bytes, ["ftyp", "moov"])?;
    if ftyp.len() < 8 {
        return Err(BoxError::Value("ftyp is too short"));
    }
    let mut traks = boxes(moov).filter(|b| b.as_ref().is_ok_and(|b| &b.kind == b"trak"));
    let (Some(Ok(trak)), None) = (traks.next(), traks.next()) else {
        return Err(BoxError::Value("an init has one track"));
    };
    let mdhd = path(trak.body, &["mdia", "mdhd"])?;
    let (version, at) = (byte(mdhd, 0)?, 12);
    let timescale = be32(mdhd, if version == 1 { at + 8 } else { at })?;
    let stsd = path(trak.body, &["mdia", "minf", "stbl", "stsd"])?;
    if be32(stsd, 4)? != 1 {
        return Err(BoxError::Value("stsd has one entry"));
    }
    let entry = only(stsd.get(8..).unwrap_or_default())?;
    let trex = path(moov, &["mvex", "trex"])?;
    let format = entry.kind;
    if !matches!(&format, b"mp4a" | b"fLaC") {
        return Err(BoxError::Unexpected { found: name(&format), wanted: "mp4a or fLaC" });
    }
    Ok(Init {
        timescale,
        media_time: edit(trak.body)?,
        format,
        channels: be16(entry.body, 16)?,
        default_duration: be32(trex, 12)?,
    })
}

/// The one edit that shifts the media; 0 without a list.
fn edit(trak: &[u8]) -> Result<u32, BoxError> {
    let Ok(elst) = path(trak, &["edts", "elst"]) else { return Ok(0) };
    let version = byte(elst, 0)?;
    if be32(elst, 4)? != 1 {
        return Err(BoxError::Value("elst has one entry"));
    }
    let media_time = if version == 1 { be64(elst, 16)? } else { u64::from(be32(elst, 12)?) };
    u32::try_from(media_time).map_err(|_| BoxError::Value("elst starts out of range"))
}

/// Reads a segment; `init` gives the defaults.
pub fn segment(bytes: &[u8], init: &Init) -> Result<Segment, BoxError> {
    let [moof, mdat] = exactly(bytes, ["moof", "mdat"])?;
    let moof_len = bytes.len() - mdat.len() - 8;
    let [_mfhd, traf] = exactly(moof, ["mfhd", "traf"])?;
    let [tfhd, tfdt, trun] = exactly(traf, ["tfhd", "tfdt", "trun"])?;
    let defaults = Defaults::of(tfhd, init)?;
    let tfdt = if byte(tfdt, 0)? == 1 { be64(tfdt, 4)? } else { u64::from(be32(tfdt, 4)?) };
    let run = run(trun, &defaults)?;
    if run.bytes != mdat.len() as u64 || run.data_offset != moof_len as u64 + 8 {
        return Err(BoxError::Value("samples don't fill the mdat"));
    }
    Ok(Segment { tfdt, duration: run.duration, packets: run.packets, last_duration: run.last_duration })
}

struct Defaults {
    duration: u32,
    size: u32,
}

impl Defaults {
    fn of(tfhd: &[u8], init: &Init) -> Result<Self, BoxError> {
        const BASE_OFFSET: u32 = 0x1;
        const DESCRIPTION: u32 = 0x2;
        const DURATION: u32 = 0x8;
        const SIZE: u32 = 0x10;
        const BASE_IS_MOOF: u32 = 0x2_0000;
        let flags = be32(tfhd, 0)? & 0xff_ffff;
        if flags & BASE_OFFSET != 0 || flags & BASE_IS_MOOF == 0 {
            return Err(BoxError::Value("offsets must be relative to the moof"));
        }
        let mut at = if flags & DESCRIPTION != 0 { 12 } else { 8 };
        let mut next = |flag: u32, other: u32| {
            if flags & flag == 0 {
                return Ok(other);
            }
            at += 4;
            be32(tfhd, at - 4)
        };
        Ok(Self { duration: next(DURATION, init.default_duration)?, size: next(SIZE, 0)? })
    }
}

struct Run {
    data_offset: u64,
    duration: u64,
    bytes: u64,
    packets: u32,
    last_duration: u32,
}

fn run(trun: &[u8], defaults: &Defaults) -> Result<Run, BoxError> {
    const OFFSET: u32 = 0x1;
    const FIRST_FLAGS: u32 = 0x4;
    const FIELDS: [u32; 4] = [0x100, 0x200, 0x400, 0x800]; // duration, size, flags, composition offset
    let flags = be32(trun, 0)? & 0xff_ffff;
    let packets = be32(trun, 4)?;
    if flags & OFFSET == 0 || packets == 0 || packets > TRUN_SAMPLES_MAX {
        return Err(BoxError::Value("trun without samples or offset"));
    }
    let mut at = if flags & FIRST_FLAGS != 0 { 16 } else { 12 };
    let mut out = Run { data_offset: u64::from(be32(trun, 8)?), duration: 0, bytes: 0, packets, last_duration: 0 };
    for _ in 0..packets {
        let mut values = [Some(defaults.duration), Some(defaults.size), None, None];
        for (value, _) in values.iter_mut().zip(FIELDS).filter(|(_, field)| flags & field != 0) {
            *value = Some(be32(trun, at)?);
            at += 4;
        }
        let [duration, size, ..] = values.map(Option::unwrap_or_default);
        out.duration += u64::from(duration);
        out.bytes += u64::from(size);
        out.last_duration = duration;
    }
    if at != trun.len() {
        return Err(BoxError::Value("trun has bytes left over"));
    }
    Ok(out)
}

struct Box4<'a> {
    kind: [u8; 4],
    body: &'a [u8],
}

/// The boxes that fill `bytes`; after an error none follow.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = Result<Box4<'_>, BoxError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let here = std::mem::take(&mut rest);
        Some(first_box(here).map(|(found, after)| {
            rest = after;
            found
        }))
    })
}

fn first_box(bytes: &[u8]) -> Result<(Box4<'_>, &[u8]), BoxError> {
    let &[a, b, c, d, ref kind @ ..] = bytes.first_chunk::<8>().ok_or(SHORT)?;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    match bytes.split_at_checked(size) {
        Some((whole, after)) if size >= 8 => Ok((Box4 { kind: *kind, body: &whole[8..] }, after)),
        _ => Err(BoxError::Overrun(name(kind))),
    }
}

/// Exactly these boxes, in this order.
fn exactly<'a, const N: usize>(bytes: &'a [u8], kinds: [&'static str; N]) -> Result<[&'a [u8]; N], BoxError> {
    let mut found = boxes(bytes);
    let mut out = [&bytes[..0]; N];
    for (slot, wanted) in out.iter_mut().zip(kinds) {
        let next = found.next().ok_or(BoxError::Missing(wanted))??;
        if next.kind != wanted.as_bytes() {
            return Err(BoxError::Unexpected { found: name(&next.kind), wanted });
        }
        *slot = next.body;
    }
    match found.next() {
        None => Ok(out),
        Some(more) => Err(BoxError::Unexpected { found: name(&more?.kind), wanted: "the end" }),
    }
}

fn only(bytes: &[u8]) -> Result<Box4<'_>, BoxError> {
    let mut found = boxes(bytes);
    match (found.next(), found.next()) {
        (Some(first), None) => first,
        _ => Err(BoxError::Value("one box expected")),
    }
}

fn path<'a>(mut bytes: &'a [u8], kinds: &[&'static str]) -> Result<&'a [u8], BoxError> {
    for kind in kinds {
        let mut found = boxes(bytes);
        bytes = loop {
            let next = found.next().ok_or(BoxError::Missing(kind))??;
            if next.kind == kind.as_bytes() {
                break next.body;
            }
        };
    }
    Ok(bytes)
}

const SHORT: BoxError = BoxError::Value("a box is shorter than its fields");

fn byte(bytes: &[u8], at: usize) -> Result<u8, BoxError> {
    bytes.get(at).copied().ok_or(SHORT)
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, BoxError> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u16::from_be_bytes(*b)).ok_or(SHORT)
}

fn be32(bytes: &[u8], at: usize) -> Result<u32, BoxError> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b)).ok_or(SHORT)
}

fn be64(bytes: &[u8], at: usize) -> Result<u64, BoxError> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u64::from_be_bytes(*b)).ok_or(SHORT)
}

fn name(kind: &[u8]) -> String {
    kind.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLAC: Init = Init { timescale: 44_100, media_time: 0, format: *b"fLaC", channels: 2, default_duration: 0 };

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    fn moof(sizes: &[u32], data_offset: u32) -> Vec<u8> {
        let fields: Vec<u32> =
            [0x301, sizes.len() as u32, data_offset].into_iter().chain(sizes.iter().flat_map(|s| [4096, *s])).collect();
        let traf = [
            boxed(b"tfhd", &words(&[0x2_0000, 1])),
            boxed(b"tfdt", &words(&[0x100_0000, 0, 40_960])),
            boxed(b"trun", &words(&fields)),
        ]
        .concat();
        boxed(b"moof", &[boxed(b"mfhd", &words(&[0, 1])), boxed(b"traf", &traf)].concat())
    }

    #[test]
    fn a_segment_must_be_filled_by_its_samples() {
        let offset = moof(&[3, 4], 0).len() as u32 + 8;
        let good = [moof(&[3, 4], offset), boxed(b"mdat", &[7; 7])].concat();
        let found = segment(&good, &FLAC).unwrap();
        assert_eq!((found.tfdt, found.duration, found.packets), (40_960, 8192, 2));
        for bad in [
            [moof(&[3, 5], offset), boxed(b"mdat", &[7; 7])].concat(),
            [moof(&[3, 4], offset + 1), boxed(b"mdat", &[7; 7])].concat(),
            [good.clone(), boxed(b"free", &[])].concat(),
            [boxed(b"styp", &[]), good.clone()].concat(),
            good[..good.len() - 1].to_vec(),
        ] {
            assert!(segment(&bad, &FLAC).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0usize..200, value: u8, cut in 0usize..200) {
            let offset = moof(&[3, 4], 0).len() as u32 + 8;
            let mut bytes = [moof(&[3, 4], offset), boxed(b"mdat", &[7; 7])].concat();
            let len = bytes.len();
            bytes[at % len] = value;
            bytes.truncate(cut.max(1));
            let _ = segment(&bytes, &FLAC);
            let _ = init(&bytes);
        }
    }
}
