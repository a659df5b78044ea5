-- What the store has becomes durable in one statement. Called by crate `pipeline` alone.

-- Pieces in order: a part has a number, a tail has none, and a copy names the part that it shadows. Their rows, the tails that
-- they cover to the trash, and `committed` walked on; with `lets_go` the lease is given back too. No row: it is somebody
-- else's by now, and nothing was written.
CREATE FUNCTION upload_commit(upload uuid, holder bigint, kept interval, lets_go boolean,
                              part_nos int[], shadows int[], offs bigint[], lens bigint[],
                              names text[], crcs bigint[], sha_states bytea[])
RETURNS TABLE (committed_to bigint, expires timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    piece record;
BEGIN
    PERFORM 1 FROM uploads u
      WHERE u.id = upload AND u.epoch = holder AND u.state IN ('opened', 'receiving', 'sealing') FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR piece IN SELECT * FROM unnest(part_nos, shadows, offs, lens, names, crcs, sha_states)
                          AS p (part_no, shadowed, off, len, name, crc64, sha_state) LOOP
        IF piece.shadowed IS NULL THEN
            WITH covered AS (DELETE FROM upload_tails t
                              WHERE t.upload_id = upload AND t.off >= piece.off AND t.off + t.len <= piece.off + piece.len
                                AND t.shadows_part IS NULL
                             RETURNING t.object_key)
            INSERT INTO store_trash (key) SELECT object_key FROM covered;
        END IF;
        IF piece.part_no IS NOT NULL THEN
            INSERT INTO upload_parts (upload_id, part_no, off, len, etag, crc64, sha_state, epoch)
            VALUES (upload, piece.part_no, piece.off, piece.len, piece.name, piece.crc64, piece.sha_state, holder);
        ELSE
            INSERT INTO upload_tails (upload_id, off, len, object_key, crc64, sha_state, epoch, shadows_part)
            VALUES (upload, piece.off, piece.len, piece.name, piece.crc64, piece.sha_state, holder, piece.shadowed);
        END IF;
    END LOOP;
    RETURN QUERY UPDATE uploads u
       SET committed = upload_prefix(u.id, u.committed), expires_at = now() + kept,
           node = CASE WHEN lets_go THEN NULL ELSE u.node END,
           lease_until = CASE WHEN lets_go THEN NULL ELSE u.lease_until END
     WHERE u.id = upload
    RETURNING u.committed, u.expires_at;
END $$;
