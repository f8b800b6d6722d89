-- +goose Up
-- Whether whoever asked for the letter has shown to be the person whose mailbox it is: by a browser that she has signed in
-- with before, by her password, or by being an administrator. These letters are counted apart from those that strangers ask
-- for, so that strangers cannot use up the person's.
ALTER TABLE account_links ADD COLUMN own BOOLEAN NOT NULL DEFAULT FALSE;
-- From which network a stranger asked, as a MAC of network and mailbox; empty of this machine, and where own is true.
ALTER TABLE account_links ADD COLUMN network TEXT NOT NULL DEFAULT '';
