//! Where the index of a file begins that has it behind its sound: who sends that first is played while the rest is sent.

use super::{Container, HEAD_BYTES, Sniffed, TOP_BOXES_MAX, find_moov, sniff};

/// The first byte of the index, by a reader of up to so many bytes at any offset. `None`: it comes first, or isn't found.
pub fn index_behind_sound(mut read: impl FnMut(u64, usize) -> Option<Vec<u8>>) -> Option<u64> {
    let Sniffed::IndexLast(container) = sniff(&read(0, HEAD_BYTES)?) else { return None };
    match container {
        Container::Mp4 => find_moov(|at| read(at, 16)?.first_chunk().copied()),
        Container::Aiff => behind(12, b"SSND", |at| {
            let head = read(at, 8)?;
            let size = u64::from(u32::from_be_bytes(*head.get(4..)?.first_chunk()?));
            Some((*head.first_chunk()?, size.checked_add(8 + (size & 1))?))
        }),
        Container::Caf => behind(8, b"data", |at| {
            let head = read(at, 12)?;
            let size = u64::from_be_bytes(*head.get(4..)?.first_chunk()?);
            Some((*head.first_chunk()?, size.checked_add(12)?))
        }),
        _ => None,
    }
}

/// Where the chunk of that name ends, by a reader of a chunk's name and whole length.
fn behind(first: u64, sound: &[u8; 4], mut chunk: impl FnMut(u64) -> Option<([u8; 4], u64)>) -> Option<u64> {
    let mut at = first;
    for _ in 0..TOP_BOXES_MAX {
        let (name, len) = chunk(at)?;
        at = at.checked_add(len)?;
        if name == *sound {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(file: &[u8]) -> Option<u64> {
        index_behind_sound(|at, len| {
            let from = usize::try_from(at).ok()?;
            Some(file.get(from..file.len().min(from.saturating_add(len)))?.to_vec())
        })
    }

    #[test]
    fn it_is_behind_the_sound_of_each_container() {
        let sound = [7; 40];
        let mp4 =
            [&b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x30mdat"[..], &sound, b"\0\0\0\x10moov\0\0\0\0\0\0\0\0"].concat();
        assert_eq!(of(&mp4), Some(64));
        let aiff = [&b"FORM\0\0\0\x80AIFFSSND\0\0\0\x27"[..], &sound, b"COMM\0\0\0\0"].concat();
        assert_eq!(of(&aiff), Some(60), "an odd chunk is padded");
        let desc = [&b"desc\0\0\0\0\0\0\0\x20"[..], &[0; 32]].concat();
        let caf = [&b"caff\0\x01\0\0"[..], &desc, b"data\0\0\0\0\0\0\0\x28", &sound, b"pakt\0\0\0\0\0\0\0\0"].concat();
        assert_eq!(of(&caf), Some(104));
        assert_eq!(of(&[&b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x10moov"[..], &sound].concat()), None, "it comes first");
        assert_eq!(of(&mp4[..60]), None, "cut short");
    }

    proptest! {
        #[test]
        fn nothing_panics(pick in 0usize..3, rest in prop::collection::vec(any::<u8>(), 0..80)) {
            let heads: [&[u8]; 3] = [b"FORM\0\0\0\0AIFFSSND", b"caff\0\x01\0\0data", b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x30mdat"];
            of(&[heads[pick], &rest].concat());
        }
    }
}
