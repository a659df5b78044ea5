//! Multipart uploads: create, part, copy, complete, abort.

use http::header::{CONTENT_TYPE, ETAG};

use super::{
    call::{Call, Op, percent_decoded},
    checksum::{self, Algorithm, Checksum, Claims},
    objects,
    reply::{self, Refusal},
    rules,
    store::{Answered, Asked, Object, Part, Payload, State, Store, Upload},
    strict::Manners,
    xml::{self, DECLARATION, tag},
};

/// Source objects smaller than this can only be copied whole.
const COPY_RANGE_BYTES_MIN: u64 = 5 << 20;

impl Store {
    pub(super) fn create(&self, asked: Asked<'_>) -> Answered {
        let algorithm = match asked.header("x-amz-checksum-algorithm") {
            Some(name) => Some(
                Algorithm::named(name)
                    .ok_or_else(|| Refusal::new(501, "NotImplemented", format!("checksums of kind {name}")))?,
            ),
            None => None,
        };
        match (algorithm, asked.header("x-amz-checksum-type")) {
            (_, Some("FULL_OBJECT")) | (None, None) | (Some(Algorithm::Crc64Nvme), None) => {}
            (Some(Algorithm::Crc64Nvme), Some("COMPOSITE")) => {
                return Err(Refusal::new(400, "InvalidRequest", "CRC64NVME is of the full object"));
            }
            _ => return Err(Refusal::new(501, "NotImplemented", "checksums of checksums")),
        }
        let mut state = self.lock();
        let id = format!("upload-{:06}", state.count());
        let upload = Upload {
            algorithm,
            content_type: asked.headers.get(CONTENT_TYPE).cloned(),
            initiated: state.now(),
            parts: Default::default(),
        };
        let key = asked.call.key.clone();
        state.uploads.insert((key.clone(), id.clone()), upload);
        let inside = tag("Bucket", &self.bucket) + &tag("Key", key) + &tag("UploadId", id);
        let name = "InitiateMultipartUploadResult";
        let mut response = reply::xml(200, format!("{DECLARATION}<{name}>{inside}</{name}>"));
        if let Some(algorithm) = algorithm {
            let headers = response.headers_mut();
            objects::set(headers, http::HeaderName::from_static("x-amz-checksum-algorithm"), algorithm.name());
            objects::set(headers, http::HeaderName::from_static("x-amz-checksum-type"), "FULL_OBJECT");
        }
        Ok(response)
    }

    pub(super) fn part(&self, asked: Asked<'_>) -> Answered {
        let number = rules::number(asked.call.part())?;
        rules::length(asked.call.body_bytes)?;
        let mut state = self.lock();
        let declared = upload(&mut state, asked.call)?.algorithm;
        let claims = asked.checked_claims()?;
        let claimed = claims.crc.as_ref().map(|(algorithm, _)| *algorithm);
        if let Some(declared) = declared.filter(|declared| claimed != Some(*declared)) {
            let text = format!("the upload is with {}, the part with {claimed:?}", declared.name());
            return Err(Refusal::new(400, "InvalidRequest", text));
        }
        let payload = asked.payload;
        let (md5, sum) = match payload.is_kept {
            true => (checksum::md5_of(&payload.frames), self.sum(&claims, &payload.frames, declared)),
            false => (u128::from(state.count()).to_be_bytes(), None),
        };
        let payload = payload.rotten(asked.rot);
        let part = Part { payload, md5, sum, modified: state.now(), is_hidden: false };
        let mut response = reply::empty(200);
        objects::set(response.headers_mut(), ETAG, &checksum::etag(md5));
        match (sum, claims.crc) {
            (Some(sum), _) => objects::tell_sum(response.headers_mut(), Some(sum)),
            (None, Some((algorithm, claimed))) => {
                let name = http::HeaderName::from_static(algorithm.header());
                objects::set(response.headers_mut(), name, &claimed);
            }
            (None, None) => {}
        }
        upload(&mut state, asked.call)?.parts.insert(number, part);
        Ok(response)
    }

