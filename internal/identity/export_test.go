package identity

// AccessKeyID reads the id out of a key.
var AccessKeyID = accessKeyID
