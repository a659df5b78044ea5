//! What a setting is, what it stands at, and who said so.

use super::{DEFAULTS, Loaded, SETTINGS, Setting, source::Error};

/// One setting, explained.
#[derive(Debug, serde::Serialize)]
pub struct Explained {
    /// Its name in `millrace.toml`.
    pub key: &'static str,
    /// Its name in the environment.
    pub variable: &'static str,
    /// What it stands at; secrets are masked.
    pub value: Option<String>,
    /// Who said so.
    pub origin: String,
    /// What it means.
    pub about: String,
}

/// Explains the setting of that key or variable, or all.
///
/// # Errors
/// There is no such setting.
pub fn explain(loaded: &Loaded, name: Option<&str>) -> Result<Vec<Explained>, Error> {
    let shown = serde_json::to_value(&loaded.config).unwrap_or_default();
    let wanted =
        |s: &&Setting| name.is_none_or(|n| s.key.eq_ignore_ascii_case(n) || s.variable.eq_ignore_ascii_case(n));
    let found: Vec<_> = SETTINGS
        .iter()
        .filter(wanted)
        .map(|s| Explained {
            key: s.key,
            variable: s.variable,
            value: text(&shown[s.key]),
            origin: loaded.values.origin(s.key).to_string(),
            about: about(s.key),
        })
        .collect();
    match name {
        Some(name) if found.is_empty() => Err(Error::NoSuchSetting(name.into())),
        _ => Ok(found),
    }
}

/// The comment above a key in the default file.
pub(super) fn about(key: &str) -> String {
    let mut comment = Vec::new();
    for line in DEFAULTS.lines() {
        if names_key(line) == Some(key) {
            return comment.join(" ");
        }
        match line.strip_prefix("# ") {
            Some(text) if names_key(line).is_none() => comment.push(text.trim()),
            _ => comment.clear(),
        }
    }
    String::new()
}

/// The key that a line of the default file sets, or shows commented out.
pub(super) fn names_key(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
    key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_').then_some(key)
}

fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(s) => Some(s.clone()),
        other => Some(other.to_string()),
    }
}
