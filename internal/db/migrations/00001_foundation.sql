-- +goose Up
-- A row for each write transaction that wrote: the proof that it committed, for the node that lost its connection while
-- COMMIT was under way. That node writes the row itself, with fence true, if it finds none: then the transaction can never
-- commit any more and may be run again. Ids begin with the time, so the primary key is all that polling and sweeping need:
-- every write of the program pays for what is indexed here. Old rows are swept.
CREATE TABLE tx_marks (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    fence BOOLEAN NOT NULL
);

-- What the caches of every node must forget. Unordered on purpose: readers take all that is younger than the longest
-- transaction and remember what they have seen, so that no global counter is needed.
CREATE TABLE changes (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    topic TEXT NOT NULL,
    item TEXT NOT NULL
);
