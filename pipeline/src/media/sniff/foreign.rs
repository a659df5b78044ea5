//! Names for what is no audio, so that a refusal can say what was sent.

/// Names for what people upload by mistake, and for what attackers do on purpose.
pub(super) fn foreign(head: &[u8]) -> Option<&'static str> {
    let table: [(&[u8], &str); 27] = [
        (b"#EXTM3U", "an HLS playlist"),
        (b"ffconcat", "an ffconcat script"),
        (b"<?xml", "an XML document"),
        (b"<MPD", "a DASH manifest"),
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"GIF8", "a GIF picture"),
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"Rar!", "a RAR archive"),
        (b"7z\xbc\xaf", "a 7z archive"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"MThd", "MIDI"),
        (b"\x30\x26\xb2\x75", "Windows Media"),
        (b"DSD ", "DSD"),
        (b"FRM8", "DSD"),
        (b"MAC ", "Monkey's Audio"),
        (b"TTA1", "True Audio"),
        (b"MPCK", "Musepack"),
        (b"MP+", "Musepack"),
        (b"#!AMR", "AMR"),
        (b".snd", "Sun audio"),
        (b"\x7fELF", "a program"),
        (b"MZ", "a program"),
        (b"FLV", "Flash video"),
        (b"\0\0\x01\xba", "MPEG video"),
    ];
    let riff = || match head.get(8..12)? {
        b"AVI " => Some("AVI video"),
        b"WEBP" => Some("a WebP picture"),
        _ => Some("a RIFF file that isn't WAVE"),
    };
    let known = table.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| *name);
    known.or_else(|| head.starts_with(b"RIFF").then(riff).flatten())
}

/// Whether the start reads as words.
pub(super) fn is_text(head: &[u8]) -> bool {
    let sample = &head[..head.len().min(512)];
    sample.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..))
        && std::str::from_utf8(sample).map_or_else(|e| e.error_len().is_none(), |_| true)
}
