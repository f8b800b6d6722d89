-- +goose Up
-- What another system calls a person whom it gave to us, so that its file can be read again and finds the same people
-- under whatever names they have by then.
CREATE TABLE person_external_ids (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    realm TEXT NOT NULL,
    external_id TEXT NOT NULL
);
CREATE UNIQUE INDEX person_external_ids_id ON person_external_ids (realm, external_id);
