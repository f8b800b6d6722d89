-- +goose Up
-- Whose passwords are looked at by a directory of the organisation: the person and the entry there that she is. entry is
-- what names the entry for ever (entryUUID, objectGUID), never its DN or name, so that a renamed entry keeps its person
-- and a new entry under an old name is somebody else.
CREATE TABLE person_entries (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    realm TEXT NOT NULL,
    entry TEXT NOT NULL,
    -- A hash of what the directory last said of the person: what has not changed is not written again.
    digest TEXT NOT NULL,
    -- When the directory last showed the entry: at a login, or when it had changed. Who was seen a moment ago is
    -- not disabled because a replica lags.
    seen BIGINT NOT NULL,
    -- What the directory says of when the password was changed, as it says it; another value ends what the password
    -- before began. Empty where it does not say.
    mark TEXT NOT NULL,
    -- 0, or the users.disabled that the comparison has set because the entry was gone or disabled. Only who was disabled
    -- by that is enabled by it again.
    disabled BIGINT NOT NULL
);
CREATE UNIQUE INDEX person_entries_entry ON person_entries (realm, entry);

-- How the last comparison of a realm with its directory ended, one row for each realm.
CREATE TABLE directory_syncs (
    realm TEXT PRIMARY KEY,
    started BIGINT NOT NULL,
    finished BIGINT NOT NULL,
    -- done, held (more would have been disabled than the settings allow) or failed.
    outcome TEXT NOT NULL,
    -- What was found and done, in JSON: counts and a few usernames.
    report TEXT NOT NULL,
    -- 0, or how many an administrator said may be disabled by the next comparison. It counts once, and until allow_until.
    allow BIGINT NOT NULL,
    allow_until BIGINT NOT NULL
);
