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
		Short: "Make and list the tokens that a broker with access control asks for",
	}
	token.AddCommand(newTokenCommand(), listTokensCommand())
	return token
}

// fileFlag names the file of tokens.
const fileFlag = "file"

func newTokenCommand() *cobra.Command {
	var grants []string
	var expires time.Duration
	var file string
	cmd := &cobra.Command{
		Use:   "new NAME --grant PATTERN=SCOPE,...",
		Short: "Make a token and print it, this once",
		Long: "Make a token and print it, this once: the file only gets its SHA-256. A broker that uses the file\n" +
			"takes the token at once. Run this as the user that the broker runs as.\n\n" +
			"A grant is a pattern of topic names, in which * is any characters, and what is allowed on them:\n" +
			"produce, consume, admin. None of these implies another. Without --file the entry goes to stderr,\n" +
			"for you to put into the file. Limits are written into the file by hand: see its \"limits\".",
		Example: "  dq token new billing --grant 'orders-*=produce,consume' --file tokens.json\n" +
			"  dq token new operator --grant '*=admin' --expires 720h --file tokens.json",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			entry := access.Entry{Name: args[0]}
			for _, text := range grants {
				grant, err := access.ParseGrant(text)
				if err != nil {
					return &usageError{err}
				}
				entry.Grants = append(entry.Grants, grant)
			}
			if expires < 0 {
				return &usageError{fmt.Errorf("--expires %s: want a duration above 0s, such as 720h", expires)}
			}
			if expires > 0 {
				entry.Expires = time.Now().Add(expires).UTC().Truncate(time.Second)
			}
			return newToken(cmd, entry, file)
		},
	}
	// An array rather than a slice: a grant has commas in it.
	cmd.Flags().StringArrayVar(&grants, "grant", nil, "what it may do, PATTERN=SCOPE,...; may be repeated")
	cmd.Flags().DurationVar(&expires, "expires", 0, "how long it is good for, such as 720h; for good without it")
	cmd.Flags().StringVar(&file, fileFlag, "", "file of tokens to add it to; made if it is not there")
	_ = cmd.MarkFlagRequired("grant")
	return cmd
}

// newToken prints a new token on stdout, and nothing else there, once its entry
// is where it belongs.
func newToken(cmd *cobra.Command, entry access.Entry, file string) error {
	var token string
	token, entry.SHA256 = access.NewToken()
	if file != "" {
		if err := access.Append(file, entry); err != nil {
			return err
		}
	} else {
		text, err := entry.Encode()
		if err != nil {
			return err
		}
		if _, err := cmd.ErrOrStderr().Write(text); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), token)
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
