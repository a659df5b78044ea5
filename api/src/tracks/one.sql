-- One track of its owner. The upload's row may be gone; segments count when every rung has them.
SELECT t.id, t.state, t.reason, t.detail, t.title, t.filename, t.size, t.sha256, t.stored_at, t.codec, t.lossless,
       t.samples, t.rate, t.priming, t.loudness, t.tags, t.created_at,
       (SELECT jsonb_agg(jsonb_build_object('width', p.width, 'height', p.height, 'sha', encode(p.sha, 'hex')) ORDER BY p.side DESC)
          FROM pictures p WHERE p.track_id = t.id AND p.run = t.run) AS pictures,
       (SELECT jsonb_agg(jsonb_build_object('id', replace(d.id::text, '-', ''), 'kind', d.kind, 'title', d.title) ORDER BY d.id)
          FROM (SELECT o.id, o.title, CASE WHEN o.sha256 = t.sha256 THEN 'same_bytes' ELSE 'same_recording' END AS kind
                  FROM tracks o
                 WHERE o.owner = t.owner AND o.id <> t.id AND o.state NOT IN ('failed', 'taken_down')
                   AND (o.sha256 = t.sha256
                        OR o.id IN (SELECT s.other FROM same_recordings s WHERE s.one = t.id
                                    UNION ALL SELECT s.one FROM same_recordings s WHERE s.other = t.id))
                 ORDER BY o.id LIMIT 20) d) AS duplicates,
       coalesce((SELECT min(made.n) FROM rungs r CROSS JOIN LATERAL (
                     SELECT count(*) AS n FROM segments s
                      WHERE s.track_id = r.track_id AND s.run = r.run AND s.rung = r.rung) made
                  WHERE r.track_id = t.id AND r.run = t.run), 0) AS "segments_ready!",
       u.committed AS "upload_offset?", u.length AS upload_length, u.state AS "upload_state?"
  FROM tracks t LEFT JOIN uploads u ON u.track_id = t.id
 WHERE t.owner = $1 AND t.id = $2