    pub(super) fn copy_part(&self, asked: Asked<'_>) -> Answered {
        let number = rules::number(asked.call.part())?;
        let source = percent_decoded(asked.header("x-amz-copy-source").unwrap_or_default());
        let key = source.trim_start_matches('/').strip_prefix(&self.bucket).and_then(|key| key.strip_prefix('/'));
        let mut state = self.lock();
        let object = key.and_then(|key| state.objects.get(key)).ok_or_else(Refusal::no_such_key)?.clone();
        if asked.header("x-amz-copy-source-if-match").is_some_and(|etag| etag != object.etag) {
            return Err(Refusal::precondition());
        }
        let all = object.payload.len;
        let (from, len) = match asked.header("x-amz-copy-source-range") {
            Some(_) if all <= COPY_RANGE_BYTES_MIN && !self.options.manners.is_lax() => {
                return Err(Refusal::new(400, "InvalidRequest", "a range of so small an object can't be copied"));
            }
            Some(range) => objects::range_of(range, all)?,
            None => (0, all),
        };
        if !object.payload.is_kept {
            return Err(Refusal::new(501, "NotImplemented", "the bytes of parts were not kept"));
        }
        let payload = Payload::kept(super::body::slice(&object.payload.frames, from, len));
        let now = state.now();
        let upload = upload(&mut state, asked.call)?;
        let md5 = checksum::md5_of(&payload.frames);
        let sum = self.sum(&Claims::default(), &payload.frames, upload.algorithm);
        let etag = checksum::etag(md5);
        upload.parts.insert(number, Part { payload, md5, sum, modified: now, is_hidden: false });
        let inside = tag("LastModified", objects::timestamp(now)) + &tag("ETag", etag) + &sum_tags(sum);
        Ok(reply::xml(200, format!("{DECLARATION}<CopyPartResult>{inside}</CopyPartResult>")))
    }

    pub(super) fn complete(&self, asked: Asked<'_>) -> Answered {
        let listed = listed_parts(&asked.payload.text())?;
        let mut state = self.lock();
        let id = asked.call.upload_id().to_owned();
        if let Some((before, answer)) = state.completed.get(&id) {
            let same = self.options.manners == Manners::Aws
                && before
                    .iter()
                    .map(|(n, etag)| (*n, etag.as_str()))
                    .eq(listed.iter().map(|p| (p.number, p.etag.as_str())));
            let repeated = || Ok(reply::xml(200, answer.clone()));
            return if same { repeated() } else { Err(Refusal::no_such_upload()) };
        }
        self.conditions(&state, &asked)?;
        let upload = upload(&mut state, asked.call)?;
        let parts = self.chosen(upload, &listed)?;
        let sum = full_sum(upload.algorithm, &parts);
        self.full_claims(&asked, sum, &parts)?;
        let frames = parts.iter().flat_map(|part| part.payload.frames.iter().cloned()).collect();
        let payload = Payload {
            frames,
            len: parts.iter().map(|part| part.payload.len).sum(),
            is_kept: parts.iter().all(|part| part.payload.is_kept),
        };
        let etag = checksum::etag_of_parts(&parts.iter().map(|part| part.md5).collect::<Vec<_>>());
        let content_type = upload.content_type.clone();
        let inside = tag("Bucket", &self.bucket) + &tag("Key", &asked.call.key) + &tag("ETag", &etag) + &sum_tags(sum);
        let name = "CompleteMultipartUploadResult";
        let answer = format!("{DECLARATION}<{name}>{inside}</{name}>");
        let payload = payload.rotten(asked.rot);
        let object = Object { payload, etag, sum, content_type, modified: state.now() };
        let key = asked.call.key.clone();
        state.uploads.remove(&(key.clone(), id.clone()));
        self.supersede(&mut state, &key, Some(&id));
        state.objects.insert(key, object);
        let list = listed.into_iter().map(|part| (part.number, part.etag)).collect();
        state.completed.insert(id, (list, answer.clone()));
        Ok(reply::xml(200, answer))
    }

    pub(super) fn abort(&self, asked: Asked<'_>) -> Answered {
        let mut state = self.lock();
        let id = (asked.call.key.clone(), asked.call.upload_id().to_owned());
        state.uploads.remove(&id).ok_or_else(Refusal::no_such_upload)?;
        Ok(reply::empty(204))
    }

    /// The body of this request didn't arrive whole.
    pub(super) fn broken_off(&self, call: &Call) {
        if call.op != Op::UploadPart || self.options.manners != Manners::Garage {
            return;
        }
        let mut state = self.lock();
        let Ok(upload) = upload(&mut state, call) else { return };
        if let Some(part) = call.part().and_then(|number| upload.parts.get_mut(&number)) {
            part.is_hidden = true;
        }
    }

