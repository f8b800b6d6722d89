-- +goose Up
-- What people have besides the row in users that every user has. realm is that of users, so that one index can hold an
-- address to one person of a realm. email is as it was given, email_key the form in which addresses are compared; it is
-- NULL where there is none (NULLs do not collide in a unique index on either engine). phone and address are as an
-- administrator wrote them, for clients that the person lets see them; empty where there is none.
CREATE TABLE people (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    realm TEXT NOT NULL,
    email TEXT NOT NULL,
    email_key TEXT,
    phone TEXT NOT NULL,
    address TEXT NOT NULL
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

-- How often somebody has tried a password for an account in vain, by where from: each browser that its person has signed
-- in with before (known_devices) has a row of its own, and all strangers together have one, so that guesses of strangers
-- do not make the person wait. Tries of strangers have two rows: one of the name that was typed, which says when they must
-- wait, and one of the person, which nobody is told of, so that two names are not twice as many tries. A try is counted
-- before the password is looked at. The key is a MAC of the name, person or device: what people type into the field for
-- the name by mistake is not kept.
CREATE TABLE login_attempts (
    account TEXT PRIMARY KEY,
    -- Whose it is, so that a new password or a passkey forgets all rows of the person; empty for the row of a name, whether
    -- somebody has it or not.
    user_id TEXT NOT NULL,
    -- In a row; forgotten after a quarter of an hour of rest.
    failures BIGINT NOT NULL,
    -- In a row, however long it took: when there are too many, passwords are no longer looked at from there.
    total BIGINT NOT NULL,
    last BIGINT NOT NULL,
    -- When the next try is looked at.
    not_before BIGINT NOT NULL
);
CREATE INDEX login_attempts_last ON login_attempts (last);
CREATE INDEX login_attempts_user ON login_attempts (user_id) WHERE user_id <> '';
