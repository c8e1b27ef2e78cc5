package scenarios

import (
	"cmp"
	"fmt"
	"slices"
)

// maxLatticeWords bounds the memory of a lattice, to two times 64 MiB. Three
// sequences of 10,000 messages each need a fifth of it.
const maxLatticeWords = 1 << 23

// interleaving tells how far merged is an interleaving of parts: every message
// of every part once, those of one part in its order. It returns the length n
// of the longest beginning of merged with which an interleaving can begin, and
// the messages that could come next, sorted. So merged is an interleaving if n
// is its length and nothing can come next.
//
// Parts that hold equal messages make the question hard: which part such a
// message came from is open until later. So it follows all possibilities at
// once, message by message. A possibility is one position in each part; as the
// positions add up to the messages seen, that of the longest part is left out,
// those in the second longest are the bits of a row, and there is a row for
// each combination of positions in the others.
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
		l.now, l.then = l.then, l.now
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

// lattice is the possibilities that interleaving follows.
type lattice struct {
	symbols map[string]int // messages as numbers from 0

	outer   [][]int // all parts but the two longest
	strides []int   // of a position of each outer part, in rows
	sums    []int   // of the outer positions of each row

	// inner has, for each symbol, bit j set if the second longest part holds it
	// at j. last is the same for the longest part, backwards and after one row
	// of zeros: message q is bit lastTop-q.
	inner, last [][]uint64
	lastTop     int

	words     int      // of a row
	now, then []uint64 // rows: bit j is set if position j in the second longest part is possible
}

func newLattice(parts [][]string) (*lattice, error) {
	l := &lattice{symbols: make(map[string]int)}
	coded := [][]int{nil, nil} // there are always two longest
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
	inner, last := coded[len(coded)-2], coded[len(coded)-1]
	l.outer = coded[:len(coded)-2]
	l.words = len(inner)/64 + 1
	l.sums = []int{0}
	for _, part := range l.outer {
		rows := len(l.sums)
		if rows*(len(part)+1)*l.words > maxLatticeWords {
			return nil, fmt.Errorf("%d producers with so many lines are too many to check", len(parts))
		}
		l.strides = append(l.strides, rows)
		for position := 1; position <= len(part); position++ {
			for row := range rows {
				l.sums = append(l.sums, l.sums[row]+position)
			}
		}
	}
	l.now = make([]uint64, len(l.sums)*l.words)
	l.then = make([]uint64, len(l.now))
	l.now[0] = 1 // at the start of every part
	l.lastTop = l.words*64 + len(last) - 1
	for symbol := range len(l.symbols) {
		l.inner = append(l.inner, make([]uint64, l.words))
		l.last = append(l.last, make([]uint64, l.lastTop/64+l.words+2))
		for j, s := range inner {
			if s == symbol {
				set(l.inner[symbol], j)
			}
		}
		for q, s := range last {
			if s == symbol {
				set(l.last[symbol], l.lastTop-q)
			}
		}
	}
	return l, nil
}

func set(bits []uint64, i int) { bits[i/64] |= 1 << (i % 64) }

// step sets then to the possibilities after symbol has followed the n messages
// seen so far, and reports whether there is one.
func (l *lattice) step(n, symbol int) bool {
	clear(l.then)
	possible := uint64(0)
	for row := range l.sums {
		now := l.now[row*l.words : (row+1)*l.words]
		if !slices.ContainsFunc(now, func(word uint64) bool { return word != 0 }) {
			continue
		}
		then := l.then[row*l.words : (row+1)*l.words]
		// Where position j is possible, the longest part is at n-sums[row]-j.
		at := l.lastTop - (n - l.sums[row])
		carry := uint64(0)
		for w, word := range now {
			fromInner := word & l.inner[symbol][w]
			then[w] |= fromInner<<1 | carry | word&read(l.last[symbol], at+w*64)
			carry = fromInner >> 63
			possible |= then[w]
		}
		for p, part := range l.outer {
			position := row / l.strides[p] % (len(part) + 1)
			if position == len(part) || part[position] != symbol {
				continue
			}
			to := l.then[(row+l.strides[p])*l.words:]
			for w, word := range now {
				to[w] |= word
				possible |= word
			}
		}
	}
	return possible != 0
}

// read returns the 64 bits that start at bit i.
func read(bits []uint64, i int) uint64 {
	return bits[i/64]>>(i%64) | bits[i/64+1]<<(64-i%64)
}
