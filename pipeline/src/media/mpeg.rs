//! Frame headers of MPEG audio and ADTS, ID3v2 lengths, and the Xing/LAME tag that tells an MP3's exact length.
//!
//! Absent: decoding. libav does that; here is what it doesn't know in a pipe: where the encoder's padding starts.

/// Decoder delay of every MP3 decoder, in samples: what the tag's own delay comes on top of.
pub const DECODER_DELAY: u64 = 529;
/// Largest syncsafe ID3v2 length plus header and footer.
const ID3_HEAD: usize = 10;

/// Length of an ID3v2 tag at the start of `head`, header included; 0 without one.
pub fn id3v2_len(head: &[u8]) -> u64 {
    let Some((&[b'I', b'D', b'3', major, _, flags, a, b, c, d], _)) = head.split_first_chunk::<ID3_HEAD>() else {
        return 0;
    };
    if major == 0xff || [a, b, c, d].iter().any(|x| x & 0x80 != 0) {
        return 0;
    }
    let size = [a, b, c, d].iter().fold(0u64, |sum, x| sum << 7 | u64::from(*x));
    let footer = if flags & 0x10 != 0 { ID3_HEAD as u64 } else { 0 };
    ID3_HEAD as u64 + size + footer
}

/// An MPEG audio frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes from this header to the next.
    pub bytes: usize,
    /// Samples that it decodes to.
    pub samples: u32,
    /// Samples per second.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u16,
    /// I, II, III.
    pub layer: u8,
    /// Bytes of side information, where the Xing tag follows.
    side: usize,
}

/// Reads the header at the start of `bytes`; free format isn't read.
pub fn frame(bytes: &[u8]) -> Option<Frame> {
    const V1: [[u32; 15]; 3] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    ];
    const V2: [[u32; 15]; 2] = [
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let &[0xff, b, c, d] = bytes.first_chunk::<4>()? else { return None };
    let (version, layer_bits) = ((b >> 3) & 3, (b >> 1) & 3);
    if b & 0xe0 != 0xe0 || version == 1 || layer_bits == 0 {
        return None;
    }
    let layer = 4 - layer_bits;
    let is_v1 = version == 3;
    let kbps_at = usize::from(c >> 4);
    let table = if is_v1 { &V1[usize::from(layer) - 1] } else { &V2[usize::from(layer != 1)] };
    let kbps = *table.get(kbps_at)?;
    let base = *[44_100u32, 48_000, 32_000].get(usize::from((c >> 2) & 3))?;
    let rate = base >> [2, 0, 1, 0][usize::from(version)];
    let padding = u32::from(c >> 1 & 1);
    let samples = match (layer, is_v1) {
        (1, _) => 384,
        (3, false) => 576,
        _ => 1152,
    };
    let size =
        if layer == 1 { (12_000 * kbps / rate + padding) * 4 } else { samples / 8 * 1000 * kbps / rate + padding };
    let channels = if d >> 6 == 3 { 1 } else { 2 };
    let side = match (is_v1, channels) {
        (true, 2) => 32,
        (false, 1) => 9,
        _ => 17,
    };
    (kbps > 0).then_some(Frame { bytes: size as usize, samples, rate, channels, layer, side })
}

/// Length of the ADTS frame at the start of `bytes`.
pub fn adts_len(bytes: &[u8]) -> Option<usize> {
    let &[0xff, b, c, d, e, f, _] = bytes.first_chunk::<7>()? else { return None };
    let rate_index = (c >> 2) & 15;
    if b & 0xf6 != 0xf0 || rate_index > 12 {
        return None;
    }
    let len = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5);
    (len > 7).then_some(len)
}

/// What the first frame says of the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Samples of audio, encoder delay and padding left out. None if the tag doesn't know.
    pub samples: Option<u64>,
    /// Mean rate over the file, from its frames and bytes.
    pub kbps: Option<u32>,
}

/// Reads the Xing, Info or VBRI tag in the first frame, which starts `bytes`.
pub fn tag(bytes: &[u8]) -> Option<Tag> {
    let frame = frame(bytes).filter(|f| f.layer == 3)?;
    let xing = bytes.get(4 + frame.side..)?;
    if !matches!(xing.get(..4)?, b"Xing" | b"Info") {
        return None;
    }
    let flags = be32(xing, 4)?;
    let mut at = 8;
    let mut field = |present: bool, size: usize| {
        let here = at;
        at += if present { size } else { 0 };
        present.then_some(here)
    };
    let frames_at = field(flags & 1 != 0, 4);
    let bytes_at = field(flags & 2 != 0, 4);
    field(flags & 4 != 0, 100);
    field(flags & 8 != 0, 4);
    let frames = frames_at.and_then(|at| be32(xing, at)).map(u64::from);
    let size = bytes_at.and_then(|at| be32(xing, at)).map(u64::from);
    // LAME's part: 9 bytes of encoder name, then 12 bytes on, 12 bits of delay and 12 of padding.
    let lame = xing.get(at..at + 24).filter(|l| l[..4].iter().all(u8::is_ascii_alphanumeric));
    let trim = lame.map(|l| {
        let (delay, padding) =
            (u64::from(l[21]) << 4 | u64::from(l[22] >> 4), u64::from(l[22] & 15) << 8 | u64::from(l[23]));
        delay + padding
    });
    let whole = frames.map(|n| n * u64::from(frame.samples));
    let samples = whole.zip(trim).and_then(|(all, trim)| all.checked_sub(trim));
    let kbps = whole.zip(size).filter(|(all, _)| *all > 0);
    let kbps = kbps.and_then(|(all, size)| u32::try_from(size * 8 * u64::from(frame.rate) / all / 1000).ok());
    Some(Tag { samples: samples.filter(|n| *n > 0), kbps })
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_header_is_read() {
        let frame = frame(&[0xff, 0xfb, 0xe0, 0x00]).unwrap();
        assert_eq!((frame.bytes, frame.samples, frame.rate, frame.channels), (1044, 1152, 44_100, 2));
        assert_eq!(super::frame(&[0xff, 0xfb, 0xf0, 0]), None, "bit rate 15 is forbidden");
        assert_eq!(super::frame(&[0xff, 0xfb, 0x0c, 0]), None, "rate 3 is reserved");
    }

    #[test]
    fn a_lame_tag_gives_the_exact_length() {
        let mut bytes = vec![0xff, 0xfb, 0x90, 0x00];
        bytes.extend([0; 32]);
        bytes.extend(b"Info\0\0\0\x03\0\0\0\x0a\0\0\x10\x50");
        bytes.extend(b"LAME3.100");
        bytes.extend([0; 12]);
        bytes.extend([0x24, 0x04, 0x80, 0]);
        let tag = tag(&bytes).unwrap();
        assert_eq!(tag.samples, Some(10 * 1152 - 576 - 1152));
        assert_eq!(tag.kbps, Some(127), "4176 bytes over 10 frames, rounded down");
    }

    #[test]
    fn an_id3_tag_is_measured() {
        assert_eq!(id3v2_len(b"ID3\x04\0\0\0\0\x02\x01rest"), 10 + 257);
        assert_eq!(id3v2_len(b"ID3\x04\0\0\0\0\x82\x01rest"), 0);
        assert_eq!(id3v2_len(b"RIFF"), 0);
    }
}
