//! iTunes' metadata, put into a `moov` that has none: its size grows, and no other box of a fragmented file counts on it.

use super::words::Words;

const TEXT: u32 = 1;
const JPEG: u32 = 13;
const PNG: u32 = 14;

/// What a player cuts off, which the edit list of a fragmented file tells only of the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// Before the music.
    pub(super) priming: u32,
    /// Behind it.
    pub(super) padding: u64,
    /// Samples of music.
    pub(super) samples: u64,
}

/// `ftyp moov` with the words in it, and iTunes' own word of the gap, which nobody has standardised and many read.
pub(super) fn put_into(init: &[u8], words: &Words, gap: Gap) -> Vec<u8> {
    let mut items = vec![];
    for (field, value) in words.said() {
        if let Some(name) = field.ilst.first_chunk() {
            items.extend(item(name, TEXT, value.as_bytes()));
        }
    }
    if let Some(picture) = &words.picture {
        items.extend(item(b"covr", if picture.is_png { PNG } else { JPEG }, &picture.bytes));
    }
    let Gap { priming, padding, samples } = gap;
    let text = format!(" 00000000 {priming:08X} {padding:08X} {samples:016X}{}", " 00000000".repeat(8));
    let mean = boxed(b"mean", b"\0\0\0\0com.apple.iTunes");
    let name = boxed(b"name", b"\0\0\0\0iTunSMPB");
    items.extend(boxed(b"----", &[mean, name, data(TEXT, text.as_bytes())].concat()));
    let handler = [b"\0\0\0\0\0\0\0\0mdirappl".as_slice(), &[0; 9]].concat();
    let meta = [&[0; 4], boxed(b"hdlr", &handler).as_slice(), &boxed(b"ilst", &items)].concat();
    let udta = boxed(b"udta", &boxed(b"meta", &meta));
    let mut out = vec![];
    let mut rest = init;
    while let Some((head, _)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, name @ ..] = *head;
        let len = (u32::from_be_bytes([a, b, c, d]) as usize).clamp(8, rest.len());
        let (this, after) = rest.split_at(len);
        if &name == b"moov" {
            out.extend(boxed(b"moov", &[&this[8..], &udta].concat()));
        } else {
            out.extend(this);
        }
        rest = after;
    }
    out
}

fn item(name: &[u8; 4], kind: u32, value: &[u8]) -> Vec<u8> {
    boxed(name, &data(kind, value))
}

fn data(kind: u32, value: &[u8]) -> Vec<u8> {
    boxed(b"data", &[&kind.to_be_bytes(), [0; 4].as_slice(), value].concat())
}

fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(8 + body.len() as u32).to_be_bytes(), name.as_slice(), body].concat()
}
