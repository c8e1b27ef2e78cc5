package cli

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"dq/facade/access"
)

func tokenCommand() *cobra.Command {
	token := &cobra.Command{
		Use:   "token",
		Short: "Create and list the tokens of a broker with access control",
	}
	token.AddCommand(newTokenCommand(), listTokensCommand())
	return token
}

// fileFlag is the flag that names the file of tokens.
const fileFlag = "file"

// tokenFlags hold the flags of dq token new.
type tokenFlags struct {
	grants  []string // PATTERN=SCOPE,...
	expires time.Duration
	file    string
}

func newTokenCommand() *cobra.Command {
	var flags tokenFlags
	cmd := &cobra.Command{
		Use:   "new NAME --grant PATTERN=SCOPE,...",
		Short: "Create a token and print it, this once",
		Long: "Create a token and print it, this once: the file only gets its SHA-256. A broker that uses the file\n" +
			"accepts the token at once. Run this as the user that the broker runs as.\n\n" +
			"A grant is a pattern of topic names, in which * is any characters, and what is allowed on them:\n" +
			"produce, consume, admin. None of these implies another. Without --file the entry goes to stderr,\n" +
			"for you to put into the file. Limits are written into the file by hand: see its \"limits\".",
		Example: "  dq token new billing --grant 'orders-*=produce,consume' --file tokens.json\n" +
			"  dq token new operator --grant '*=admin' --expires 720h --file tokens.json",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			entry, err := flags.entry(args[0])
			if err != nil {
				return &usageError{err}
			}
			return newToken(cmd, entry, flags.file)
		},
	}

	// An array rather than a slice: a grant has commas in it.
	cmd.Flags().StringArrayVar(&flags.grants, "grant", nil, "what it may do, PATTERN=SCOPE,...; may be repeated")
	cmd.Flags().DurationVar(&flags.expires, "expires", 0, "how long it is valid, such as 720h; forever without it")
	cmd.Flags().StringVar(&flags.file, fileFlag, "", "file of tokens to add it to; created if it does not exist")
	_ = cmd.MarkFlagRequired("grant")
	return cmd
}

// entry returns the entry that the flags describe, still without the hash of its token.
func (f *tokenFlags) entry(name string) (access.Entry, error) {
	entry := access.Entry{Name: name}
	for _, text := range f.grants {
		grant, err := access.ParseGrant(text)
		if err != nil {
			return entry, err
		}
		entry.Grants = append(entry.Grants, grant)
	}

	if f.expires < 0 {
		return entry, fmt.Errorf("--expires %s: want a duration above 0s, such as 720h", f.expires)
	}
	if f.expires > 0 {
		entry.Expires = time.Now().Add(f.expires).UTC().Truncate(time.Second)
	}
	return entry, nil
}

// newToken stores an entry with a new token: in file or, without one, on stderr. Then it prints the token on stdout,
// and nothing else there.
func newToken(cmd *cobra.Command, entry access.Entry, file string) error {
	var token string
	token, entry.SHA256 = access.NewToken()
	if err := storeEntry(cmd, entry, file); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), token)
	return err
}

func storeEntry(cmd *cobra.Command, entry access.Entry, file string) error {
	if file != "" {
		return access.Append(file, entry)
	}
	text, err := entry.Encode()
	if err != nil {
		return err
	}
	_, err = cmd.ErrOrStderr().Write(text)
	return err
}

func listTokensCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "list --file FILE",
		Short: "Check a file of tokens, and list who may do what",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			tokens, err := access.Parse(file, data)
			if err != nil {
				return err
			}

			out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(out, "NAME\tGRANTS\tEXPIRES")
			for _, entry := range tokens.Tokens {
				fmt.Fprintf(out, "%s\t%s\t%s\n", entry.Name, grantsOf(entry), endOf(entry))
			}
			return out.Flush()
		},
	}
	cmd.Flags().StringVar(&file, fileFlag, "", "file of tokens")
	_ = cmd.MarkFlagRequired(fileFlag)
	return cmd
}

func grantsOf(entry access.Entry) string {
	texts := make([]string, len(entry.Grants))
	for i, grant := range entry.Grants {
		texts[i] = grant.String()
	}
	return strings.Join(texts, " ")
}

func endOf(entry access.Entry) string {
	switch {
	case entry.Expires.IsZero():
		return "never"
	case entry.Expires.Before(time.Now()):
		return "expired " + entry.Expires.Format(time.RFC3339)
	}
	return entry.Expires.Format(time.RFC3339)
}
