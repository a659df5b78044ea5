"""Drives tuspy as a user's program does, and tells what happened: one JSON value per line, as tus-js.mjs does.

    python tuspy.py '{"endpoint", "token", "file", "chunkSize"?, "url"?, "stopAt"?, "checksum"?, "retries"?}'

Absent: judgement. The test compares.
"""

import json
import os
import sys

from tusclient import client

asked = json.loads(sys.argv[1])


def tell(**what):
    print(json.dumps(what), flush=True)


tus = client.TusClient(asked["endpoint"], headers={"Authorization": f"Bearer {asked['token']}"})
more = {"chunk_size": asked["chunkSize"]} if "chunkSize" in asked else {}
more["upload_checksum"] = asked.get("checksum", False)
# What it waits between two tries is 30 s unless told.
more |= {"retries": asked.get("retries", 0), "retry_delay": 0.1}
uploader = tus.uploader(asked["file"], url=asked.get("url"), metadata={"filename": "noise.bin"}, **more)
if "url" in asked:
    # What tuspy learnt from HEAD.
    tell(method="HEAD", status=200, of=uploader.url, offset=uploader.offset)
end = asked.get("stopAt", os.path.getsize(asked["file"]))
while uploader.offset < end:
    uploader.upload_chunk()
    track = uploader.request.response_headers.get("millrace-track")
    tell(url=uploader.url, track=track)
    tell(method="PATCH", status=uploader.request.status_code, of=uploader.url, offset=uploader.offset)
tell(ended="stopped" if "stopAt" in asked else "success")
