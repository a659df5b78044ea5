-- Three counts of different things: `failures` are the work's own, and end it; these two don't.

ALTER TABLE jobs
    ADD COLUMN troubles int NOT NULL DEFAULT 0,     -- put off for what isn't its fault: no store, no database
    ADD COLUMN rescues  int NOT NULL DEFAULT 0;     -- taken up again by the sweep, since nobody ever would have
