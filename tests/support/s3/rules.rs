//! What AWS demands of multipart uploads, as plain functions: the strict server and the proxy share them.

use super::reply::Refusal;

/// A part's number: the largest.
pub(super) const PARTS_MAX: u64 = 10_000;
/// Every part but the last.
pub(super) const PART_BYTES_MIN: u64 = 5 << 20;
/// Any part, and any object put in one piece.
pub(super) const PART_BYTES_MAX: u64 = 5 << 30;
/// Bytes of a key.
pub(super) const KEY_BYTES_MAX: usize = 1024;
/// Keys, parts and uploads in one page, and keys in one deletion.
pub(super) const PAGE_MAX: u64 = 1000;

pub(super) fn number(part: Option<u64>) -> Result<u64, Refusal> {
    let valid = part.filter(|number| (1..=PARTS_MAX).contains(number));
    valid.ok_or_else(|| Refusal::new(400, "InvalidArgument", format!("a part's number is from 1 to {PARTS_MAX}")))
}

pub(super) fn length(announced: Option<u64>) -> Result<u64, Refusal> {
    let bytes = announced.ok_or_else(|| Refusal::new(411, "MissingContentLength", "say how long the body is"))?;
    if bytes > PART_BYTES_MAX {
        return Err(Refusal::new(400, "EntityTooLarge", format!("at most {PART_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

pub(super) fn key(key: &str) -> Result<(), Refusal> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Refusal::new(400, "KeyTooLongError", format!("at most {KEY_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The numbers of a Complete rise; with checksums they are 1, 2, 3 and so on.
pub(super) fn order(numbers: &[u64], without_gaps: bool) -> Result<(), Refusal> {
    if numbers.is_empty() {
        return Err(Refusal::malformed());
    }
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Err(Refusal::new(400, "InvalidPartOrder", "parts are listed in the order of their numbers"));
    }
    if without_gaps && numbers.iter().zip(1..).any(|(number, expected)| *number != expected) {
        return Err(Refusal::new(400, "InvalidPartOrder", "with checksums, numbers are 1, 2, 3 and so on"));
    }
    Ok(())
}

/// Lengths of the parts in their order.
pub(super) fn sizes(lengths: &[u64]) -> Result<(), Refusal> {
    let but_last = &lengths[..lengths.len().saturating_sub(1)];
    match but_last.iter().find(|bytes| **bytes < PART_BYTES_MIN) {
        Some(bytes) => {
            let text = format!("a part has {bytes} bytes: all but the last have {PART_BYTES_MIN} or more");
            Err(Refusal::new(400, "EntityTooSmall", text))
        }
        None => Ok(()),
    }
}
