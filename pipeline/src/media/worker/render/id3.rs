//! ID3v2.4: text frames in UTF-8 and one picture.

use super::words::Words;

/// The whole tag; empty when nothing is said.
pub(super) fn tag(words: &Words) -> Vec<u8> {
    let mut frames = vec![];
    for (field, value) in words.said().filter(|(field, _)| !field.id3.is_empty()) {
        frame(&mut frames, field.id3, &[b"\x03", value.as_bytes()].concat());
    }
    if let Some(picture) = &words.picture {
        let head = [b"\x00", picture.media_type().as_bytes(), b"\0\x03\0"].concat();
        frame(&mut frames, "APIC", &[head.as_slice(), &picture.bytes].concat());
    }
    if frames.is_empty() {
        return frames;
    }
    [b"ID3\x04\0\0", syncsafe(frames.len()).as_slice(), &frames].concat()
}

fn frame(out: &mut Vec<u8>, name: &str, body: &[u8]) {
    out.extend(name.as_bytes());
    out.extend(syncsafe(body.len()));
    out.extend([0, 0]);
    out.extend(body);
}

/// 28 bits in four bytes whose highest bits are 0, so that no decoder takes them for a frame of sound.
fn syncsafe(n: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (n >> shift & 0x7f) as u8)
}
