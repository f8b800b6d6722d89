package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh" help:"bash or zsh."`
}

func (completionCommand) Help() string {
	return `Examples:

    source <(mintmark completion bash)                             # this shell
    mintmark completion bash > ~/.local/share/bash-completion/completions/mintmark
    mintmark completion zsh > "${fpath[1]}/_mintmark"`
}

func (cmd *completionCommand) Run(s *Session, k *kong.Kong) error {
	// In zsh words and path are the shell's own.
	script, path, follow := bashCompletion, "path", "words"
	if cmd.Shell == "zsh" {
		script, path, follow = zshCompletion, "path_here", "words_here"
	}
	var known, words strings.Builder
	for _, n := range commandTree(k.Model.Node, "") {
		if n.path != "" {
			fmt.Fprintf(&known, "      %q) %s=%q ;;\n", n.path, path, n.path)
		}
		fmt.Fprintf(&words, "    %q) %s=%q ;;\n", n.path, follow, strings.Join(n.words, " "))
	}
	_, err := io.WriteString(s.out, strings.NewReplacer("@known@", known.String(), "@words@", words.String()).Replace(script))
	return err
}

// commandNode is a command and what may follow it.
type commandNode struct {
	path  string // such as "app create"; "" is the program
	words []string
}

func commandTree(n *kong.Node, path string) []commandNode {
	here := commandNode{path: path}
	var below []commandNode
	for _, c := range n.Children {
		if c.Hidden {
			continue
		}
		here.words = append(here.words, c.Name)
		below = append(below, commandTree(c, strings.TrimPrefix(path+" "+c.Name, " "))...)
	}
	for _, p := range n.Positional {
		if p.Tag.Enum != "" {
			here.words = append(here.words, strings.Split(p.Tag.Enum, ",")...)
		}
	}
	slices.Sort(here.words)
	var flags []string
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			flags = append(flags, "--"+f.Name)
		}
	}
	slices.Sort(flags)
	here.words = append(here.words, flags...)
	return append([]commandNode{here}, below...)
}

// Both scripts walk over the words that stand before the cursor, find the deepest command among them, and offer what
// may follow it. They hold the whole tree, so that the program is not started on each key.
const bashCompletion = `# bash completion for mintmark
_mintmark() {
  local i path= words=
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${path:+$path }${COMP_WORDS[i]}" in
@known@    esac
  done
  case "$path" in
@words@  esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _mintmark mintmark
`

const zshCompletion = `#compdef mintmark
_mintmark() {
  local i words_here="" path_here=""
  for ((i = 2; i < CURRENT; i++)); do
    case "${path_here:+$path_here }${words[i]}" in
@known@    esac
  done
  case "$path_here" in
@words@  esac
  compadd -- ${=words_here}
  _files
}
if [ "$funcstack[1]" = "_mintmark" ]; then
  _mintmark "$@"
else
  compdef _mintmark mintmark
fi
`
