//! As much XML as S3's documents need: no attributes, no nesting of equal names.

pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c < ' ' => safe.push_str(&format!("&#{};", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(end) = rest.find(';') else { break };
        let named = match &rest[1..end] {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            number => number.strip_prefix('#').and_then(character),
        };
        plain.push(named.unwrap_or('\u{fffd}'));
        rest = &rest[end + 1..];
    }
    plain + rest
}

fn character(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code)
}

/// The raw insides of every element of that name.
pub(super) fn elements<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inside = |piece: &'a str| piece.find(&close).map(|end| &piece[..end]);
    text.split(open.as_str()).skip(1).filter_map(inside).collect()
}

/// The text of the first element of that name.
pub(super) fn text_of(text: &str, name: &str) -> Option<String> {
    elements(text, name).first().map(|inside| unescaped(inside.trim()))
}

/// `<name>text</name>`.
pub(super) fn tag(name: &str, text: impl std::fmt::Display) -> String {
    format!("<{name}>{}</{name}>", escaped(&text.to_string()))
}
