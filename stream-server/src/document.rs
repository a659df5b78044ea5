//! OpenAPI of this crate's routes, told by the API beside its own. The protocols have their own specifications; here
//! stands what a reader of the document needs to find them.

use utoipa::OpenApi;

use crate::chunks::shapes::{Created, Failure, Standing, Stored, Wanted};

/// The routes of uploads and media.
#[derive(OpenApi)]
#[openapi(
    paths(
        options,
        options_one,
        create,
        overridden,
        offset,
        shown,
        append,
        terminate,
        entry,
        below,
        download,
        archive,
        chunks_create,
        chunks_progress,
        chunks_put,
        chunks_complete,
        chunks_terminate,
    ),
    components(schemas(Wanted, Created, Standing, Failure, Stored))
)]
struct Routes;

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Routes::openapi()
}

macro_rules! operation {
    ($name:ident, $method:ident, $path:literal, $tag:literal, $summary:literal,
     $(params($($param:literal),*),)? $(body($body:ty),)? $(($status:literal, $said:literal $(, $told:ty)?)),+) => {
        #[doc = $summary]
        #[utoipa::path($method, path = $path, tag = $tag, $(params($(($param = String, Path)),*),)?
            $(request_body = $body,)? responses($((status = $status, description = $said $(, body = $told)?)),+))]
        #[expect(dead_code, reason = "the macro above it makes the document; the handlers are beside their routes")]
        fn $name() {}
    };
}

