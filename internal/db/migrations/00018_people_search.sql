-- +goose Up
-- Under which texts a person is found: the username, the address, and the name to show from each of its words on, folded
-- (without case and marks). A search for a beginning is a range of this table, on both engines the same; nothing is
-- compared with patterns. It follows from users and people, and is written with them (identity/person_search.go).
CREATE TABLE person_keys (
    user_id TEXT NOT NULL REFERENCES users (id),
    key TEXT NOT NULL,
    -- That of the person: a search looks at one realm after another.
    realm TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX person_keys_search ON person_keys (realm, key, user_id);

-- What there is of people already. Nothing was released before this table: whoever has marks in the name to show is found
-- by them from the next change of it on.
INSERT INTO person_keys (user_id, key, realm)
    SELECT id, lower(username), realm FROM users WHERE application IS NULL
    UNION SELECT user_id, lower(email_key), realm FROM people WHERE email_key IS NOT NULL
    UNION SELECT id, lower(display_name), realm FROM users WHERE application IS NULL;

-- Of service users alone: SQLite would otherwise take the index to find all people by their want of an application, and
-- sort them.
DROP INDEX users_application;
CREATE UNIQUE INDEX users_application ON users (application) WHERE application IS NOT NULL;

-- People without service users, and the few of them who are refused, in the order of lists.
CREATE INDEX users_people ON users (realm, username) WHERE application IS NULL;
CREATE INDEX users_refused ON users (realm, username) WHERE application IS NULL AND disabled <> 0;
