//! The file's name in `Content-Disposition` (RFC 6266): `filename*` (RFC 8187) before `filename`, and never a path.
//!
//! A field that isn't understood names nothing: an upload needs no name.

use std::borrow::Cow;

use http::{HeaderMap, header::CONTENT_DISPOSITION};

/// Longer names are cut: they break what people use to look at them.
const NAME_CHARS_MAX: usize = 1000;

/// The name for people, without the folders that a client may have put before it.
pub(super) fn filename(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(CONTENT_DISPOSITION).iter();
    let (line, more) = (lines.next()?, lines.next());
    if more.is_some() {
        return None;
    }
    let value = String::from_utf8_lossy(line.as_bytes());
    let (kind, mut rest) = value.split_once(';')?;
    if !is_token(kind.trim()) {
        return None;
    }
    let (mut plain, mut extended) = (None, None);
    loop {
        let (name, value, after) = parameter(rest)?;
        match name.to_ascii_lowercase().as_str() {
            "filename" if plain.is_none() => plain = Some(value.into_owned()),
            "filename*" if extended.is_none() => extended = decoded(&value),
            _ => {}
        }
        match after.trim_start().strip_prefix(';') {
            Some(more) if !more.trim().is_empty() => rest = more,
            Some(_) => break,
            None if after.trim().is_empty() => break,
            None => return None,
        }
    }
    clean(&extended.or(plain)?)
}

/// One `name=value`, and what follows it.
fn parameter(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let (name, rest) = text.split_once('=')?;
    let (name, rest) = (name.trim(), rest.trim_start());
    if !is_token(name) {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(|c: char| c == ';' || c.is_whitespace()).unwrap_or(rest.len());
        return is_token(&rest[..end]).then(|| (name, Cow::Borrowed(&rest[..end]), &rest[end..]));
    };
    let (mut value, mut letters) = (String::new(), quoted.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((name, Cow::Owned(value), &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

/// `UTF-8'language'percent-encoded`. Another character set is left to `filename`.
fn decoded(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let (mut bytes, mut letters) = (Vec::with_capacity(encoded.len()), encoded.bytes());
    while let Some(letter) = letters.next() {
        bytes.push(match letter {
            b'%' => {
                let digits = [letters.next()?, letters.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok().filter(|d| !d.starts_with('+'))?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn clean(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    Some(clean.trim().to_owned()).filter(|name| !name.is_empty() && name != "." && name != "..")
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn named(field: &str) -> Option<String> {
        filename(&HeaderMap::from_iter([(CONTENT_DISPOSITION, HeaderValue::from_bytes(field.as_bytes()).ok()?)]))
    }

    #[test]
    fn names_are_read_as_the_rfcs_write_them() {
        for (field, is) in [
            ("inline; filename=take2.flac", "take2.flac"),
            ("attachment; filename=\"take 2.flac\"", "take 2.flac"),
            ("attachment;FILENAME=\"a \\\"b\\\" \\\\ c.wav\"; x=1", "c.wav"),
            ("inline; filename=\"a \\\"b\\\".wav\"", "a \"b\".wav"),
            ("inline; filename=\"EURO.txt\"; filename*=utf-8'en'%e2%82%ac%20rates.txt", "€ rates.txt"),
            ("inline; filename*=UTF-8''%C3%86r%C3%B8.flac; filename=x", "Ærø.flac"),
            ("inline; filename*=ISO-8859-1''%A3; filename=pound", "pound"),
            ("inline; filename*=UTF-8''%zz; filename=bad", "bad"),
            ("inline; filename=\"Ærø.flac\"", "Ærø.flac"),
            ("inline; filename=\"../../etc/passwd\"", "passwd"),
            ("inline; filename=\"C:\\\\music\\\\x.wav\"", "x.wav"),
            ("inline; a=b ; filename = \"x\" ;", "x"),
        ] {
            assert_eq!(named(field).as_deref(), Some(is), "{field}");
        }
    }

    #[test]
    fn what_isnt_understood_names_nothing() {
        for field in [
            "",
            "inline",
            "inline;",
            "inline; filename",
            "inline; filename=",
            "inline; filename=\"x",
            "in line; filename=x",
            "inline; filename=\"x\" y",
            "inline; filename=\"\\",
            "inline; filename=\"..\"",
            "inline; filename=\" \"",
            "; filename=x",
        ] {
            assert_eq!(named(field), None, "{field}");
        }
    }

    proptest! {
        #[test]
        fn no_field_panics(field in "\\PC{0,80}") {
            let _ = named(&field);
        }

        #[test]
        fn an_encoded_name_comes_back(name in "[a-zäöü€ .'%+-]{1,40}") {
            let encoded: String = name.bytes().map(|b| format!("%{b:02X}")).collect();
            let read = named(&format!("inline; filename*=UTF-8''{encoded}")).unwrap_or_default();
            let is = name.trim();
            prop_assert_eq!(read, if is == "." || is == ".." { "" } else { is });
        }
    }
}
