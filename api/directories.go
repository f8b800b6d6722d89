package api

import "time"

// Directory is where the people of a realm come from, which also keeps their passwords (LDAP).
type Directory struct {
	Realm        string           `json:"realm" example:"employees"`
	Servers      int              `json:"servers"`
	ServersDown  int              `json:"servers_down" doc:"Servers that failed at the last try, as the node that answers knows."`
	Only         bool             `json:"only" doc:"Nobody but administrators signs in with a password that is kept here."`
	EverySeconds int64            `json:"every_seconds" doc:"How often people are compared with it; 0: when somebody asks."`
	LastSync     *DirectoryReport `json:"last_sync,omitempty" doc:"How the last comparison ended; absent if there was none."`
}

// Directories are all directories.
type Directories struct {
	Items []Directory `json:"items"`
}

// TestDirectory asks a directory whether it answers.
type TestDirectory struct {
	Username string `json:"username,omitempty" maxLength:"400" example:"jane" doc:"Also find this name, as a login would; no password is needed."`
}

// DirectoryTest is what came of it.
type DirectoryTest struct {
	OK    bool            `json:"ok"`
	Text  string          `json:"text" doc:"For people."`
	Entry *DirectoryEntry `json:"entry,omitempty"`
}

// DirectoryEntry is what a directory says of one person, as it counts here.
type DirectoryEntry struct {
	DN          string `json:"dn" example:"uid=jane,ou=people,dc=example,dc=org"`
	Key         string `json:"key" doc:"What names the entry for ever."`
	Username    string `json:"username" example:"jane"`
	DisplayName string `json:"display_name" example:"Jane Doe"`
	Email       string `json:"email,omitempty"`
	Phone       string `json:"phone,omitempty"`
}

// SyncDirectory has people be compared with their directory now.
type SyncDirectory struct {
	DryRun        bool `json:"dry_run,omitempty" doc:"Tell what would be done, and do nothing."`
	DisableAtMost int  `json:"disable_at_most,omitempty" minimum:"0" maximum:"1000000" doc:"So many people may be disabled by the next comparison, whatever the settings allow. It counts once, within an hour."`
}

// DirectorySync is the answer: of a trial what it found, else that a comparison begins; last_sync tells its end.
type DirectorySync struct {
	Started bool             `json:"started"`
	Report  *DirectoryReport `json:"report,omitempty"`
}

// DirectoryReport is what a comparison found and did.
type DirectoryReport struct {
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished"`
	Outcome   string    `json:"outcome" enum:"done,held,failed" doc:"held: somebody is gone, and nobody was disabled."`
	Why       string    `json:"why,omitempty" doc:"For people."`
	Entries   int       `json:"entries" doc:"Of the directory."`
	People    int       `json:"people" doc:"Enabled people of the realm who have an entry."`
	Refreshed int       `json:"refreshed" doc:"Of whom the directory says something new."`
	Enabled   int       `json:"enabled" doc:"Who came back."`
	Disabled  int       `json:"disabled"`
	Skipped   int       `json:"skipped" doc:"Who changed meanwhile, and the last administrator."`
	Gone      int       `json:"gone" doc:"Who is not in the directory, or disabled there."`
	Names     []string  `json:"names,omitempty" doc:"Usernames of the first of these."`
}
