"""Reads `{texts}` and tells how the package m3u8 reads those playlists, strictly."""

import json
import sys

import m3u8
from m3u8 import parser


def read(text):
    """One playlist in the form that all the parsers of the test share."""
    parser.parse(text, strict=True)
    of = m3u8.loads(text)
    told = {"version": int(of.version), "independent": of.is_independent_segments}
    if of.is_variant:
        streams = [(v.uri, v.stream_info) for v in of.playlists]
        return told | {"variants": [[uri, s.bandwidth, s.average_bandwidth, s.codecs] for uri, s in streams]}
    return told | {
        "target": of.target_duration,
        "type": of.playlist_type.upper(),
        "ended": of.is_endlist,
        "init": of.segments[0].init_section.uri,
        "segments": [[s.uri, round(s.duration * 1_000_000)] for s in of.segments],
    }


print(json.dumps([read(text) for text in json.load(sys.stdin)["texts"]]))
