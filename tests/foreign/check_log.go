// Asks golang.org/x/mod about signed notes and trees: cases on stdin, answers on stdout.
//
// by "note":        sumdb/note opens a note that a log signed; {vkey, note}
// by "cosignature": sumdb/note opens a note that a witness cosigned (C2SP tlog-cosignature); {vkey, note}
// by "inclusion":   sumdb/tlog checks a proof; {size, index, leaf, path, root}
// by "consistency": sumdb/tlog checks a proof; {size, old, oldRoot, path, root}
//
// Hashes are hex. The answers are as many as the cases: null for accepted, else why not.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type check struct {
	By, Vkey, Note, Leaf, Root, OldRoot string
	Size, Index, Old                    int64
	Path                                []string
}

// witness verifies the cosignature/v1 of C2SP tlog-cosignature, which sumdb/note takes as a plug-in.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }

func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

func newWitness(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("malformed verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, errors.New("not a cosignature key")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if hex.EncodeToString(sum[:4]) != parts[1] {
		return nil, errors.New("the key's id does not fit")
	}
	return witness{parts[0], binary.BigEndian.Uint32(sum[:4]), key[1:]}, nil
}

func open(newVerifier func(string) (note.Verifier, error), c check) error {
	verifier, err := newVerifier(c.Vkey)
	if err != nil {
		return err
	}
	_, err = note.Open([]byte(c.Note), note.VerifierList(verifier))
	return err
}

func hash(text string) tlog.Hash {
	var out tlog.Hash
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(out) {
		log.Fatalf("%q is not a hash", text)
	}
	copy(out[:], raw)
	return out
}

func hashes(texts []string) []tlog.Hash {
	out := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		out[i] = hash(text)
	}
	return out
}

func run(c check) error {
	switch c.By {
	case "note":
		return open(note.NewVerifier, c)
	case "cosignature":
		return open(newWitness, c)
	case "inclusion":
		return tlog.CheckRecord(hashes(c.Path), c.Size, hash(c.Root), c.Index, hash(c.Leaf))
	case "consistency":
		return tlog.CheckTree(hashes(c.Path), c.Size, hash(c.Root), c.Old, hash(c.OldRoot))
	}
	log.Fatalf("nothing is called %q", c.By)
	return nil
}

func main() {
	var cases []check
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		log.Fatal(err)
	}
	answers := make([]*string, len(cases))
	for i, c := range cases {
		if err := run(c); err != nil {
			text := err.Error()
			answers[i] = &text
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}
