package scenarios

import (
	"cmp"
	"fmt"
	"slices"
)

// maxLatticeWords limits the memory of a lattice to two times 64 MiB. Three
// sequences of 10,000 messages each need a fifth of it.
const maxLatticeWords = 1 << 23

// interleaving compares merged with the interleavings of parts. An interleaving has
// every message of every part exactly once, those of one part in its order. It returns
// the length n of the longest beginning of merged with which an interleaving can begin,
// and the messages that could come next, sorted. So merged is an interleaving if n is
// its length and nothing can come next.
//
// The question is hard if parts have equal messages: which part such a message came
// from is known only later, or never. So interleaving follows all possibilities at
// once, message by message. A possibility is one position in each part. The positions
// add up to the number of messages seen, so the one in the longest part need not be
// stored. Those in the second longest part are the bits of a row, and there is a row
// for each combination of positions in the other parts.
func interleaving(merged []string, parts [][]string) (n int, next []string, err error) {
	l, err := newLattice(parts)
	if err != nil {
		return 0, nil, err
	}

	for n < len(merged) {
		symbol, known := l.symbols[merged[n]]
		if !known || !l.step(n, symbol) {
			break
		}
		l.current, l.next = l.next, l.current
		n++
	}

	for message, symbol := range l.symbols {
		if l.step(n, symbol) {
			next = append(next, message)
		}
	}
	slices.Sort(next)
	return n, next, nil
}

// lattice holds the possibilities that interleaving follows.
type lattice struct {
	symbols map[string]int // messages as numbers from 0

	outer   [][]int // all parts but the two longest
	strides []int   // for each outer part: how many rows lie between two of its positions
	sums    []int   // for each row: the sum of its outer positions

	// inner has, for each symbol, bit j set if message j of the second longest part is
	// that symbol. last is the same for the longest part, backwards and after one row
	// of zeros: message q is bit lastTop-q.
	inner, last [][]uint64
	lastTop     int

	words         int      // of a row
	current, next []uint64 // rows: bit j is set if position j in the second longest part is possible
}

// newLattice makes the lattice of the start of all parts.
func newLattice(parts [][]string) (*lattice, error) {
	l := &lattice{symbols: make(map[string]int)}
	coded := l.encode(parts)
	inner, last := coded[len(coded)-2], coded[len(coded)-1]

	l.outer = coded[:len(coded)-2]
	l.words = len(inner)/64 + 1
	if !l.makeRows() {
		return nil, fmt.Errorf("checking the lines of %d producers needs too much memory: "+
			"use shorter log files", len(parts))
	}

	l.lastTop = l.words*64 + len(last) - 1
	for range l.symbols {
		l.inner = append(l.inner, make([]uint64, l.words))
		l.last = append(l.last, make([]uint64, l.lastTop/64+l.words+2))
	}
	for j, symbol := range inner {
		setBit(l.inner[symbol], j)
	}
	for q, symbol := range last {
		setBit(l.last[symbol], l.lastTop-q)
	}
	return l, nil
}

// encode returns the parts with a number in place of each message, the longest last.
// It adds empty parts, so that there are always two longest ones.
func (l *lattice) encode(parts [][]string) [][]int {
	coded := [][]int{nil, nil}
	for _, part := range parts {
		var symbols []int
		for _, message := range part {
			if _, ok := l.symbols[message]; !ok {
				l.symbols[message] = len(l.symbols)
			}
			symbols = append(symbols, l.symbols[message])
		}
		coded = append(coded, symbols)
	}

	slices.SortStableFunc(coded, func(a, b []int) int { return cmp.Compare(len(a), len(b)) })
	return coded
}

// makeRows makes a row for each combination of positions in the outer parts. It
// reports false if they would need too much memory.
func (l *lattice) makeRows() bool {
	l.sums = []int{0}
	for _, part := range l.outer {
		rows := len(l.sums)
		if rows*(len(part)+1)*l.words > maxLatticeWords {
			return false
		}

		l.strides = append(l.strides, rows)
		for position := 1; position <= len(part); position++ {
			for row := range rows {
				l.sums = append(l.sums, l.sums[row]+position)
			}
		}
	}

	l.current = make([]uint64, len(l.sums)*l.words)
	l.next = make([]uint64, len(l.current))
	l.current[0] = 1 // the start of every part
	return true
}

// step sets next to the possibilities after symbol has followed the n messages seen so
// far, and reports whether at least one exists.
func (l *lattice) step(n, symbol int) bool {
	clear(l.next)
	possible := uint64(0)
	for row := range l.sums {
		current := l.current[row*l.words : (row+1)*l.words]
		if !slices.ContainsFunc(current, func(word uint64) bool { return word != 0 }) {
			continue
		}

		possible |= l.stepInRow(row, n, symbol)
		possible |= l.stepToOtherRows(row, symbol)
	}
	return possible != 0
}

// stepInRow adds the possibilities in which symbol comes from one of the two longest
// parts: the row stays the same. It returns their bits.
func (l *lattice) stepInRow(row, n, symbol int) (possible uint64) {
	current, next := l.current[row*l.words:(row+1)*l.words], l.next[row*l.words:(row+1)*l.words]

	// Where position j is possible, the longest part is at n-sums[row]-j.
	at := l.lastTop - (n - l.sums[row])
	carry := uint64(0)
	for w, word := range current {
		fromInner := word & l.inner[symbol][w]
		next[w] |= fromInner<<1 | carry | word&bitsAt(l.last[symbol], at+w*64)
		carry = fromInner >> 63
		possible |= next[w]
	}
	return possible
}

// stepToOtherRows adds the possibilities in which symbol comes from an outer part: each
// leads to the row of that part's next position. It returns their bits.
func (l *lattice) stepToOtherRows(row, symbol int) (possible uint64) {
	current := l.current[row*l.words : (row+1)*l.words]
	for p, part := range l.outer {
		position := row / l.strides[p] % (len(part) + 1)
		if position == len(part) || part[position] != symbol {
			continue
		}

		to := l.next[(row+l.strides[p])*l.words:]
		for w, word := range current {
			to[w] |= word
			possible |= word
		}
	}
	return possible
}

func setBit(bits []uint64, i int) { bits[i/64] |= 1 << (i % 64) }

// bitsAt returns the 64 bits that start at bit i.
func bitsAt(bits []uint64, i int) uint64 {
	return bits[i/64]>>(i%64) | bits[i/64+1]<<(64-i%64)
}
