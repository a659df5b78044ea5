//! The exact length of audio in MP4, which libavformat rounds: edit lists count in the movie's ticks, often whole
//! milliseconds, while the media itself counts samples.
//!
//! Read from the first bytes of the `moov` box; its sample tables, which may be large, come later in it.

/// How much of `moov` is looked at: its header, the first track's headers, edit list and media header.
pub(super) const MOOV_BYTES: usize = 8 * 1024;

/// A length in ticks of the media, which are samples for audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) ticks: u64,
    pub(super) per_second: u32,
}

/// The first track's length after its edit's start. None unless there is exactly one edit and it cuts nothing off the
/// end but a rounding error: then the edit list is to be obeyed as it stands.
pub(super) fn length(moov: &[u8]) -> Option<Length> {
    let moov = find(moov, b"moov")?;
    let movie_scale = scale(find(moov, b"mvhd")?)?.0;
    let trak = find(moov, b"trak")?;
    let (per_second, whole) = scale(find(find(trak, b"mdia")?, b"mdhd")?)?;
    let elst = find(find(trak, b"edts")?, b"elst")?;
    let (edit, media_time) = match (elst.first()?, be32(elst, 4)?) {
        (0, 1) => (u64::from(be32(elst, 8)?), u64::from(be32(elst, 12)?)),
        (1, 1) => (be64(elst, 8)?, be64(elst, 16)?),
        _ => return None,
    };
    let ticks = whole.checked_sub(media_time)?;
    // |edit / movie_scale − ticks / per_second| < 1 / movie_scale
    let edit = u128::from(edit) * u128::from(per_second);
    let media = u128::from(ticks) * u128::from(movie_scale);
    (ticks > 0 && edit.abs_diff(media) < u128::from(per_second)).then_some(Length { ticks, per_second })
}

/// Samples that iTunes wrote beside the audio: ` 00000000 00000840 000001C0 0000000000B9A200 …`.
pub(super) fn itunes_samples(text: &str) -> Option<u64> {
    u64::from_str_radix(text.split_ascii_whitespace().nth(3)?, 16).ok().filter(|n| *n > 0)
}

/// The body of the first box of that kind, as far as it is there.
fn find<'a>(mut bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let size = usize::try_from(be32(bytes, 0)?).ok().filter(|size| *size >= 8)?;
        let end = size.min(bytes.len());
        if bytes.get(4..8)? == kind {
            return bytes.get(8..end);
        }
        bytes = bytes.get(size..)?;
    }
}

/// Ticks per second and duration of an `mvhd` or `mdhd`.
fn scale(header: &[u8]) -> Option<(u32, u64)> {
    match header.first()? {
        0 => Some((be32(header, 12)?, u64::from(be32(header, 16)?))),
        1 => Some((be32(header, 20)?, be64(header, 24)?)),
        _ => None,
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    fn moov(edit: u32, entries: u32) -> Vec<u8> {
        let edts = boxed(b"edts", &boxed(b"elst", &words(&[0, entries, edit, 1024, 0x1_0000])));
        let mdia = boxed(b"mdia", &boxed(b"mdhd", &words(&[0, 0, 0, 44_100, 221_525, 0])));
        let trak = boxed(b"trak", &[boxed(b"tkhd", &[0; 84]), edts, mdia].concat());
        boxed(b"moov", &[boxed(b"mvhd", &words(&[0, 0, 0, 1000, 5001])), trak].concat())
    }

    #[test]
    fn a_rounded_edit_gives_way_to_the_media() {
        let exact = Some(Length { ticks: 220_501, per_second: 44_100 });
        assert_eq!([5000, 5001].map(|edit| length(&moov(edit, 1))), [exact, exact]);
        assert_eq!(length(&moov(4000, 1)), None, "a real cut is obeyed");
        assert_eq!(length(&moov(5000, 2)), None);
        assert_eq!(length(b"moov"), None);
    }

    #[test]
    fn the_field_of_itunes_is_read() {
        let text = " 00000000 00000840 000001C0 0000000000035D55 00000000";
        assert_eq!(itunes_samples(text), Some(220_501));
        assert_eq!(itunes_samples("x"), None);
    }
}
