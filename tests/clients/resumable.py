"""Drives resumable-upload's client as a user's program does, and tells what happened: one JSON value per line, as
tus-js.mjs does.

    python resumable.py '{"endpoint", "token", "file", "chunkSize"?, "checksum"?, "parallel"?, "retries"?, "early"?}'

With "early" the final upload is made of empty partials, which are filled afterwards (concatenation-unfinished).
Absent: judgement, and tracks: the client shows no header of an answer.
"""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor

from resumable_upload import TusClient

asked = json.loads(sys.argv[1])


def tell(**what):
    # In one piece: several threads tell.
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def client(**more):
    return TusClient(
        asked["endpoint"],
        chunk_size=asked.get("chunkSize", 1 << 20),
        checksum=asked.get("checksum", False),
        headers={"Authorization": f"Bearer {asked['token']}"} | more,
        max_retries=asked.get("retries", 0),
        retry_delay=0.1,
        after_response=lambda method, url, status: tell(method=method, status=status, of=url),
        on_upload_url_available=lambda url: tell(url=url),
    )


def told_of(uploader):
    """Uploads, and tells each offset."""
    with uploader:
        tell(method="HEAD", status=200, of=uploader.url, offset=uploader.offset)
        while uploader.upload_chunk():
            tell(method="PATCH", status=204, of=uploader.url, offset=uploader.offset)


def early():
    """A partial upload is one that is created with this header; with it in all requests, nothing private is needed."""
    with open(asked["file"], "rb") as file:
        data = file.read()
    step = -(-len(data) // asked["parallel"])
    partial = client(**{"Upload-Concat": "partial"})
    pieces = [io.BytesIO(data[at : at + step]) for at in range(0, len(data), step)]
    uploaders = [partial.create_uploader(file_stream=piece) for piece in pieces]
    url = client().create_final_upload([one.url for one in uploaders], metadata={"filename": "noise.bin"})
    with ThreadPoolExecutor() as pool:
        list(pool.map(told_of, uploaders))
    tell(url=url)


if asked.get("early"):
    early()
elif "parallel" in asked:
    client().upload_file(asked["file"], metadata={"filename": "noise.bin"}, parallel_uploads=asked["parallel"])
else:
    uploader = client().create_uploader(asked["file"], metadata={"filename": "noise.bin"})
    told_of(uploader)
tell(ended="success")
