-- A page of an owner's tracks, newest first, behind the place ($2, $3). The index tracks_owner_idx has this order.
-- Tags and duplicates are told of one track at a time.
SELECT t.id, t.state, t.reason, t.detail, t.title, t.filename, t.size, t.sha256, t.stored_at, t.codec, t.lossless,
       t.samples, t.rate, t.priming, t.loudness, NULL::jsonb AS tags, t.created_at,
       (SELECT jsonb_agg(jsonb_build_object('width', p.width, 'height', p.height, 'sha', encode(p.sha, 'hex')) ORDER BY p.side DESC)
          FROM pictures p WHERE p.track_id = t.id AND p.run = t.run) AS pictures,
       NULL::jsonb AS duplicates,
       coalesce((SELECT min(made.n) FROM rungs r CROSS JOIN LATERAL (
                     SELECT count(*) AS n FROM segments s
                      WHERE s.track_id = r.track_id AND s.run = r.run AND s.rung = r.rung) made
                  WHERE r.track_id = t.id AND r.run = t.run), 0) AS "segments_ready!",
       u.committed AS "upload_offset?", u.length AS upload_length, u.state AS "upload_state?"
  FROM tracks t LEFT JOIN uploads u ON u.track_id = t.id
 WHERE t.owner = $1 AND t.state <> 'taken_down'
   AND ($2::timestamptz IS NULL OR t.created_at < $2 OR (t.created_at = $2 AND t.id > $3::uuid))
 ORDER BY t.created_at DESC, t.id
 LIMIT $4
