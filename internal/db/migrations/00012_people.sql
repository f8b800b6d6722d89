-- +goose Up
-- What people have besides the row in users that every user has. realm is that of users, so that one index can hold an
-- address to one person of a realm. email is as it was given, email_key the form in which addresses are compared; it is
-- NULL where there is none (NULLs do not collide in a unique index on either engine).
CREATE TABLE people (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    realm TEXT NOT NULL,
    email TEXT NOT NULL,
    email_key TEXT
);
CREATE UNIQUE INDEX people_email ON people (realm, email_key);

-- The one password of a person: the slow hash (a PHC string) in a box that is sealed under the pepper key for this
-- person and version, so that neither a copy of the database nor a swapped row is worth guessing at.
CREATE TABLE person_passwords (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    version BIGINT NOT NULL,
    box BYTEA NOT NULL,
    changed BIGINT NOT NULL
);

-- How often somebody has tried a password for an account in vain. A try is counted before the password is looked at and
-- the row goes when one was right. The key is a MAC of the account, or of the name if nobody has it: what people type
-- into the field for the name by mistake is not kept. not_before is when the next try is looked at.
CREATE TABLE login_attempts (
    account TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    last BIGINT NOT NULL,
    not_before BIGINT NOT NULL
);
CREATE INDEX login_attempts_last ON login_attempts (last);
