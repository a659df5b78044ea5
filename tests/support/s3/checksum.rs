//! The checksums that S3 keeps beside an object, and its ETags.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum_combine};
use http::HeaderMap;
use md5::{Digest as _, Md5};

use super::reply::Refusal;

/// Those that can be combined to one of the whole object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
}

/// One checksum of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) algorithm: Algorithm,
    pub(super) value: u64,
}

impl Algorithm {
    pub(super) const ALL: [Self; 3] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
        }
    }

    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
        }
    }

    fn crc(self) -> CrcAlgorithm {
        match self {
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
            Self::Crc32c => CrcAlgorithm::Crc32Iscsi,
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        }
    }

    pub(super) fn of(self, frames: &[Bytes]) -> Checksum {
        let mut digest = crc_fast::Digest::new(self.crc());
        frames.iter().for_each(|frame| digest.update(frame));
        Checksum { algorithm: self, value: digest.finalize() }
    }

    /// Of parts in their order, with their lengths.
    pub(super) fn combined(self, parts: &[(u64, u64)]) -> Checksum {
        let add = |(sum, len): (u64, u64), (next, next_len): &(u64, u64)| {
            let both = if len == 0 { *next } else { checksum_combine(self.crc(), sum, *next, *next_len) };
            (both, len + next_len)
        };
        Checksum { algorithm: self, value: parts.iter().fold((0, 0), add).0 }
    }
}

impl Checksum {
    /// As headers and documents carry it.
    pub(super) fn text(self) -> String {
        let bytes = self.value.to_be_bytes();
        let skip = if self.algorithm == Algorithm::Crc64Nvme { 0 } else { 4 };
        STANDARD.encode(&bytes[skip..])
    }
}

/// What a request says about its own body.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    pub(super) crc: Option<(Algorithm, String)>,
    md5: Option<String>,
}

impl Claims {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let named = |name: &str| text(name).is_some();
        if ["x-amz-checksum-sha1", "x-amz-checksum-sha256"].into_iter().any(named) {
            return Err(Refusal::new(501, "NotImplemented", "checksums that can't be combined"));
        }
        let mut crcs = Algorithm::ALL.into_iter().filter_map(|a| text(a.header()).map(|value| (a, value)));
        let crc = crcs.next();
        if crcs.next().is_some() {
            return Err(Refusal::new(400, "InvalidRequest", "expecting a single x-amz-checksum- header"));
        }
        Ok(Self { crc, md5: text("content-md5") })
    }

    pub(super) fn any(&self) -> bool {
        self.crc.is_some() || self.md5.is_some()
    }

    /// Refuses a body that isn't as claimed.
    pub(super) fn check(&self, frames: &[Bytes]) -> Result<(), Refusal> {
        if let Some((algorithm, claimed)) = &self.crc {
            let found = algorithm.of(frames).text();
            if found != *claimed {
                let name = algorithm.name();
                return Err(Refusal::new(400, "BadDigest", format!("{name} is {found}, the request said {claimed}")));
            }
        }
        if let Some(claimed) = &self.md5
            && STANDARD.encode(md5_of(frames)) != *claimed
        {
            return Err(Refusal::new(400, "BadDigest", "Content-MD5 is of other bytes"));
        }
        Ok(())
    }
}

pub(super) fn md5_of(frames: &[Bytes]) -> [u8; 16] {
    let mut digest = Md5::new();
    frames.iter().for_each(|frame| digest.update(frame));
    digest.finalize().into()
}

/// With its quotes.
pub(super) fn etag(md5: [u8; 16]) -> String {
    format!("\"{}\"", hex(md5))
}

/// Of an object made of parts: the digest of their digests, and their number.
pub(super) fn etag_of_parts(parts: &[[u8; 16]]) -> String {
    let all: Vec<u8> = parts.concat();
    format!("\"{}-{}\"", hex(Md5::digest(&all).into()), parts.len())
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
