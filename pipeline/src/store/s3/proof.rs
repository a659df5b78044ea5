//! What proves that bytes arrived as they were: CRC-64/NVME where the store knows it, else MD5.

use aws_sdk_s3::types::Part as StoredPart;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::super::Part;

/// As headers carry it.
pub(super) fn crc64_text(crc64: u64) -> String {
    STANDARD.encode(crc64.to_be_bytes())
}

/// From a header; a checksum of checksums (`…-3`) is none.
pub(super) fn crc64_of(text: &str) -> Option<u64> {
    Some(u64::from_be_bytes(STANDARD.decode(text).ok()?.try_into().ok()?))
}

/// An ETag without its quotes, as we keep it.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// What ListParts tells of one part.
pub(super) fn crc64_listed(part: &StoredPart) -> Option<u64> {
    part.checksum_crc64_nvme().and_then(crc64_of)
}

pub(super) fn md5(frames: &[Bytes]) -> [u8; 16] {
    let mut digest = Md5::new();
    frames.iter().for_each(|frame| digest.update(frame));
    digest.finalize().into()
}

/// As `Content-MD5` carries it.
pub(super) fn md5_text(md5: [u8; 16]) -> String {
    STANDARD.encode(md5)
}

/// The ETag that S3 gives an object of these parts: the MD5 of their MD5s, and their number. `None` where a part's ETag
/// isn't an MD5.
pub(super) fn multipart_etag(parts: &[Part]) -> Option<String> {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(unhex(&part.etag)?);
    }
    let whole: [u8; 16] = digest.finalize().into();
    Some(format!("{}-{}", crate::publish::hex(&whole), parts.len()))
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(etag: &str) -> Part {
        Part { part_no: 1, off: 0, len: 0, etag: etag.into(), crc64: 0 }
    }

    #[test]
    fn a_checksum_survives_its_header() {
        assert_eq!(crc64_of(&crc64_text(0x0123_4567_89ab_cdef)), Some(0x0123_4567_89ab_cdef));
        assert_eq!(crc64_of("ASNFZ4mrze8=-3"), None);
        // The check value that the algorithm's catalogue gives for "123456789".
        let check = crate::digest::crc64(&[Bytes::from_static(b"123456789")]);
        assert_eq!((check, crc64_text(check).as_str()), (0xae8b_1486_0a79_9888, "rosUhgp5mIg="));
    }

    #[test]
    fn an_etag_of_parts_is_the_md5_of_their_md5s() {
        let empty = crate::publish::hex(&md5(&[]));
        assert_eq!(empty, "d41d8cd98f00b204e9800998ecf8427e");
        // md5(unhex(empty)) from md5sum.
        assert_eq!(multipart_etag(&[part(&empty)]).as_deref(), Some("59adb24ef3cdbe0297f05b395827453f-1"));
        assert_eq!(multipart_etag(&[part(&empty), part("in-place-2")]), None);
    }
}
