-- One track of its owner. The upload's row may be gone; segments count when every rung has them.
SELECT t.id, t.state, t.reason, t.detail, t.title, t.filename, t.size, t.sha256, t.stored_at, t.codec, t.lossless,
       t.samples, t.rate, t.priming, t.loudness, t.created_at,
       coalesce((SELECT min(made.n) FROM rungs r CROSS JOIN LATERAL (
                     SELECT count(*) AS n FROM segments s
                      WHERE s.track_id = r.track_id AND s.run = r.run AND s.rung = r.rung) made
                  WHERE r.track_id = t.id AND r.run = t.run), 0) AS "segments_ready!",
       u.committed AS "upload_offset?", u.length AS upload_length, u.state AS "upload_state?"
  FROM tracks t LEFT JOIN uploads u ON u.track_id = t.id
 WHERE t.owner = $1 AND t.id = $2
