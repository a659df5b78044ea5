//! A file's metadata as people may read it: cleaned, bounded, and named alike whatever the container calls it. Pure.
//!
//! Promise: what leaves [`clean`] is NFC, has no control character, and nothing invisible that turns the text around or
//! makes two different names look the same. Absent: refusal. Metadata is a suggestion; a bad field is left out.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

use super::Tag;
use super::limits::{TAG_CHARS, TAG_NAME_BYTES, TAGS_MAX};

/// What containers call the same thing. A name that isn't here stays as it is.
const NAMES: [(&str, &str); 19] = [
    ("albumartist", "album_artist"),
    ("album artist", "album_artist"),
    ("discnumber", "disc"),
    ("label", "publisher"),
    ("organization", "publisher"),
    ("tbpm", "bpm"),
    ("tmpo", "bpm"),
    ("tempo", "bpm"),
    ("tdor", "original_date"),
    ("tdrc", "date"),
    ("tory", "original_date"),
    ("tracknumber", "track"),
    ("trck", "track"),
    ("tsrc", "isrc"),
    ("tyer", "date"),
    ("year", "date"),
    ("totaldiscs", "disc_total"),
    ("totaltracks", "track_total"),
    ("tracktotal", "track_total"),
];

/// What a program wrote about itself or its container.
const TECHNICAL: [&str; 9] = [
    "compatible_brands",
    "creation_time",
    "encoder",
    "handler_name",
    "itunnorm",
    "itunsmpb",
    "major_brand",
    "minor_version",
    "vendor_id",
];

/// Bounded and cleaned; the first of several with one name.
pub fn clean(tags: impl IntoIterator<Item = Tag>) -> Vec<Tag> {
    let mut out: Vec<Tag> = vec![];
    for (key, value) in tags.into_iter().take(4 * TAGS_MAX) {
        let mut key = readable(&key).to_lowercase();
        key.truncate(key.floor_char_boundary(TAG_NAME_BYTES));
        let value = readable(&value);
        if !key.is_empty() && !value.is_empty() && out.iter().all(|(known, _)| *known != key) {
            out.push((key, value));
        }
        if out.len() == TAGS_MAX {
            break;
        }
    }
    out
}

/// The same for people: one name for one thing, `3/12` taken apart, nothing technical.
pub fn named(tags: &[Tag]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (key, value) in tags.iter().filter(|(key, _)| !TECHNICAL.contains(&key.as_str())) {
        let name = NAMES.iter().find(|(known, _)| known == key).map_or(key.as_str(), |(_, name)| name);
        if !matches!(name, "track" | "disc") {
            out.entry(name.to_owned()).or_insert_with(|| value.clone());
            continue;
        }
        let (number, total) = value.split_once('/').unwrap_or((value, ""));
        for (what, text) in [("number", number.trim()), ("total", total.trim())] {
            if !text.is_empty() {
                out.entry(format!("{name}_{what}")).or_insert_with(|| text.to_owned());
            }
        }
    }
    out
}

/// A text without what can't be seen, in NFC, without white space around it, of at most [`TAG_CHARS`] characters.
fn readable(text: &str) -> String {
    // More than can stay is not even looked at: composing is the expensive part.
    let text: String = text.chars().take(4 * TAG_CHARS).collect();
    let turns = text.chars().any(is_right_to_left);
    let mut before = None;
    let mut out = String::with_capacity(text.len());
    for c in text.nfc() {
        let kept = match c {
            '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
            _ if c.is_control() => None,
            // Embeddings, overrides and isolates: they turn what follows around.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
            // Marks of direction belong to scripts that run from right to left, and nowhere else.
            '\u{200e}' | '\u{200f}' | '\u{61c}' => turns.then_some(c),
            // Joiners shape Persian and Indian scripts and some emoji; between Latin letters they hide.
            '\u{200c}' | '\u{200d}' => before.filter(|b: &char| !b.is_ascii() && !is_joiner(*b)).map(|_| c),
            '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' => None,
            '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => None,
            _ => Some(c),
        };
        out.extend(kept);
        before = kept.or(before);
    }
    out.trim().chars().take(TAG_CHARS).collect::<String>().trim_end().to_owned()
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Hebrew, Arabic and their neighbours.
fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
        && !matches!(c, '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(key: &str, value: &str) -> Tag {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn nothing_that_can_t_be_seen_stays() {
        for (raw, seen) in [
            ("Gru\u{308}\u{df}e", "Gr\u{fc}\u{df}e"),
            ("a\u{202e}3pm.exe\u{202c}", "a3pm.exe"),
            ("pay\u{200b}pal\u{feff}\u{ad}", "paypal"),
            ("a\u{200d}b", "ab"),
            ("\u{200e}x\u{200f}", "x"),
            ("\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{200f}!", "\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{200f}!"),
            (
                "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
                "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            ),
            ("\u{1f468}\u{200d}\u{1f4bb}", "\u{1f468}\u{200d}\u{1f4bb}"),
            ("one\r\ntwo\u{0}\u{1b}[31m", "one  two[31m"),
            (" \u{7} ", ""),
        ] {
            assert_eq!(readable(raw), seen, "{raw:?}");
        }
        assert_eq!(readable(&"\u{e9}".repeat(5000)).chars().count(), TAG_CHARS);
    }

    #[test]
    fn one_name_for_one_thing() {
        let tags = clean([
            tag("TITLE", "A"),
            tag("title", "B"),
            tag("TSRC", "DEA123456789"),
            tag("track", "3/12"),
            tag("DISCNUMBER", "1"),
            tag("year", "1999"),
            tag("encoder", "Lavf"),
            tag("", "nothing"),
        ]);
        assert_eq!(tags[0], tag("title", "A"));
        let expected = [
            ("date", "1999"),
            ("disc_number", "1"),
            ("isrc", "DEA123456789"),
            ("title", "A"),
            ("track_number", "3"),
            ("track_total", "12"),
        ];
        assert_eq!(named(&tags), expected.map(|(k, v)| tag(k, v)).into());
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_bounded_and_stays_as_it_was_cleaned(tags in prop::collection::vec((".{0,40}", ".{0,80}"), 0..20)) {
            let once = clean(tags);
            prop_assert!(once.len() <= TAGS_MAX && once.iter().all(|(k, v)| k.len() <= TAG_NAME_BYTES && v.chars().count() <= TAG_CHARS));
            prop_assert!(once.iter().all(|(_, v)| !v.contains(char::is_control)));
            for (_, value) in &once {
                prop_assert_eq!(&readable(value), value);
            }
        }
    }
}
