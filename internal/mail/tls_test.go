package mail

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/testport"
)

// identityOf makes a certificate for an address or a name, and a pool that trusts it.
func identityOf(t *testing.T, ip net.IP, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if ip != nil {
		c.IPAddresses = []net.IP{ip}
	}
	if name != "" {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// secured is server behind TLS: from the first byte, or after STARTTLS. clear gets what a client said before that.
func secured(t *testing.T, cert tls.Certificate, implicit bool) (address string, got, clear chan string) {
	t.Helper()
	l, conf := testport.Listen(t), &tls.Config{Certificates: []tls.Certificate{cert}}
	got, clear = make(chan string, 10), make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if implicit {
				go serveSMTP(tls.Server(c, conf), nil, got)
				continue
			}
			go func() {
				_, _ = fmt.Fprint(c, "220 test\r\n")
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						_ = c.Close()
						return
					}
					clear <- line
					switch strings.ToUpper(strings.Fields(line + " x")[0]) {
					case "EHLO":
						_, _ = fmt.Fprint(c, "250-test\r\n250 STARTTLS\r\n")
					case "STARTTLS":
						_, _ = fmt.Fprint(c, "220 go on\r\n")
						talkSMTP(tls.Server(c, conf), map[string]string{"EHLO": "250-test\r\n250 AUTH PLAIN", "AUTH": "235 welcome"}, got)
						return
					default:
						_, _ = fmt.Fprint(c, "250 fine\r\n")
					}
				}
			}()
		}
	}()
	return l.Addr().String(), got, clear
}

// TestSMTPOverTLS sends a letter over TLS of both kinds, and none where the certificate is somebody else's or nobody's: not
// even what stands on the envelope, and above all no password.
func TestSMTPOverTLS(t *testing.T) {
	loop := net.IPv4(127, 0, 0, 1)
	right, trusted := identityOf(t, loop, "")
	foreign, trustedForeign := identityOf(t, nil, "mail.example.net")
	_, nobody := identityOf(t, loop, "")
	for _, implicit := range []bool{false, true} {
		for name, x := range map[string]struct {
			cert  tls.Certificate
			roots *x509.CertPool
			works bool
		}{
			"right": {right, trusted, true}, "by nobody that is trusted": {right, nobody, false}, "of another name": {foreign, trustedForeign, false}, "by the system's roots": {right, nil, false},
		} {
			t.Run(fmt.Sprintf("implicit %t, %s", implicit, name), func(t *testing.T) {
				address, got, clear := secured(t, x.cert, implicit)
				o := SMTPOptions{Server: address, From: "mint@example.org", Implicit: implicit, TLS: &tls.Config{RootCAs: x.roots, MinVersion: tls.VersionTLS12}}
				if !implicit {
					o.Username, o.Password = "mint", redact.New("the-password-of-the-server")
				}
				s, err := NewSMTP(o)
				if err != nil {
					t.Fatal(err)
				}
				err = s.Send(ctx, "mai_1@mint.example.org", message(t, letter()))
				if (err == nil) != x.works || (len(got) == 1) != x.works {
					t.Errorf("%v, %d letters arrived", err, len(got))
				}
				if errors.Is(err, ErrRefused) || err != nil && strings.Contains(err.Error(), "jane") {
					t.Errorf("%v: the letter is to be tried again, and nobody is named", err)
				}
				for len(clear) > 0 {
					line := <-clear
					if c := strings.ToUpper(line); !strings.HasPrefix(c, "EHLO") && !strings.HasPrefix(c, "STARTTLS") && !strings.HasPrefix(c, "QUIT") {
						t.Errorf("said in clear: %s", line)
					}
				}
			})
		}
	}
}
