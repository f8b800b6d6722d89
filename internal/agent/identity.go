package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// identity finds out who the agent is towards the bucket. Which of several it is, is logged once: a forgotten ~/.aws has
// led people to the wrong account before.
type identity struct {
	c      *Config
	shared *aws.Config // of the SDK's chain, loaded once; its credentials refresh themselves
	key    string      // access key id, all but its end hidden
}

// resolve gives the SDK's configuration, and a name of the source for people.
func (i *identity) resolve(ctx context.Context) (cfg aws.Config, source string, err error) {
	if i.shared == nil {
		options := []func(*config.LoadOptions) error{config.WithAppID("mintmark-agent")}
		if i.c.Profile != "" {
			options = append(options, config.WithSharedConfigProfile(i.c.Profile))
		}
		loaded, err := config.LoadDefaultConfig(ctx, options...)
		if err != nil {
			return aws.Config{}, "", fmt.Errorf("read the AWS configuration: %w", err)
		}
		i.shared = &loaded
	}
	cfg = i.shared.Copy()
	if i.c.Region != "" {
		cfg.Region = i.c.Region
	}
	switch {
	case i.c.CredentialsFile != "":
		key, secret, err := i.fromFile()
		if err != nil {
			return aws.Config{}, "", err
		}
		cfg.Credentials = credentials.NewStaticCredentialsProvider(key, secret, "")
		i.key = masked(key)
		return cfg, "the file " + i.c.CredentialsFile + " (" + i.key + ")", nil
	case i.c.AccessKeyID != "":
		cfg.Credentials = credentials.NewStaticCredentialsProvider(i.c.AccessKeyID, i.c.Secret.Reveal(), "")
		i.key = masked(i.c.AccessKeyID)
		return cfg, "the agent's configuration (" + i.key + ")", nil
	}
	found, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return aws.Config{}, "", fmt.Errorf("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a credentials file, or run with a role: %w", err)
	}
	i.key = masked(found.AccessKeyID)
	return cfg, found.Source, nil // not the key: that of a role changes by the hour
}

// fromFile looks the application up in the file of lines application:access_key:secret.
func (i *identity) fromFile() (key, secret string, err error) {
	f, err := os.Open(i.c.CredentialsFile)
	if err != nil {
		return "", "", fmt.Errorf("credentials file: %w", err)
	}
	defer f.Close()
	key, secret, err = findCredentials(f, i.c.Application)
	if err != nil {
		return "", "", fmt.Errorf("credentials file %s: %w", i.c.CredentialsFile, err)
	}
	return key, secret, nil
}

// findCredentials reads lines application:access_key:secret. The secret may hold colons. Lines of other applications are
// not looked at: they need not be well formed for this one to work.
func findCredentials(r io.Reader, application string) (key, secret string, err error) {
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		app, rest, _ := strings.Cut(line, ":")
		if strings.TrimSpace(app) != application {
			continue
		}
		key, secret, ok := strings.Cut(rest, ":")
		key, secret = strings.TrimSpace(key), strings.TrimSpace(secret)
		if !ok || key == "" || secret == "" {
			return "", "", errors.New("the line of " + application + " is not application:access_key:secret")
		}
		return key, secret, nil
	}
	if err := lines.Err(); err != nil {
		return "", "", err
	}
	return "", "", errors.New("it has no line for " + application)
}

// masked shows enough of an access key id to tell it from others.
func masked(key string) string {
	if len(key) <= 8 {
		return "…"
	}
	return "…" + key[len(key)-4:]
}
