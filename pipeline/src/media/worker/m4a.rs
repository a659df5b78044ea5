//! The exact length of audio in MP4, which libavformat rounds: edit lists count in the movie's ticks, often whole
//! milliseconds, while the media itself counts samples.
//!
//! Read from the headers of `moov` and of its first track with sound; a film's other tracks are stepped over.

/// How much of a box is looked at: a track's header, edit list, media header and handler stand before its sample tables.
const LOOK_BYTES: usize = 8 * 1024;

/// Boxes in a `moov` that are looked at: a film has a few tracks, each in one.
const BOXES_MAX: usize = 64;

/// A length in ticks of the media, which are samples for audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::media) struct Length {
    pub(in crate::media) ticks: u64,
    pub(in crate::media) per_second: u32,
}

/// The length of the first track with sound, after its edit's start. None unless there is exactly one edit and it cuts
/// nothing off the end but a rounding error: then the edit list is to be obeyed as it stands. `look` gives some of the file's
/// bytes at a place, fewer at its end.
pub(in crate::media) fn length(moov_at: u64, mut look: impl FnMut(u64, usize) -> Option<Vec<u8>>) -> Option<Length> {
    let mut movie_scale = None;
    let mut at = moov_at.checked_add(8)?;
    for _ in 0..BOXES_MAX {
        let bytes = look(at, LOOK_BYTES)?;
        let size = u64::from(be32(&bytes, 0)?);
        let whole = bytes.get(..usize::try_from(size).ok()?).unwrap_or(&bytes);
        match bytes.get(4..8)? {
            b"mvhd" => movie_scale = Some(scale(find(whole, b"mvhd")?)?.0),
            b"trak" if has_sound(whole) => return of_track(movie_scale?, find(whole, b"trak")?),
            _ if size < 8 => return None,
            _ => {}
        }
        at = at.checked_add(size)?;
    }
    None
}

fn has_sound(trak: &[u8]) -> bool {
    let handler = find(trak, b"trak").and_then(|trak| find(find(trak, b"mdia")?, b"hdlr"));
    handler.and_then(|handler| handler.get(8..12)) == Some(b"soun")
}

fn of_track(movie_scale: u32, trak: &[u8]) -> Option<Length> {
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

    /// A track of that kind, with so many bytes of tables.
    fn trak(kind: &[u8; 4], edit: u32, entries: u32, tables: usize) -> Vec<u8> {
        let edts = boxed(b"edts", &boxed(b"elst", &words(&[0, entries, edit, 1024, 0x1_0000])));
        let mdhd = boxed(b"mdhd", &words(&[0, 0, 0, 44_100, 221_525, 0]));
        let hdlr = boxed(b"hdlr", &[&[0; 8], &kind[..], &[0; 13]].concat());
        let mdia = boxed(b"mdia", &[mdhd, hdlr, boxed(b"minf", &vec![0; tables])].concat());
        boxed(b"trak", &[boxed(b"tkhd", &[0; 84]), edts, mdia].concat())
    }

    /// The length in a file whose `moov` has these tracks and begins at 10.
    fn length_in(tracks: &[Vec<u8>]) -> Option<Length> {
        let mvhd = boxed(b"mvhd", &words(&[0, 0, 0, 1000, 5001]));
        let file = [&[0; 10], &boxed(b"moov", &[mvhd, tracks.concat()].concat())[..]].concat();
        length(10, |at, len| {
            let from = usize::try_from(at).ok().filter(|from| *from <= file.len())?;
            Some(file[from..file.len().min(from + len)].to_vec())
        })
    }

    const EXACT: Option<Length> = Some(Length { ticks: 220_501, per_second: 44_100 });

    #[test]
    fn a_rounded_edit_gives_way_to_the_media() {
        let of = |edit, entries| length_in(&[trak(b"soun", edit, entries, 0)]);
        assert_eq!([5000, 5001].map(|edit| of(edit, 1)), [EXACT, EXACT]);
        assert_eq!(of(4000, 1), None, "a real cut is obeyed");
        assert_eq!(of(5000, 2), None);
        assert_eq!(length(0, |_, _| Some(b"moov".to_vec())), None);
        assert_eq!(length(0, |_, _| None), None);
        assert_eq!(length(0, |_, _| Some(vec![0; 16])), None, "a box without a size");
        assert_eq!(length(u64::MAX - 9, |_, _| Some(boxed(b"free", &[0; 9]))), None);
    }

    #[test]
    fn the_pictures_of_a_film_are_stepped_over() {
        let film = [trak(b"vide", 4000, 1, 100_000), trak(b"soun", 5000, 1, 100_000), trak(b"tmcd", 1, 1, 0)];
        assert_eq!(length_in(&film), EXACT);
        assert_eq!(length_in(&film[..1]), None);
    }

    #[test]
    fn the_field_of_itunes_is_read() {
        let text = " 00000000 00000840 000001C0 0000000000035D55 00000000";
        assert_eq!(itunes_samples(text), Some(220_501));
        assert_eq!(itunes_samples("x"), None);
    }
}
