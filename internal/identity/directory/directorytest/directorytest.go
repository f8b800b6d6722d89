// Package directorytest is an LDAP server for tests (RFC 4511): it speaks as much as a login needs, and does what a real
// server cannot be made to.
package directorytest

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/testport"
)

// Who is in it, and who searches.
const (
	People           = "ou=people,dc=example,dc=org"
	Searcher         = "cn=searcher,dc=example,dc=org"
	SearcherPassword = "the searcher may read"
	Password         = "a walk in the rain at night" // everybody's
)

// Server is a directory on loopback. Change its fields within Set once it is asked.
type Server struct {
	Bind     func(dn, secret string) (code int, text string)
	Entries  []Entry      // what every search finds
	Searches []string     // filters that were asked for
	Silent   bool         // it takes what is asked and answers nothing
	Code     int          // of the end of searches
	Calls    atomic.Int64 // connections

	listener net.Listener
	mu       sync.Mutex // owns all but Calls and listener
}

// Entry is one that a search finds.
type Entry struct {
	DN         string
	Attributes map[string]string
}

// New starts one that lets in the Searcher, and anybody with Password whose DN is not made up (cn=nobody...).
func New(t testing.TB) *Server {
	f := &Server{listener: testport.Listen(t), Bind: func(dn, secret string) (int, string) {
		if dn == Searcher && secret == SearcherPassword || !strings.HasPrefix(dn, "cn=nobody") && secret == Password {
			return 0, ""
		}
		return ldap.LDAPResultInvalidCredentials, ""
	}}
	go func() {
		for {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			f.Calls.Add(1)
			go f.serve(conn)
		}
	}()
	return f
}

// Set changes fields while nobody reads them.
func (f *Server) Set(do func()) { f.mu.Lock(); defer f.mu.Unlock(); do() }

func (f *Server) serve(conn net.Conn) {
	defer conn.Close()
	for {
		p, err := ber.ReadPacket(conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		f.mu.Lock()
		silent, bind, entries, code := f.Silent, f.Bind, f.Entries, f.Code
		if op.Tag == ldap.ApplicationSearchRequest {
			filter, _ := ldap.DecompileFilter(op.Children[6])
			f.Searches = append(f.Searches, filter)
		}
		f.mu.Unlock()
		if silent {
			continue
		}
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			code, text := bind(op.Children[1].Data.String(), op.Children[2].Data.String())
			send(conn, id, result(ldap.ApplicationBindResponse, code, text))
		case ldap.ApplicationSearchRequest:
			for _, e := range entries {
				send(conn, id, e.packet())
			}
			send(conn, id, result(ldap.ApplicationSearchResultDone, code, ""))
		default:
			return
		}
	}
}

func send(conn net.Conn, id int64, op *ber.Packet) {
	p := ber.NewSequence("message")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	_, _ = conn.Write(p.Bytes()) // the other side may be gone
}

func result(tag ber.Tag, code int, text string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, text, ""))
	return p
}

func (e Entry) packet() *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, e.DN, ""))
	list := ber.NewSequence("")
	for name, value := range e.Attributes {
		a := ber.NewSequence("")
		a.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, value, ""))
		a.AppendChild(values)
		list.AppendChild(a)
	}
	p.AppendChild(list)
	return p
}

// Jane is somebody in Active Directory.
func Jane() Entry {
	return Entry{"cn=Jane," + People, map[string]string{"objectGUID": "\x01\x02\xff\x00(*)\\abcdefgh", "sAMAccountName": "Jane", "displayName": "Jane Doe", "mail": "jane@example.org", "pwdLastSet": "133"}}
}

// Config reaches it as Active Directory, in clear on this machine.
func (f *Server) Config() directory.Config {
	return directory.Config{
		Realm: "employees", URLs: []string{"ldap://" + f.listener.Addr().String()}, Plain: true, Timeout: 2 * time.Second, Only: true,
		BindDN: Searcher, BindPassword: redact.New(SearcherPassword), Base: People, Filter: "(|(sAMAccountName={name})(userPrincipalName={name}))",
		Disabled:   "(userAccountControl:1.2.840.113556.1.4.803:=2)",
		Attributes: directory.Attributes{Key: "objectGUID", Username: "sAMAccountName", DisplayName: "displayName", Email: "mail", PasswordChanged: "pwdLastSet"},
	}
}
