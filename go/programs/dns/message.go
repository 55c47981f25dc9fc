package main

import (
	"encoding/binary"
	"errors"
	"strings"
)

// Types of question (RFC 1035 3.2.2, RFC 3596).
const (
	typeA    = 1
	typePTR  = 12
	typeMX   = 15
	typeTXT  = 16
	typeAAAA = 28
	typeSRV  = 33
)

const (
	responseCodeName = 3      // NXDOMAIN
	flagTruncated    = 0x0200 // TC
)

type question struct {
	id   uint16
	name string
	kind uint16
	raw  []byte // the question section, sent back as it came
}

type record struct {
	kind uint16
	data []byte
}

// parse reads a query with exactly one question.
func parse(message []byte) (question, error) {
	if len(message) < 12 || binary.BigEndian.Uint16(message[4:]) != 1 {
		return question{}, errors.New("not a query with one question")
	}
	var labels []string
	at := 12
	for {
		if at >= len(message) {
			return question{}, errors.New("name runs over the end")
		}
		length := int(message[at])
		at++
		if length == 0 {
			break
		}
		if length > 63 || at+length > len(message) {
			return question{}, errors.New("bad label")
		}
		labels = append(labels, string(message[at:at+length]))
		at += length
	}
	if at+4 > len(message) {
		return question{}, errors.New("no type and class")
	}
	return question{
		id:   binary.BigEndian.Uint16(message),
		name: strings.ToLower(strings.Join(labels, ".")) + ".",
		kind: binary.BigEndian.Uint16(message[at:]),
		raw:  message[12 : at+4],
	}, nil
}

// reply builds the answer; flags are added to "response, authoritative, recursion available".
func reply(q question, flags uint16, answers []record) []byte {
	header := make([]byte, 12)
	binary.BigEndian.PutUint16(header[0:], q.id)
	binary.BigEndian.PutUint16(header[2:], 0x8580|flags)
	binary.BigEndian.PutUint16(header[4:], 1)
	binary.BigEndian.PutUint16(header[6:], uint16(len(answers)))
	message := append(header, q.raw...)
	for _, answer := range answers {
		fixed := make([]byte, 12)
		binary.BigEndian.PutUint16(fixed[0:], 0xc00c) // the name of the question
		binary.BigEndian.PutUint16(fixed[2:], answer.kind)
		binary.BigEndian.PutUint16(fixed[4:], 1)
		binary.BigEndian.PutUint32(fixed[6:], 60)
		binary.BigEndian.PutUint16(fixed[10:], uint16(len(answer.data)))
		message = append(append(message, fixed...), answer.data...)
	}
	return message
}

// wireName is a name as labels.
func wireName(name string) []byte {
	var wire []byte
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		wire = append(append(wire, byte(len(label))), label...)
	}
	return append(wire, 0)
}
