package s3api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/objstore/objstoretest"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/s3api"
	"github.com/mintmark/mintmark/internal/testport"
)

// realTime sets the endpoint's clock to the machine's, for clients that have no other.
func (h *house) realTime() { h.clock.Set(clock.System.Now()) }

func (h *house) addContractBucket() {
	h.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := h.storage.CreateBucket(ctx, tx, system, s3api.Bucket{Name: objstoretest.Bucket, Team: "shop"})
		return err
	})
}

func (h *house) store(transport http.RoundTripper) objstore.Store {
	h.t.Helper()
	s, err := objstore.NewS3(context.Background(), objstore.S3Options{Endpoint: h.url, AccessKeyID: h.root.id, Secret: h.root.secret, ACL: "bucket-owner-full-control", ExpectedOwner: "shop", Transport: transport})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func TestS3StoreKeepsTheContractHere(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		h := newHouse(t)
		h.realTime()
		h.addContractBucket()
		return h.store(nil)
	})
}

// inProcess carries requests to the handler without a connection, as the server does for its own deliveries.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.Host = in.URL.Host
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, in)
	return w.Result(), nil
}

func TestInProcessStore(t *testing.T) {
	h := newHouse(t)
	h.realTime()
	s := h.store(inProcess{h.server})
	tag, err := s.Put(t.Context(), "shop-bucket", "sales-orders/user.json", []byte(`{"a":1}`), objstore.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if o, err := s.Get(t.Context(), "shop-bucket", "sales-orders/user.json", ""); err != nil || string(o.Body) != `{"a":1}` || o.ETag != tag {
		t.Fatalf("%+v, %v", o, err)
	}
}

func TestStoreTellsWhatIsWrong(t *testing.T) {
	h := newHouse(t)
	h.realTime()
	open := func(o objstore.S3Options) objstore.Store {
		o.Endpoint = h.url
		s, err := objstore.NewS3(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	mint := h.mintKey()
	for what, c := range map[string]struct {
		options objstore.S3Options
		bucket  string
		kind    error
		text    string
	}{
		"wrong secret": {objstore.S3Options{AccessKeyID: h.root.id, Secret: redact.New("wrong")}, "shop-bucket", objstore.ErrForbidden, "secret is wrong"},
		"wrong owner":  {objstore.S3Options{AccessKeyID: h.root.id, Secret: h.root.secret, ExpectedOwner: "other"}, "shop-bucket", objstore.ErrForbidden, "denied"},
		"no bucket":    {objstore.S3Options{AccessKeyID: h.root.id, Secret: h.root.secret}, "absent-bucket", objstore.ErrNoBucket, "bucket"},
		"no right":     {objstore.S3Options{AccessKeyID: mint.id, Secret: mint.secret}, "shop-bucket", objstore.ErrForbidden, "s3:PutObject"},
		"public ACL":   {objstore.S3Options{AccessKeyID: h.root.id, Secret: h.root.secret, ACL: "public-read"}, "shop-bucket", objstore.ErrInvalid, "ACL"},
	} {
		_, err := open(c.options).Put(t.Context(), c.bucket, "sales-orders/x", []byte("x"), objstore.PutOptions{})
		if !errors.Is(err, c.kind) || !strings.Contains(objstore.Text(err), c.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	h.clock.Advance(time.Hour)
	_, err := open(objstore.S3Options{AccessKeyID: h.root.id, Secret: h.root.secret, Attempts: 1}).Put(t.Context(), "shop-bucket", "x", nil, objstore.PutOptions{})
	if !errors.Is(err, objstore.ErrForbidden) || !strings.Contains(objstore.Text(err), "clock") {
		t.Errorf("wrong clock: %v", err)
	}
}

// sdk is a client with the SDK's own defaults: checksums wherever it can.
func (h *house) sdk(endpoint string, client *http.Client) *s3.Client {
	return s3.New(s3.Options{
		Region: "eu-west-1", BaseEndpoint: &endpoint, UsePathStyle: true, HTTPClient: client,
		Credentials: credentials.NewStaticCredentialsProvider(h.root.id, h.root.secret.Reveal(), ""),
	})
}

func TestSDKWithItsDefaults(t *testing.T) {
	h := newHouse(t)
	h.realTime()
	secure := &httptest.Server{Listener: testport.Listen(t), Config: &http.Server{Handler: h.server}}
	secure.StartTLS()
	defer secure.Close()
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the test's own certificate
	for name, c := range map[string]*s3.Client{"http": h.sdk(h.url, http.DefaultClient), "https": h.sdk(secure.URL, insecure)} {
		for _, algorithm := range []types.ChecksumAlgorithm{"", types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256} {
			body := bytes.Repeat([]byte("mintmark "), 10_000)
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("shop-bucket"), Key: aws.String("a b/ü.bin"), Body: bytes.NewReader(body), ChecksumAlgorithm: algorithm, Metadata: map[string]string{"team": "shop"}})
			if err != nil {
				t.Errorf("%s %s: %v", name, algorithm, err)
				continue
			}
			out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("shop-bucket"), Key: aws.String("a b/ü.bin")})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(out.Body)
			if err != nil || !bytes.Equal(got, body) || out.Metadata["team"] != "shop" {
				t.Errorf("%s %s: %d bytes back, %v, %v", name, algorithm, len(got), out.Metadata, err)
			}
		}
		// A stream that cannot be read twice is sent in chunks with a checksum behind them, over TLS only.
		if name == "https" {
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("shop-bucket"), Key: aws.String("stream"), Body: io.LimitReader(strings.NewReader(strings.Repeat("s", 100_000)), 70_000), ContentLength: aws.Int64(70_000)})
			if err != nil {
				t.Errorf("stream: %v", err)
			}
		}
		pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: aws.String("shop-bucket"), MaxKeys: aws.Int32(1)})
		found := 0
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found += len(page.Contents)
		}
		if found == 0 {
			t.Errorf("%s: the list is empty", name)
		}
		link, err := s3.NewPresignClient(c).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("shop-bucket"), Key: aws.String("a b/ü.bin")}, s3.WithPresignExpires(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		client := map[string]*http.Client{"http": http.DefaultClient, "https": insecure}[name]
		resp, err := client.Get(link.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: presigned by the SDK: %s", name, resp.Status)
		}
		var absent *types.NoSuchKey
		if _, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("shop-bucket"), Key: aws.String("absent")}); !errors.As(err, &absent) {
			t.Errorf("%s: absent: %v", name, err)
		}
		if _, err := c.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("shop-bucket")}); err != nil {
			t.Errorf("%s: head bucket: %v", name, err)
		}
		if _, err := c.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: aws.String("shop-bucket")}); err != nil {
			t.Errorf("%s: location: %v", name, err)
		}
		if out, err := c.ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil || len(out.Buckets) != 2 {
			t.Errorf("%s: buckets: %v, %v", name, out, err)
		}
	}
}
