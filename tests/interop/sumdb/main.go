// Verifies a pack of ours with golang.org/x/mod/sumdb, which none of us wrote: notes by its note, trees and proofs by its
// tlog. What is here only reads files, knows the cosignatures of c2sp.org/tlog-cosignature and counts a quorum.
//
//	verifier pack POLICIES PACK    exit status 0 if every log, the proof of its past and every receipt verify
//	verifier proofs < LINES        for each line "yes" or "no":
//	                               tree <old> <new> <old root> <new root> <proof…>, record <index> <size> <leaf hash> <root> <proof…>
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "pack":
		err = verifyPack(os.Args[2], os.Args[3])
	case len(os.Args) == 2 && os.Args[1] == "proofs":
		err = proofs()
	default:
		err = errors.New("usage: verifier pack POLICIES PACK | verifier proofs")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// witness is a note.Verifier for type 0x04: Ed25519 over a time and the note.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }
func (w *witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(w.key, append([]byte(head), msg...), sig[8:])
}

func newWitness(vkey string) (*witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a vkey")
	}
	data, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(data) != 33 || data[0] != 4 {
		return nil, errors.New("not the key of a witness")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), data...))
	if hex.EncodeToString(sum[:4]) != parts[1] {
		return nil, errors.New("a key id is wrong")
	}
	return &witness{parts[0], binary.BigEndian.Uint32(sum[:]), data[1:]}, nil
}

// policy is c2sp.org/tlog-policy.
type policy struct {
	origin    string
	verifiers []note.Verifier
	witnesses map[string]*witness
	groups    [][]string // name, how many, members
	quorum    string
}

func readPolicy(path string) (*policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &policy{witnesses: map[string]*witness{}}
	for _, line := range strings.Split(string(data), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "log":
			v, err := note.NewVerifier(words[1])
			if err != nil {
				return nil, err
			}
			p.origin = v.Name()
			p.verifiers = append(p.verifiers, v)
		case "witness":
			w, err := newWitness(words[2])
			if err != nil {
				return nil, err
			}
			p.witnesses[words[1]] = w
			p.verifiers = append(p.verifiers, w)
		case "group":
			p.groups = append(p.groups, words[1:])
		case "quorum":
			p.quorum = words[1]
		}
	}
	return p, nil
}

func (p *policy) check(data []byte) (tlog.Tree, error) {
	none := tlog.Tree{}
	n, err := note.Open(data, note.VerifierList(p.verifiers...))
	if err != nil {
		return none, err
	}
	signed, held := false, map[string]bool{"none": true}
	for _, sig := range n.Sigs {
		signed = signed || sig.Name == p.origin
		for name, w := range p.witnesses {
			held[name] = held[name] || (w.name == sig.Name && w.hash == sig.Hash)
		}
	}
	for _, group := range p.groups {
		count, members := 0, group[2:]
		for _, member := range members {
			if held[member] {
				count++
			}
		}
		least := map[string]int{"any": 1, "all": len(members)}[group[1]]
		if least == 0 {
			least, _ = strconv.Atoi(group[1])
		}
		held[group[0]] = count >= least
	}
	if !signed || !held[p.quorum] {
		return none, errors.New("the log's signature or the quorum is missing")
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != p.origin || lines[3] != "" {
		return none, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return none, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// tiles reads the tiles of a log as tlog.TileHashReader wants them, which checks each against the root.
type tiles struct{ folder string }

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		// c2sp.org/tlog-tiles leaves out the height.
		data, err := os.ReadFile(filepath.Join(t.folder, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func verifyPack(policies, pack string) error {
	for _, log := range []string{"both", "us", "mx"} {
		p, err := readPolicy(filepath.Join(policies, log))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = verifyLog(p, filepath.Join(pack, log))
		}
		if err == nil {
			err = verifyReceipts(p, filepath.Join(pack, "receipts", log+"-*.tlog-proof"))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", log, err)
		}
	}
	return nil
}

func verifyLog(p *policy, folder string) error {
	data, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := p.check(data)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tiles{folder})
	for start := int64(0); start < tree.N; start += 256 {
		width := tree.N - start
		if width > 256 {
			width = 256
		}
		if err := verifyBundle(reader, folder, start, int(width)); err != nil {
			return err
		}
	}
	return verifyPast(p, tree, folder)
}

func verifyBundle(reader tlog.HashReader, folder string, start int64, width int) error {
	name := strings.Replace(tlog.Tile{H: 8, L: 0, N: start / 256, W: width}.Path(), "tile/8/0/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	var indexes []int64
	for i := 0; i < width; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, start+int64(i)))
	}
	hashes, err := reader.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i := 0; i < width; i++ {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return errors.New("a bundle ends inside an entry")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		if tlog.RecordHash(data[2:end]) != hashes[i] {
			return fmt.Errorf("entry %d is not the one that was logged", start+int64(i))
		}
		data = data[end:]
	}
	if len(data) != 0 {
		return errors.New("a bundle has more than its entries")
	}
	return nil
}

// verifyPast checks checkpoint.old with consistency, and that the other checkpoints are beginnings of the log.
func verifyPast(p *policy, tree tlog.Tree, folder string) error {
	reader := tlog.TileHashReader(tree, tiles{folder})
	paths, _ := filepath.Glob(filepath.Join(folder, "checkpoints", "*"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		past, err := p.check(data)
		if err != nil {
			return err
		}
		if hash, err := tlog.TreeHash(past.N, reader); err != nil || (hash != past.Hash && past.N > 0) {
			return fmt.Errorf("the log does not begin with %s: %v", path, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(folder, "checkpoint.old"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	old, err := p.check(data)
	if err != nil {
		return err
	}
	data, err = os.ReadFile(filepath.Join(folder, "consistency"))
	if err != nil {
		return err
	}
	lines := strings.Split(string(data), "\n")
	if lines[0] != fmt.Sprintf("old %d", old.N) {
		return errors.New("a proof from another size")
	}
	proof, err := hashes(lines[1 : len(lines)-1])
	if err != nil || old.N == 0 {
		return err // tlog proves nothing from the empty tree, of which everything is a continuation
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

func verifyReceipts(p *policy, pattern string) error {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		leaf, err := os.ReadFile(strings.TrimSuffix(path, ".tlog-proof") + ".leaf")
		if err != nil {
			return err
		}
		head, signed, _ := bytes.Cut(data, []byte("\n\n"))
		tree, err := p.check(signed)
		if err != nil {
			return err
		}
		lines := strings.Split(string(head), "\n")
		if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
			return errors.New("not a receipt")
		}
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
		if err != nil {
			return err
		}
		proof, err := hashes(lines[2:])
		if err != nil {
			return err
		}
		if index >= tree.N {
			return errors.New("an index beyond the log")
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaf)); err != nil {
			return err
		}
	}
	return nil
}

func hashes(lines []string) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		found = append(found, hash)
	}
	return found, nil
}

func proofs() error {
	lines := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 5 {
			return errors.New("not a line of proofs")
		}
		first, err1 := strconv.ParseInt(words[1], 10, 64)
		size, err2 := strconv.ParseInt(words[2], 10, 64)
		given, err3 := hashes(words[3:])
		if err1 != nil || err2 != nil || err3 != nil {
			return errors.New("not a line of proofs")
		}
		err := tlog.CheckRecord(given[2:], size, given[1], first, given[0])
		if words[0] == "tree" {
			err = tlog.CheckTree(given[2:], size, given[1], first, given[0])
		}
		if err == nil {
			fmt.Fprintln(out, "yes")
		} else {
			fmt.Fprintln(out, "no")
		}
	}
	return lines.Err()
}
