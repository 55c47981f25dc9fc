package main

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/ioutil"
)

// A protobuf field: a number, or bytes.
type field struct {
	number int
	value  uint64
	bytes  []byte
}

var errDamaged = errors.New("damaged protobuf message")

func fields(message []byte) ([]field, error) {
	var all []field
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		if n <= 0 {
			return nil, errDamaged
		}
		message = message[n:]
		value, n := binary.Uvarint(message)
		if n <= 0 {
			return nil, errDamaged
		}
		message = message[n:]
		one := field{number: int(key >> 3), value: value}
		switch key & 7 {
		case 0:
		case 2:
			if value > uint64(len(message)) {
				return nil, errDamaged
			}
			one.bytes, message = message[:value], message[value:]
		default:
			return nil, errDamaged
		}
		all = append(all, one)
	}
	return all, nil
}

// numbers of a repeated field, packed or not.
func numbers(f field) []uint64 {
	if f.bytes == nil {
		return []uint64{f.value}
	}
	var all []uint64
	for rest := f.bytes; len(rest) > 0; {
		value, n := binary.Uvarint(rest)
		if n <= 0 {
			break
		}
		all = append(all, value)
		rest = rest[n:]
	}
	return all
}

// decode reads a profile (github.com/google/pprof/proto/profile.proto) and returns the number of
// samples whose stack has the function anywhere.
func decode(from io.Reader) (map[string]int64, error) {
	unpacked, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	message, err := ioutil.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	all, err := fields(message)
	if err != nil {
		return nil, err
	}
	var names []string
	functions := map[uint64]uint64{}   // id to name
	locations := map[uint64][]uint64{} // id to functions
	for _, f := range all {
		switch f.number {
		case 4:
			id, of, err := location(f.bytes)
			if err != nil {
				return nil, err
			}
			locations[id] = of
		case 5:
			parts, err := fields(f.bytes)
			if err != nil {
				return nil, err
			}
			var id, name uint64
			for _, part := range parts {
				switch part.number {
				case 1:
					id = part.value
				case 2:
					name = part.value
				}
			}
			functions[id] = name
		case 6:
			names = append(names, string(f.bytes))
		}
	}
	counts := map[string]int64{}
	for _, f := range all {
		if f.number != 2 {
			continue
		}
		parts, err := fields(f.bytes)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		var values []uint64
		for _, part := range parts {
			switch part.number {
			case 1:
				for _, at := range numbers(part) {
					for _, function := range locations[at] {
						if name := functions[function]; name < uint64(len(names)) {
							seen[names[name]] = true
						}
					}
				}
			case 2:
				values = append(values, numbers(part)...)
			}
		}
		for name := range seen {
			if len(values) > 0 {
				counts[name] += int64(values[0])
			}
		}
	}
	return counts, nil
}

func location(message []byte) (id uint64, functions []uint64, err error) {
	parts, err := fields(message)
	for _, part := range parts {
		switch part.number {
		case 1:
			id = part.value
		case 4:
			line, lineErr := fields(part.bytes)
			if lineErr != nil {
				return 0, nil, lineErr
			}
			for _, of := range line {
				if of.number == 1 {
					functions = append(functions, of.value)
				}
			}
		}
	}
	return id, functions, err
}
