package tlsdec

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"hash"
	"slices"

	"clipper/bus"
)

// pHash is P_hash, appended to out up to length bytes (RFC 5246, section 5).
func pHash(out []byte, newHash func() hash.Hash, secret, seed []byte, length int) []byte {
	h := hmac.New(newHash, secret)
	h.Write(seed)
	a := h.Sum(nil)
	for len(out) < length {
		h.Reset()
		h.Write(a)
		h.Write(seed)
		out = h.Sum(out)
		h.Reset()
		h.Write(a)
		a = h.Sum(a[:0])
	}
	return out[:length]
}

// prf is the pseudorandom function of version: RFC 5246, section 5, with the
// suite's hash, or RFC 2246, section 5.
func prf(version uint16, newHash func() hash.Hash, secret []byte, label string, seed []byte, length int) []byte {
	seed = append([]byte(label), seed...)
	if version >= versionTLS12 {
		return pHash(nil, newHash, secret, seed, length)
	}
	half := (len(secret) + 1) / 2
	out := pHash(nil, md5.New, secret[:half], seed, length)
	for i, b := range pHash(nil, sha1.New, secret[len(secret)-half:], seed, length) {
		out[i] ^= b
	}
	return out
}

// ssl3PRF derives from secret and seed as SSL 3 does (RFC 6101, sections 6.1 and 6.2.2).
func ssl3PRF(secret, seed []byte, length int) []byte {
	var out []byte
	for i := 1; len(out) < length; i++ {
		s := sha1.New()
		for range i {
			s.Write([]byte{'A' + byte(i-1)})
		}
		s.Write(secret)
		s.Write(seed)
		m := md5.New()
		m.Write(secret)
		m.Write(s.Sum(nil))
		out = m.Sum(out)
	}
	return out[:length]
}

// keyBlock is the key material of a master secret (RFC 5246, section 6.3).
func keyBlock(p *parameters, master []byte, length int) []byte {
	seed := append(append([]byte(nil), p.serverRandom[:]...), p.clientRandom[:]...)
	if p.version == versionSSL3 {
		return ssl3PRF(master, seed, length)
	}
	return prf(p.version, p.suite.prf, master, "key expansion", seed, length)
}

// exportKeys are the final key and CBC IV that an export suite makes from the
// key of the key block (RFC 2246, section 6.3.1; RFC 6101, section 6.2.2.1).
func exportKeys(p *parameters, key []byte, d bus.Dir) (final, iv []byte) {
	s := p.suite
	client, server := p.clientRandom[:], p.serverRandom[:]
	if p.version == versionSSL3 {
		if d == bus.ServerToClient {
			client, server = server, client
		}
		f, i := md5.Sum(slices.Concat(key, client, server)), md5.Sum(slices.Concat(client, server))
		return f[:s.keyLen], i[:s.ivLen]
	}
	label := "client write key"
	if d == bus.ServerToClient {
		label = "server write key"
	}
	seed := slices.Concat(client, server)
	final = prf(p.version, s.prf, key, label, seed, s.keyLen)
	if p.version >= versionTLS11 {
		return final, nil // the IV is in the record
	}
	iv = prf(p.version, s.prf, nil, "IV block", seed, 2*s.ivLen)
	if d == bus.ClientToServer {
		return final, iv[:s.ivLen]
	}
	return final, iv[s.ivLen:]
}
