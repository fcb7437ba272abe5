//! FNV-1a: the hash by which keys, idempotency keys and causes are remembered on disk.
//!
//! # What holds
//!
//! * It is written to disk and must never change.
//! * It tells apart what nobody made up to be alike; whoever needs to be sure compares the words.
//!
//! # What it does not know
//!
//! What is hashed.

/// What a hash begins with.
pub const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The hash of these bytes after those that `from` is the hash of.
#[must_use]
pub fn fnv(from: u64, bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(from, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_its_authors() {
        // Test vectors of the reference code (isthe.com/chongo/tech/comp/fnv).
        for (text, hash) in [("", BASIS), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)] {
            assert_eq!(fnv(BASIS, text.bytes()), hash, "{text}");
        }
        assert_eq!(fnv(fnv(BASIS, *b"foo"), *b"bar"), fnv(BASIS, *b"foobar"));
    }
}
