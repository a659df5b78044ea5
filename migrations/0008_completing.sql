-- The object of an upload is put together by one Complete at a time, among all processes. Written by crate `pipeline` alone.

-- Until then a Complete that was sent may still work, in the store, whatever became of its sender.
ALTER TABLE uploads ADD COLUMN complete_until timestamptz;
