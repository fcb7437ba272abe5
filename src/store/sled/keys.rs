//! Which ranges of chunks may hold a key: one Bloom filter for 256 chunks.
//!
//! A look-up by exact key passes over the ranges whose filter does not know its hash. The filter is written once, by the commit that begins
//! the next range, so that no message costs a row for being findable; the range being filled is always looked at.
//!
//! # What holds
//!
//! * A filter never denies a key that was put in: 8 bits and 5 probes a key, about 2 in 100 wrongly admitted.
//! * A filter that is missing or damaged admits everything.

/// The bytes of a filter over these hashes.
pub(super) fn filter(hashes: &mut Vec<u64>) -> Vec<u8> {
    hashes.sort_unstable();
    hashes.dedup();
    let mut bits = vec![0_u8; hashes.len().max(8)];
    for hash in hashes {
        for (byte, bit) in probes(*hash, bits.len()) {
            if let Some(byte) = bits.get_mut(byte) {
                *byte |= bit;
            }
        }
    }
    bits
}

/// Whether a filter admits this hash.
pub(super) fn admits(filter: &[u8], hash: u64) -> bool {
    filter.is_empty()
        || probes(hash, filter.len()).all(|(byte, bit)| filter.get(byte).is_some_and(|byte| byte & bit != 0))
}

fn probes(hash: u64, bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8).max(1);
    // The hash is FNV, weak in its upper bits; a round of mixing spreads it before it is split into two.
    let mixed = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let (mut probe, stride) = (mixed ^ mixed >> 33, mixed.rotate_left(21) | 1);
    (0..5).map(move |_| {
        let bit = probe % bits;
        probe = probe.wrapping_add(stride);
        (usize::try_from(bit / 8).unwrap_or(0), 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key_hash;

    #[test]
    fn a_filter_knows_its_keys_and_few_others() {
        let mut hashes: Vec<u64> = (0..5000).map(|n| key_hash(&format!("sku:{n}"))).collect();
        let filter = filter(&mut hashes);
        assert!(hashes.iter().all(|hash| admits(&filter, *hash)));
        let wrong = (0..5000).filter(|n| admits(&filter, key_hash(&format!("order:{n}")))).count();
        assert!(wrong < 250, "{wrong} of 5000 wrongly admitted");
        assert!(admits(&[], 7));
    }
}