    /// The parts that a Complete lists, found to be there.
    fn chosen(&self, upload: &Upload, listed: &[Listed]) -> Result<Vec<Part>, Refusal> {
        let numbers: Vec<u64> = listed.iter().map(|part| part.number).collect();
        rules::order(&numbers, upload.algorithm.is_some() && !self.options.manners.is_lax())?;
        let mut parts = Vec::with_capacity(listed.len());
        for wanted in listed {
            let found = upload.parts.get(&wanted.number).filter(|part| !part.is_hidden && wanted.is(part));
            let missing = || Refusal::new(400, "InvalidPart", format!("part {} isn't there as listed", wanted.number));
            parts.push(found.ok_or_else(missing)?.clone());
        }
        if !self.options.manners.is_lax() {
            rules::sizes(&parts.iter().map(|part| part.payload.len).collect::<Vec<_>>())?;
        }
        Ok(parts)
    }

    /// What a Complete says about the whole object.
    fn full_claims(&self, asked: &Asked<'_>, sum: Option<Checksum>, parts: &[Part]) -> Result<(), Refusal> {
        let claims = Claims::of(&asked.headers)?;
        if asked.header("x-amz-checksum-type").is_some_and(|kind| kind != "FULL_OBJECT") {
            return Err(Refusal::new(400, "InvalidRequest", "the upload is with a checksum of the full object"));
        }
        if let (Some((algorithm, claimed)), Some(sum)) = (&claims.crc, sum) {
            if *algorithm != sum.algorithm {
                return Err(Refusal::new(400, "InvalidRequest", "the upload is with another kind of checksum"));
            }
            if *claimed != sum.text() {
                let text = format!("the parts make {}, the request said {claimed}", sum.text());
                return Err(Refusal::new(400, "BadDigest", text));
            }
        }
        let bytes: u64 = parts.iter().map(|part| part.payload.len).sum();
        let claimed = asked.header("x-amz-mp-object-size").and_then(|bytes| bytes.parse::<u64>().ok());
        if claimed.is_some_and(|claimed| claimed != bytes) {
            return Err(Refusal::new(400, "InvalidRequest", format!("the parts have {bytes} bytes")));
        }
        Ok(())
    }
}

pub(super) fn upload<'a>(state: &'a mut State, call: &Call) -> Result<&'a mut Upload, Refusal> {
    let id = (call.key.clone(), call.upload_id().to_owned());
    state.uploads.get_mut(&id).ok_or_else(Refusal::no_such_upload)
}

/// A part as a Complete lists it.
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) etag: String,
    sum: Option<String>,
}

impl Listed {
    fn is(&self, part: &Part) -> bool {
        let sum_agrees = match (&self.sum, part.sum) {
            (Some(listed), Some(sum)) => *listed == sum.text(),
            _ => true,
        };
        self.etag.trim_matches('"') == checksum::etag(part.md5).trim_matches('"') && sum_agrees
    }
}

pub(super) fn listed_parts(text: &str) -> Result<Vec<Listed>, Refusal> {
    let one = |part: &&str| {
        let number = xml::text_of(part, "PartNumber")?.parse().ok()?;
        let sums = ["ChecksumCRC64NVME", "ChecksumCRC32C", "ChecksumCRC32"];
        let sum = sums.into_iter().find_map(|name| xml::text_of(part, name));
        Some(Listed { number, etag: xml::text_of(part, "ETag")?, sum })
    };
    let parts = xml::elements(text, "Part");
    let listed: Option<Vec<_>> = parts.iter().map(one).collect();
    listed.ok_or_else(Refusal::malformed)
}

/// Of all parts together, where each has one of the same kind.
fn full_sum(declared: Option<Algorithm>, parts: &[Part]) -> Option<Checksum> {
    let algorithm = declared.or(parts.first()?.sum.map(|sum| sum.algorithm))?;
    let same = |part: &Part| part.sum.filter(|sum| sum.algorithm == algorithm).map(|sum| (sum.value, part.payload.len));
    let sums: Option<Vec<_>> = parts.iter().map(same).collect();
    Some(algorithm.combined(&sums?))
}

fn sum_tags(sum: Option<Checksum>) -> String {
    let Some(sum) = sum else { return String::new() };
    tag(&format!("Checksum{}", sum.algorithm.name()), sum.text()) + &tag("ChecksumType", "FULL_OBJECT")
}
