//! Names of files that people keep, safe on every system, and how HTTP says them (RFC 6266, RFC 8187).

use uuid::Uuid;

use super::{Format, Kept};

/// Characters of a name without its extension: with four bytes each it stays below the 255 bytes of most file systems.
const STEM_CHARS_MAX: usize = 60;
/// The longest extension that a source's own name may keep.
const EXTENSION_CHARS_MAX: usize = 8;
/// What a file without any usable name is called.
const NAMELESS: &str = "track";
/// Names that Windows keeps for devices, whatever follows a dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// What a download is called: an original as it was, anything else after the track's title.
pub fn file_name(format: Format, title: &str, filename: Option<&str>, codec: Option<&str>) -> String {
    let own = filename.map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default());
    match (format.extension(), own.filter(|name| !stem(name).is_empty())) {
        (Some(extension), _) => format!("{}.{extension}", named(title)),
        (None, Some(own)) => match own.rsplit_once('.') {
            Some((before, extension)) if is_extension(extension) => format!("{}.{extension}", named(before)),
            _ => with(own, codec),
        },
        (None, None) => with(title, codec),
    }
}

/// A file in an archive of `count`: so that every system sorts them as the release does.
pub fn entry_name(n: usize, count: usize, format: Format, kept: &Kept) -> String {
    let own = file_name(format, &kept.title, kept.filename.as_deref(), kept.codec.as_deref());
    let extension = own.rsplit_once('.').map(|(_, extension)| extension).filter(|text| is_extension(text));
    let width = count.to_string().len().max(2);
    let title = named(&kept.title);
    match extension {
        Some(extension) => format!("{n:0width$} {title}.{extension}"),
        None => format!("{n:0width$} {title}"),
    }
}

/// The archive of a release, which has no title yet.
pub fn release_name(release: Uuid, format: Format) -> String {
    format!("release-{}-{format}.zip", &release.simple().to_string()[..8])
}

/// The value of `Content-Disposition`: ASCII throughout, so that it can't break out of its header.
pub fn disposition(name: &str) -> String {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => value.push(char::from(byte)),
            other => value.push_str(&format!("%{other:02X}")),
        }
    }
    value
}

fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' '
}

fn is_extension(text: &str) -> bool {
    (1..=EXTENSION_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn with(name: &str, codec: Option<&str>) -> String {
    match codec.and_then(usual_extension) {
        Some(extension) => format!("{}.{extension}", named(name)),
        None => named(name),
    }
}

/// How files of a codec mostly end.
fn usual_extension(codec: &str) -> Option<&'static str> {
    match codec {
        "flac" => Some("flac"),
        "mp3" | "mp3float" => Some("mp3"),
        "alac" | "aac" => Some("m4a"),
        "vorbis" => Some("ogg"),
        "opus" => Some("opus"),
        "wavpack" => Some("wv"),
        pcm if pcm.starts_with("pcm_") => Some("wav"),
        _ => None,
    }
}

fn named(text: &str) -> String {
    let stem = stem(text);
    if stem.is_empty() { NAMELESS.to_owned() } else { stem }
}

/// Without what some system can't have in a name; empty when nothing is left.
fn stem(text: &str) -> String {
    let safe: String = text
        .chars()
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .map(|c| if matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') { '-' } else { c })
        .take(STEM_CHARS_MAX)
        .collect();
    // Windows drops dots and spaces at the end, and a dot in front hides a file elsewhere.
    let safe = safe.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let before_dot = safe.split('.').next().unwrap_or_default().trim().to_lowercase();
    let device = before_dot.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_device = DEVICES.contains(&device) && before_dot.len() <= device.len() + 1;
    if is_device { format!("_{safe}") } else { safe.to_owned() }
}

/// Marks that turn the direction of text, and so hide what a name ends with.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_people_s_own_as_far_as_they_can_be() {
        let original = |filename| file_name(Format::Original, "Title", filename, Some("pcm_s16le"));
        assert_eq!(original(Some("01 Ça va?.wav")), "01 Ça va-.wav");
        assert_eq!(original(Some("../../etc/passwd")), "passwd.wav");
        assert_eq!(original(Some("C:\\sounds\\a.b.aif")), "a.b.aif");
        assert_eq!(original(Some("..")), "Title.wav");
        assert_eq!(original(None), "Title.wav");
        assert_eq!(file_name(Format::Original, "x", None, None), "x");
        assert_eq!(file_name(Format::Aac, " . ", Some("a.wav"), None), "track.m4a");
        assert_eq!(file_name(Format::Mp3, "AUX", None, None), "_AUX.mp3");
        assert_eq!(file_name(Format::Mp3, "com1.a", None, None), "_com1.a.mp3");
        assert_eq!(file_name(Format::Mp3, "company", None, None), "company.mp3");
        assert_eq!(file_name(Format::Flac, "gpj\u{202e}.exe", None, None), "gpj.exe.flac");
    }

    #[test]
    fn a_header_says_a_name_twice() {
        let said = disposition("Ça \"va\"\r\nX: y.wav");
        assert_eq!(
            said,
            "attachment; filename=\"_a _va___X: y.wav\"; filename*=UTF-8''%C3%87a%20%22va%22%0D%0AX%3A%20y.wav"
        );
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_folder_or_its_header(title: String, filename: Option<String>) {
            for format in Format::ALL {
                let name = file_name(format, &title, filename.as_deref(), Some("flac"));
                prop_assert!(!name.is_empty() && name.len() <= 255 && name != "." && name != "..");
                prop_assert!(!name.contains(['/', '\\', ':', '\0', '\n', '\r']) && !name.starts_with(['.', ' ']));
                let said = disposition(&name);
                prop_assert!(said.is_ascii() && !said.chars().any(|c| c.is_ascii_control()));
                prop_assert_eq!(said.matches('"').count(), 2);
            }
        }
    }
}
