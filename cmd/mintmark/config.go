package main

import (
	"fmt"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

type configCommands struct {
	Check configCheck `cmd:"" help:"Say whether the configuration can be used."`
	Show  configShow  `cmd:"" help:"Print every setting with its value, as YAML. Secrets are masked."`
}

type configCheck struct{ configFlags }

func (cmd *configCheck) Run(k *kong.Context) error {
	if _, err := cmd.load(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(k.Stdout, "the configuration can be used")
	return err
}

type configShow struct{ configFlags }

func (cmd *configShow) Run(k *kong.Context) error {
	c, err := cmd.load()
	if err != nil {
		return err
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	_, err = k.Stdout.Write(b)
	return err
}
