//! Lists, in pages: objects, parts, open uploads.

use super::{
    call::Query,
    checksum,
    objects::timestamp,
    reply::{self, Refusal},
    rules::PAGE_MAX,
    store::{Answered, Asked, Object, Part, Store},
    strict::Manners,
    xml::{DECLARATION, tag},
};

impl Store {
    pub(super) fn list_objects(&self, asked: Asked<'_>) -> Answered {
        let query = &asked.call.query;
        let prefix = query.value("prefix").unwrap_or_default();
        let delimiter = query.value("delimiter").filter(|delimiter| !delimiter.is_empty());
        let after = query.value("continuation-token").or(query.value("start-after")).unwrap_or_default();
        let most = page(query, "max-keys");
        let state = self.lock();
        let (mut told, mut count, mut last, mut is_cut) = (String::new(), 0, after.to_owned(), false);
        for (key, object) in state.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            // Keys of a group that was told come after it, and are part of it.
            let is_group = last.len() > prefix.len() && delimiter.is_some_and(|d| last.ends_with(d));
            if key.as_str() <= last.as_str() || (is_group && key.starts_with(&last)) {
                continue;
            }
            if count == most {
                is_cut = true;
                break;
            }
            let group =
                delimiter.and_then(|d| key[prefix.len()..].find(d).map(|at| &key[..prefix.len() + at + d.len()]));
            (told, last) = match group {
                Some(group) => {
                    (told + &format!("<CommonPrefixes>{}</CommonPrefixes>", tag("Prefix", group)), group.into())
                }
                None => (told + &contents(key, object), key.clone()),
            };
            count += 1;
        }
        let mut inside = tag("Name", &self.bucket) + &tag("Prefix", prefix) + &tag("KeyCount", count);
        inside += &(tag("MaxKeys", most) + &tag("IsTruncated", is_cut));
        if is_cut {
            inside += &tag("NextContinuationToken", &last);
        }
        Ok(reply::xml(200, format!("{DECLARATION}<ListBucketResult>{inside}{told}</ListBucketResult>")))
    }

    pub(super) fn list_parts(&self, asked: Asked<'_>) -> Answered {
        let query = &asked.call.query;
        let most = page(query, "max-parts");
        let after = query.number("part-number-marker").unwrap_or(0);
        let state = self.lock();
        let id = (asked.call.key.clone(), asked.call.upload_id().to_owned());
        let upload = state.uploads.get(&id).ok_or_else(Refusal::no_such_upload)?;
        let mut rest = upload.parts.range(after + 1..).peekable();
        let (mut told, mut last, mut count) = (String::new(), after, 0);
        while let Some((number, part)) = rest.next_if(|_| count < most) {
            told += &one_part(*number, part);
            (last, count) = (*number, count + 1);
        }
        let is_cut = rest.peek().is_some();
        let mut inside = tag("Bucket", &self.bucket) + &tag("Key", &id.0) + &tag("UploadId", &id.1);
        inside += &(tag("PartNumberMarker", after) + &tag("MaxParts", most) + &tag("IsTruncated", is_cut));
        if is_cut {
            inside += &tag("NextPartNumberMarker", last);
        }
        Ok(reply::xml(200, format!("{DECLARATION}<ListPartsResult>{inside}{told}</ListPartsResult>")))
    }

    pub(super) fn list_uploads(&self, asked: Asked<'_>) -> Answered {
        let query = &asked.call.query;
        let prefix = query.value("prefix").unwrap_or_default();
        let most = page(query, "max-uploads");
        let after = (query.value("key-marker").unwrap_or_default(), query.value("upload-id-marker"));
        let wanted = |key: &str, id: &str| {
            let is_named = match self.options.manners {
                Manners::Minio => key == prefix,
                Manners::Aws | Manners::Garage => key.starts_with(prefix),
            };
            is_named && (key > after.0 || (key == after.0 && after.1.is_some_and(|marker| id > marker)))
        };
        let state = self.lock();
        let mut rest = state.uploads.iter().filter(|((key, id), _)| wanted(key, id)).peekable();
        let (mut told, mut last, mut count) = (String::new(), None, 0);
        while let Some(((key, id), upload)) = rest.next_if(|_| count < most) {
            let initiated = tag("Initiated", timestamp(upload.initiated));
            told += &format!("<Upload>{}{}{initiated}</Upload>", tag("Key", key), tag("UploadId", id));
            (last, count) = (Some((key, id)), count + 1);
        }
        let is_cut = rest.peek().is_some();
        let mut inside = tag("Bucket", &self.bucket) + &tag("MaxUploads", most) + &tag("IsTruncated", is_cut);
        if let (true, Some((key, id))) = (is_cut, last) {
            inside += &(tag("NextKeyMarker", key) + &tag("NextUploadIdMarker", id));
        }
        let name = "ListMultipartUploadsResult";
        Ok(reply::xml(200, format!("{DECLARATION}<{name}>{inside}{told}</{name}>")))
    }
}

fn page(query: &Query, name: &str) -> u64 {
    query.number(name).unwrap_or(PAGE_MAX).min(PAGE_MAX)
}

fn contents(key: &str, object: &Object) -> String {
    let inside = tag("Key", key)
        + &tag("LastModified", timestamp(object.modified))
        + &tag("ETag", &object.etag)
        + &tag("Size", object.payload.len)
        + &tag("StorageClass", "STANDARD");
    format!("<Contents>{inside}</Contents>")
}

fn one_part(number: u64, part: &Part) -> String {
    let sum = part.sum.map(|sum| tag(&format!("Checksum{}", sum.algorithm.name()), sum.text()));
    let inside = tag("PartNumber", number)
        + &tag("LastModified", timestamp(part.modified))
        + &tag("ETag", checksum::etag(part.md5))
        + &tag("Size", part.payload.len)
        + &sum.unwrap_or_default();
    format!("<Part>{inside}</Part>")
}
