package identity

// AccessKeyID reads the id out of a key.
var AccessKeyID = accessKeyID

// The texts of the searches, for the engines to explain.
const (
	SearchMatching  = searchMatching
	SearchListed    = searchListed
	SearchRefused   = searchRefused
	SearchMembers   = searchMembers
	SearchAmong     = searchMatchingMembers
	ListPeopleQuery = listPeople
)
