"""Drives aiotus as a user's program does, and tells what happened: one JSON value per line, as tus-js.mjs does.

    python aiotus-client.py '{"endpoint", "token", "file", "chunkSize"?, "retries"?, "whole"?}'

It joins a relative `Location` wrongly (see README.md), so its one-call `upload` can't be used with a server that sends
one. With "whole" that is shown; else its parts are used, and the address is joined here.
Absent: judgement. The test compares.
"""

import asyncio
import json
import sys

import aiohttp
import aiotus
import yarl
from aiotus import core, creation

asked = json.loads(sys.argv[1])
headers = {"Authorization": f"Bearer {asked['token']}"}
metadata = {"filename": b"noise.bin", "filetype": b"application/octet-stream"}


def tell(**what):
    print(json.dumps(what), flush=True)


async def heard(_session, _context, answer):
    """One answer, as it came."""
    found = answer.response.headers
    of = found.get("Location", str(answer.url))
    if answer.method == "POST":
        tell(url=of, track=found.get("Millrace-Track"))
    offset = int(found["Upload-Offset"]) if "Upload-Offset" in found else None
    tell(method=answer.method, status=answer.response.status, of=of, offset=offset)


async def upload(session, file):
    """As `aiotus.upload`, with the address joined as RFC 3986 says."""
    endpoint = yarl.URL(asked["endpoint"])
    location = endpoint.join(await creation.create(session, endpoint, file, metadata, headers=headers))
    for left in reversed(range(asked.get("retries", 0) + 1)):
        try:
            # It asks for the offset first, so it can be called again.
            await core.upload_buffer(
                session, location, file, chunksize=asked.get("chunkSize", 4 << 20), headers=headers
            )
            break
        except aiohttp.ClientError:
            if left == 0:
                raise
    return await aiotus.metadata(location, session, headers=headers) == metadata


async def main():
    tracing = aiohttp.TraceConfig()
    tracing.on_request_end.append(heard)
    async with aiohttp.ClientSession(trace_configs=[tracing]) as session:
        with open(asked["file"], "rb") as file:
            if asked.get("whole"):
                done = await aiotus.upload(asked["endpoint"], file, metadata, session, headers=headers)
            else:
                done = await upload(session, file)
    tell(ended="success" if done else "failed")


asyncio.run(main())
