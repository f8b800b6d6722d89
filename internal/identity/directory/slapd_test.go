package directory_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/identity/directory/directorytest"
	"github.com/mintmark/mintmark/internal/testport"
)

const (
	base       = "dc=example,dc=org"
	people     = directorytest.People
	searcher   = directorytest.Searcher
	searcherPW = directorytest.SearcherPassword
	janes      = directorytest.Password
)

// slapd is OpenLDAP's server, with a data directory of its own, on loopback, as an unprivileged user.
type slapd struct {
	dir         string
	plain, tls  string // addresses
	caFile      string
	uid, gid    int
	process     *exec.Cmd
	said        *bytes.Buffer
	credentials *syscall.SysProcAttr
}

var (
	once    sync.Once
	running *slapd
	failed  error
)

// directoryServer starts slapd for the tests of this package; TestMain stops it.
func directoryServer(t testing.TB) *slapd {
	t.Helper()
	once.Do(func() { running, failed = startSlapd() })
	if failed != nil {
		t.Fatalf("these tests need OpenLDAP's server and its tools (on Debian: apt-get install slapd ldap-utils): %v", failed)
	}
	return running
}

func TestMain(m *testing.M) {
	code := m.Run()
	if running != nil {
		running.stop()
	}
	os.Exit(code)
}

func startSlapd() (*slapd, error) {
	if _, err := os.Stat("/usr/sbin/slapd"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mintmark-slapd-")
	if err != nil {
		return nil, err
	}
	s := &slapd{dir: dir, caFile: filepath.Join(dir, "ca.pem"), said: &bytes.Buffer{}, uid: os.Getuid(), gid: os.Getgid()}
	if err := s.setUp(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	for range 5 {
		if err = s.run(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

// setUp writes configuration, certificates and first entries.
func (s *slapd) setUp() error {
	if os.Getuid() == 0 { // root lends it the user that the package brings
		u, err := user.Lookup("openldap")
		if err != nil {
			return err
		}
		if s.uid, err = strconv.Atoi(u.Uid); err != nil {
			return err
		}
		if s.gid, err = strconv.Atoi(u.Gid); err != nil {
			return err
		}
		s.credentials = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.gid)}}
	}
	if err := s.certificates(); err != nil {
		return err
	}
	conf := fmt.Sprintf(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCACertificateFile %[1]s/ca.pem
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
threads 4
sizelimit unlimited
database mdb
suffix "%[2]s"
rootdn "cn=root,%[2]s"
rootpw rootpw
directory %[1]s/data
dbnosync
maxsize 268435456
index objectClass,uid,mail,entryUUID eq
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by * read
`, s.dir, base)
	if err := os.WriteFile(filepath.Join(s.dir, "slapd.conf"), []byte(conf), 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "first.ldif"), []byte(firstEntries()), 0o600); err != nil {
		return err
	}
	err := filepath.Walk(s.dir, func(path string, _ os.FileInfo, err error) error {
		return errors.Join(err, os.Lchown(path, s.uid, s.gid))
	})
	if err != nil {
		return err
	}
	return s.load("first.ldif")
}

// load adds entries from a file while no server runs.
func (s *slapd) load(file string) error {
	add := exec.Command("/usr/sbin/slapadd", "-q", "-f", "slapd.conf", "-l", file)
	add.Dir, add.SysProcAttr = s.dir, s.credentials
	if out, err := add.CombinedOutput(); err != nil {
		return fmt.Errorf("slapadd: %w: %s", err, out)
	}
	return nil
}

func (s *slapd) run() error {
	var err error
	if s.plain, err = testport.Free(); err != nil {
		return err
	}
	if s.tls, err = testport.Free(); err != nil {
		return err
	}
	// With -d it stays in the foreground, so that we have its process id.
	s.process = exec.Command("/usr/sbin/slapd", "-d", "0", "-f", "slapd.conf", "-h", "ldap://"+s.plain+" ldaps://"+s.tls)
	s.process.Dir, s.process.SysProcAttr, s.process.Stderr = s.dir, s.credentials, s.said
	if err := s.process.Start(); err != nil {
		return err
	}
	for range 200 {
		conn, err := net.Dial("tcp", s.tls)
		if err == nil {
			return conn.Close()
		}
		time.Sleep(25 * time.Millisecond)
	}
	err = fmt.Errorf("slapd does not answer: %s", s.said)
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	return err
}

func (s *slapd) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait()
	_ = os.RemoveAll(s.dir)
}

// change applies changes in LDIF (RFC 2849), as the directory's own administrator.
func (s *slapd) change(t testing.TB, ldif string) {
	t.Helper()
	cmd := exec.Command("/usr/bin/ldapmodify", "-x", "-H", "ldap://"+s.plain, "-D", "cn=root,"+base, "-w", "rootpw", "-a")
	cmd.Stdin = strings.NewReader(ldif)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ldapmodify: %v: %s", err, out)
	}
}

// person is an entry below ou, in LDIF.
func person(ou, uid, name, mail, password string) string {
	return fmt.Sprintf("dn: uid=%[2]s,%[1]s\nobjectClass: inetOrgPerson\nuid: %[2]s\ncn: %[3]s\nsn: %[3]s\nmail: %[4]s\nuserPassword: %[5]s\n\n", ou, uid, name, mail, password)
}

// organizationalUnit makes one for a test alone, and answers its DN.
func (s *slapd) organizationalUnit(t testing.TB, name string) string {
	t.Helper()
	dn := "ou=" + name + "," + base
	s.change(t, "dn: "+dn+"\nobjectClass: organizationalUnit\nou: "+name+"\n\n")
	return dn
}

// firstEntries are what all tests find, and 5,000 people for the comparison of many.
func firstEntries() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n", base)
	fmt.Fprintf(&b, "dn: %s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: searcher\nuserPassword: %s\n\n", searcher, searcherPW)
	for _, ou := range []string{"people", "crowd"} {
		fmt.Fprintf(&b, "dn: ou=%[1]s,%[2]s\nobjectClass: organizationalUnit\nou: %[1]s\n\n", ou, base)
	}
	b.WriteString(person(people, "jane", "Jane Doe", "jane@example.org", janes))
	b.WriteString(person(people, "joe", "Joe Roe", "joe@example.org", janes))
	for i := range 5000 {
		b.WriteString(person("ou=crowd,"+base, fmt.Sprintf("p%04d", i), fmt.Sprintf("Person %d", i), fmt.Sprintf("p%04d@example.org", i), "none"))
	}
	return b.String()
}

// certificates makes an authority and a certificate of it for ldap.example.org.
func (s *slapd) certificates() error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ldap.example.org"}, DNSNames: []string{"ldap.example.org"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{"ca.pem": {Type: "CERTIFICATE", Bytes: caDER}, "cert.pem": {Type: "CERTIFICATE", Bytes: leafDER}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(s.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
