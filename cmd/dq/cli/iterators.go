package cli

import "iter"

// each yields values, without an error.
func each[T any](values []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, value := range values {
			if !yield(value, nil) {
				return
			}
		}
	}
}

// atMost yields the first limit values.
func atMost[T any](limit int, values iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for value, err := range values {
			if n++; !yield(value, err) || n == limit {
				return
			}
		}
	}
}

// concat yields the values of first and then those of second.
func concat[T any](first, second iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for value, err := range first {
			if !yield(value, err) {
				return
			}
		}
		second(yield)
	}
}
