#!/bin/bash
# Drives curl as a user's script does, by the IETF's draft, and tells what happened: one JSON value per line, as tus-js.mjs
# does. The file is sent whole; when that breaks, HEAD says from where the rest is sent.
#
#     curl.sh ENDPOINT TOKEN FILE TRIES
#
# Absent: judgement. The test compares.
set -euo pipefail
endpoint=$1 token=$2 file=$3 tries=$4

# The answer's head, without carriage returns; empty if none came.
ask() { curl -sS -i -H "Authorization: Bearer $token" -H 'Upload-Draft-Interop-Version: 8' "$@" 2>&1 | tr -d '\r' || true; }
# A field of the last answer in a head: a 104 before it has fields too.
field() { sed -n "s/^$1: //Ip" <<<"$2" | tail -1; }
status() { sed -n 's/^HTTP\/1.1 \([2-5]..\).*/\1/p' <<<"$1" | tail -1; }
tell() { # method, answer
    local offset
    offset=$(field Upload-Offset "$2")
    printf '{"method":"%s","status":%s,"of":"%s","offset":%s}\n' "$1" "$(status "$2")" "$url" "${offset:-null}"
}

created=$(ask -X POST -H 'Upload-Complete: ?0' "$endpoint")
url=$(field Location "$created")
printf '{"url":"%s","track":"%s"}\n' "$url" "$(field Millrace-Track "$created")"
upload=${endpoint%/files}$url
offset=0
for ((try = 0; try <= tries; try++)); do
    # From a pipe, so its length isn't known: only `?1` says that this is the end.
    answer=$(tail -c "+$((offset + 1))" "$file" | ask -X PATCH -T - -H 'Content-Type: application/partial-upload' \
        -H 'Upload-Complete: ?1' -H "Upload-Offset: $offset" "$upload" || true)
    if [[ $(status "$answer") == 20? ]]; then
        tell PATCH "$answer"
        echo '{"ended":"success"}'
        exit
    fi
    head=$(ask -I "$upload")
    if [[ $(status "$head") == 204 ]]; then
        tell HEAD "$head"
        offset=$(field Upload-Offset "$head")
    fi
done
echo "the last answer: $answer" >&2
exit 1
