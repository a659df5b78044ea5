-- The laws that every moving row obeys, whoever writes it: psql, a script, or the daemon.
--
-- `edge` lists the legal transitions of each table; `transition` is the audit of those taken.
-- A table joins by creating the trigger `walk_edge` on itself (see 0003).

CREATE TABLE edge (
    machine    text NOT NULL,
    from_state text NOT NULL,               -- '' is the state before the row exists
    to_state   text NOT NULL,
    name       text NOT NULL,
    PRIMARY KEY (machine, from_state, to_state)
);

CREATE TABLE transition (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    machine    text NOT NULL,
    row_id     uuid NOT NULL,
    from_state text NOT NULL,
    to_state   text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX transition_row_idx ON transition (row_id, id);

CREATE FUNCTION walk_edge() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was text := '';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := OLD.state;
        IF NEW.state = was THEN
            RETURN NEW;
        END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM edge e
                    WHERE e.machine = TG_TABLE_NAME AND e.from_state = was AND e.to_state = NEW.state) THEN
        RAISE EXCEPTION '% %: no edge from "%" to "%"', TG_TABLE_NAME, NEW.id, was, NEW.state
              USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_walk_edge';
    END IF;
    INSERT INTO transition (machine, row_id, from_state, to_state)
         VALUES (TG_TABLE_NAME, NEW.id, was, NEW.state);
    RETURN NEW;
END $$;

-- The audit is evidence: it is written once and never altered.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER transition_append_only BEFORE UPDATE OR DELETE ON transition
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