operation!(
    options,
    options,
    "/files",
    "uploads",
    "What this server speaks of tus 1.0 and of the IETF's resumable uploads",
    (204, "Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Accept-Patch, Upload-Limit")
);
operation!(
    options_one,
    options,
    "/files/{id}",
    "uploads",
    "The same for one upload",
    params("id"),
    (204, "Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Accept-Patch, Upload-Limit")
);
operation!(
    create,
    post,
    "/files",
    "uploads",
    "Creates an upload and its track: tus 1.0 by Tus-Resumable, draft-ietf-httpbis-resumable-upload by Upload-Complete",
    (104, "IETF draft, interop 3 to 9: Location, Upload-Limit; then Upload-Offset of what is durable"),
    (
        201,
        "Location, Upload-Offset, Millrace-Track; Upload-Expires (tus), Upload-Complete and Upload-Limit (IETF draft). \
         tus: Upload-Concat: partial makes no track; final;URLs joins those, and has an offset when it is stored"
    ),
    (400, "A header is missing or bad; tus: a partial upload that is named can't be joined"),
    (401, "Not signed in"),
    (403, "Not allowed to upload"),
    (412, "Another tus version"),
    (413, "Larger than the limit"),
    (422, "The bytes aren't those that were promised"),
    (460, "tus: created, and the bytes that came along hadn't their Upload-Checksum")
);
operation!(
    overridden,
    post,
    "/files/{id}",
    "uploads",
    "PATCH, HEAD or DELETE by X-HTTP-Method-Override",
    params("id"),
    (204, "As the method that is meant"),
    (404, "No such upload"),
    (405, "No such override")
);
operation!(
    offset,
    head,
    "/files/{id}",
    "uploads",
    "How many bytes are durable. In the IETF draft, also without any field of it: stops a running append",
    params("id"),
    (
        200,
        "tus: Upload-Offset (of a final upload once it is stored), Upload-Length or Upload-Defer-Length, Upload-Metadata, \
         Upload-Concat, Upload-Expires"
    ),
    (204, "IETF draft: Upload-Offset, Upload-Complete, Upload-Length, Upload-Limit, Repr-Digest"),
    (400, "IETF draft: the request tells what it asks"),
    (404, "No such upload"),
    (410, "It ended")
);
operation!(
    shown,
    get,
    "/files/{id}",
    "uploads",
    "The same as HEAD in the IETF draft",
    params("id"),
    (204, "Upload-Offset, Upload-Complete, Upload-Length, Upload-Limit, Repr-Digest"),
    (400, "The request tells what it asks"),
    (404, "No such upload"),
    (410, "It ended")
);
operation!(
    append,
    patch,
    "/files/{id}",
    "uploads",
    "Appends bytes at the offset; in the IETF draft Upload-Complete: ?1 says that these are the last",
    params("id"),
    (201, "IETF draft: complete, as a creation with the whole file is answered; interop 3 to 6: appended"),
    (204, "Upload-Offset: these bytes are durable"),
    (
        400,
        "A header is missing or bad; IETF draft: lengths disagree, the upload is complete, or the content has another digest"
    ),
    (403, "tus: a final upload takes no bytes"),
    (404, "No such upload"),
    (409, "Another offset; the true one is told"),
    (410, "The upload ended"),
    (413, "Past the length"),
    (415, "Another media type"),
    (422, "The bytes aren't those that were promised"),
    (423, "Another request is writing"),
    (460, "tus: the bytes haven't their Upload-Checksum; nothing of them is kept"),
    (503, "Not now; Retry-After"),
    (507, "No space")
);
operation!(
    terminate,
    delete,
    "/files/{id}",
    "uploads",
    "Ends an upload; a stored track lives on",
    params("id"),
    (204, "Ended"),
    (404, "No such upload"),
    (410, "It ended before")
);
operation!(
    entry,
    get,
    "/media/{grant}/{track}/{file}",
    "media",
    "A multivariant playlist: live.m3u8 or index.m3u8",
    params("grant", "track", "file"),
    (200, "application/vnd.apple.mpegurl"),
    (304, "Not modified"),
    (403, "The link isn't valid, or not any more"),
    (404, "Not there")
);
operation!(
    below,
    get,
    "/media/{grant}/{track}/{run}/{rung}/{file}",
    "media",
    "live.m3u8, vod.m3u8, init.mp4 or a segment of one rung",
    params("grant", "track", "run", "rung", "file"),
    (200, "The bytes"),
    (206, "A range of them"),
    (304, "Not modified"),
    (403, "The link isn't valid, or not any more"),
    (404, "Not there"),
    (416, "No such range")
);
operation!(
    download,
    get,
    "/media/{grant}/{track}/download/{format}",
    "media",
    "A file of a track, as an attachment",
    params("grant", "track", "format"),
    (200, "The bytes"),
    (206, "A range of them"),
    (304, "Not modified"),
    (403, "The link isn't valid, or not any more"),
    (404, "No such format"),
    (409, "It can't be made (`not_made`)"),
    (416, "No such range"),
    (503, "Not now; Retry-After")
);
operation!(
    archive,
    get,
    "/media/{grant}/release/{owner}/{release}/{format}",
    "media",
    "All tracks of a release as one ZIP archive, streamed",
    params("grant", "owner", "release", "format"),
    (200, "The archive"),
    (403, "The link isn't valid, or not any more"),
    (404, "No such format"),
    (409, "One of its files can't be made (`not_made`)"),
    (503, "Not now; Retry-After")
);
operation!(
    chunks_create,
    post,
    "/api/v1/uploads",
    "uploads",
    "Creates an upload whose chunks come in any order, and its track",
    body(Wanted),
    (201, "How the file is cut into chunks", Created),
    (400, "A value is missing or bad"),
    (401, "Not signed in"),
    (403, "Not allowed to upload"),
    (413, "Larger than the limit"),
    (422, "A value of another type")
);
operation!(
    chunks_progress,
    get,
    "/api/v1/uploads/{id}",
    "uploads",
    "What is there of an upload",
    params("id"),
    (200, "All that is there", Standing),
    (404, "No such upload"),
    (410, "It ended")
);
operation!(
    chunks_put,
    put,
    "/api/v1/uploads/{id}/chunks/{n}",
    "uploads",
    "One chunk, counted from 0; Content-Digest and Repr-Digest are checked if sent",
    params("id", "n"),
    (204, "It is durable"),
    (400, "Too few bytes, or another checksum"),
    (404, "No such upload or chunk"),
    (409, "It is there with other bytes, another request is sending it, or the upload is complete"),
    (410, "The upload ended"),
    (413, "Too many bytes"),
    (503, "Not now; Retry-After"),
    (507, "No space")
);
operation!(
    chunks_complete,
    post,
    "/api/v1/uploads/{id}/complete",
    "uploads",
    "Ends an upload whose chunks are all there; asked again, it says the same",
    params("id"),
    (200, "Verified and stored", Stored),
    (404, "No such upload"),
    (409, "Chunks are missing: which ones"),
    (410, "It ended"),
    (422, "The bytes aren't those that were promised"),
    (503, "It is still being stored; ask again")
);
operation!(
    chunks_terminate,
    delete,
    "/api/v1/uploads/{id}",
    "uploads",
    "Ends an upload; a stored track lives on",
    params("id"),
    (204, "Ended"),
    (404, "No such upload"),
    (409, "It is being stored"),
    (410, "It ended before")
);
