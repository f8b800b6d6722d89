-- +goose Up
-- In which language to write to a person: the one in which he or she last used our pages.
CREATE TABLE mail_languages (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    -- A tag of BCP 47 that letters are written in, such as de.
    language TEXT NOT NULL
);
