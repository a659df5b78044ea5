//! What a file says about itself: the source's own metadata, the track's title, and the picture, if it is a plain one.

use crate::media::Tag;

/// A field, by its name in each kind of file; empty where that kind has none.
pub(super) struct Field {
    /// libavformat's.
    pub(super) key: &'static str,
    /// Vorbis comments: FLAC, Opus.
    pub(super) vorbis: &'static str,
    /// ID3v2.4: MP3.
    pub(super) id3: &'static str,
    /// iTunes' list: MP4.
    pub(super) ilst: &'static [u8],
    /// RIFF's INFO list: WAV.
    pub(super) info: &'static str,
}

const fn field(
    key: &'static str,
    vorbis: &'static str,
    id3: &'static str,
    ilst: &'static [u8],
    info: &'static str,
) -> Field {
    Field { key, vorbis, id3, ilst, info }
}

/// Those that every kind of file knows; the rest of what a source says stays with the original.
const FIELDS: [Field; 12] = [
    field("title", "TITLE", "TIT2", b"\xa9nam", "INAM"),
    field("artist", "ARTIST", "TPE1", b"\xa9ART", "IART"),
    field("album", "ALBUM", "TALB", b"\xa9alb", "IPRD"),
    field("album_artist", "ALBUMARTIST", "TPE2", b"aART", ""),
    field("track", "TRACKNUMBER", "TRCK", b"", "IPRT"),
    field("disc", "DISCNUMBER", "TPOS", b"", ""),
    field("date", "DATE", "TDRC", b"\xa9day", "ICRD"),
    field("genre", "GENRE", "TCON", b"\xa9gen", "IGNR"),
    field("composer", "COMPOSER", "TCOM", b"\xa9wrt", ""),
    field("comment", "COMMENT", "", b"\xa9cmt", "ICMT"),
    field("copyright", "COPYRIGHT", "TCOP", b"cprt", "ICOP"),
    field("isrc", "ISRC", "TSRC", b"", ""),
];

/// A picture that any player shows.
pub(super) struct Picture {
    pub(super) bytes: Vec<u8>,
    pub(super) is_png: bool,
}

/// All that is said.
#[derive(Default)]
pub(super) struct Words {
    said: Vec<(&'static Field, String)>,
    pub(super) picture: Option<Picture>,
}

impl Words {
    pub(super) fn of(tags: &[Tag], title: &str, picture: Option<Vec<u8>>) -> Self {
        let own = |field: &Field| tags.iter().find(|(key, _)| key == field.key).map(|(_, value)| clean(value));
        let said = FIELDS.iter().filter_map(|field| {
            let value = if field.key == "title" { Some(clean(title)) } else { own(field) };
            value.filter(|value| !value.is_empty()).map(|value| (field, value))
        });
        let picture = picture.and_then(|bytes| {
            let is_png = bytes.starts_with(b"\x89PNG\r\n\x1a\n");
            (is_png || bytes.starts_with(b"\xff\xd8\xff")).then_some(Picture { bytes, is_png })
        });
        Self { said: said.collect(), picture }
    }

    /// The fields that a kind of file has a name for.
    pub(super) fn said(&self) -> impl Iterator<Item = (&'static Field, &str)> {
        self.said.iter().map(|(field, value)| (*field, value.as_str()))
    }
}

impl Picture {
    pub(super) fn media_type(&self) -> &'static str {
        if self.is_png { "image/png" } else { "image/jpeg" }
    }

    /// FLAC's picture block, which Vorbis comments carry too: a front cover of unknown size.
    pub(super) fn block(&self) -> Vec<u8> {
        let mut out = vec![];
        out.extend(3u32.to_be_bytes());
        out.extend((self.media_type().len() as u32).to_be_bytes());
        out.extend(self.media_type().as_bytes());
        out.extend([0; 20]); // no description; width, height, depth and colours unknown
        out.extend((self.bytes.len() as u32).to_be_bytes());
        out.extend(&self.bytes);
        out
    }
}

/// One line, without what would end a field early.
fn clean(value: &str) -> String {
    value.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
